using FastPathSync.Fpctl.Inspection;
using FastPathSync.Netlink.Rtnetlink;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.Fpctl.Features.Verify;

/// <summary>Dumps a namespace by netlink into a KernelState.</summary>
internal static class KernelReader
{
    /// <summary>A route that expires within this may be withdrawn already: cmgrd asks once a second.</summary>
    private const int ExpiringSeconds = 4;

    public static KernelState Read(RtnetlinkDump dump)
    {
        KernelState k = new();
        Dictionary<int, NetConfMessage> conf = dump.NetConf4().ToDictionary(c => c.Index), conf6 = dump.NetConf6().ToDictionary(c => c.Index);
        bool? forwarding6 = conf6.GetValueOrDefault(NetConfConstants.NETCONFA_IFINDEX_ALL)?.Forwarding;
        foreach (LinkMessage l in dump.Links())
        {
            conf.TryGetValue(l.Index, out NetConfMessage? c);
            conf6.TryGetValue(l.Index, out NetConfMessage? c6);
            k.Interfaces.Add(new KernelInterface(
                (uint)l.Index, l.Name, l.Mtu, l.Flags, MacNumber.Of(l.Address), l.Address.Length == 6, c?.Forwarding,
                c?.IgnoreRoutesWithLinkDown ?? false, forwarding6, c6?.IgnoreRoutesWithLinkDown ?? false, l.Mtu6));
        }

        foreach (AddressMessage a in dump.Addresses4().Concat(dump.Addresses6()))
        {
            k.Addresses.Add(new KernelAddress((uint)a.Index, Of(a.Local), Of(a.Address), a.PrefixLength, a.Scope, a.Flags));
        }

        ILookup<uint, NexthopBucketMessage> buckets = dump.NexthopBuckets().ToLookup(b => b.Group);
        foreach (NexthopMessage n in dump.Nexthops())
        {
            k.Nexthops.Add(new KernelNexthop(
                n.Id, new KernelHop((uint)n.Index, Of(n.Gateway), 1, n.Flags, n.Encap || n.Fdb), n.Blackhole,
                [.. n.Members.Select(m => (m.Id, m.Weight))])
            {
                Buckets = [.. buckets[n.Id].OrderBy(b => b.Index).Select(b => b.Nexthop)],
            });
        }

        foreach (RouteMessage r in dump.Routes4())
        {
            k.Routes.Add(new KernelRoute(
                new RouteKey(r.Table, r.Destination.V4, r.PrefixLength, r.Tos, r.Priority), r.Type, r.Protocol, r.Scope,
                (ushort)Math.Min(r.Mtu, 0xffff), r.PreferredSource.V4, r.NexthopId, HopsOf(in r)));
        }

        foreach (RouteMessage r in dump.Routes6())
        {
            k.Routes6.Add(new KernelRoute6(
                new Route6Key(r.Table, Of(r.Destination), r.PrefixLength, Of(r.Source), r.SourceLength, r.Priority), r.Type, r.Protocol, r.Preference,
                (ushort)Math.Min(r.Mtu, 0xffff), r.MtuLocked, Of(r.PreferredSource), r.NexthopId, HopsOf(in r), r.ExpiresIn is int left && left < ExpiringSeconds));
        }

        foreach (byte family in (byte[])[Rtm.AF_INET, Rtm.AF_INET6])
        {
            k.Rules.AddRange(dump.Rules(family).Select(RuleComparison.RecordOf));
        }

        foreach (NeighbourMessage n in dump.Neighbours4().Concat(dump.Neighbours6()))
        {
            k.Neighbours.Add(new KernelNeighbour(
                (uint)n.Index, Of(n.Destination), n.State, MacNumber.Of(n.LinkLayerAddress), n.LinkLayerAddress.Length == 6));
        }

        return k;
    }

    private static KernelHop[] HopsOf(in RouteMessage r)
    {
        KernelHop[] hops = r.NexthopCount == 0 ? [] : new KernelHop[r.NexthopCount];
        for (int i = 0; i < hops.Length; i++)
        {
            RouteNexthop n = r.Nexthop(i);
            hops[i] = new KernelHop((uint)n.Index, Of(n.Gateway), n.Weight, n.Flags, n.Encap);
        }

        return hops;
    }

    private static IpAddress Of(InetAddress a) => a.Length == 4 ? IpAddress.FromV4(a.V4) : new IpAddress(a.High, a.Low);
}
