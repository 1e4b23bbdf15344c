using FastPathSync.Fpctl.Inspection;
using FastPathSync.Netlink.Rtnetlink;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.Fpctl.Features.Verify;

/// <summary>Dumps a namespace by netlink into a KernelState.</summary>
internal static class KernelReader
{
    public static KernelState Read(RtnetlinkDump dump)
    {
        KernelState k = new();
        Dictionary<int, NetConfMessage> conf = [];
        foreach (NetConfMessage c in dump.NetConf4())
        {
            conf[c.Index] = c;
        }

        foreach (LinkMessage l in dump.Links())
        {
            conf.TryGetValue(l.Index, out NetConfMessage? c);
            k.Interfaces.Add(new KernelInterface(
                (uint)l.Index, l.Name, l.Mtu, l.Flags, MacNumber.Of(l.Address), l.Address.Length == 6, c?.Forwarding,
                c?.IgnoreRoutesWithLinkDown ?? false));
        }

        foreach (AddressMessage a in dump.Addresses4())
        {
            k.Addresses.Add(new KernelAddress((uint)a.Index, Of(a.Local), Of(a.Address), a.PrefixLength, a.Scope, a.Flags));
        }

        ILookup<uint, NexthopBucketMessage> buckets = dump.NexthopBuckets().ToLookup(b => b.Group);
        foreach (NexthopMessage n in dump.Nexthops())
        {
            k.Nexthops.Add(new KernelNexthop(
                n.Id, new KernelHop((uint)n.Index, Of(n.Gateway), 1, n.Flags, n.Encap || n.Fdb || n.Gateway.Length == 16), n.Blackhole,
                [.. n.Members.Select(m => (m.Id, m.Weight))])
            {
                Buckets = [.. buckets[n.Id].OrderBy(b => b.Index).Select(b => b.Nexthop)],
            });
        }

        foreach (RouteMessage r in dump.Routes4())
        {
            if (r.Table is not (KernelNames.TableLocal or KernelNames.TableMain or KernelNames.TableDefault))
            {
                continue;
            }

            KernelHop[] hops = r.NexthopCount == 0 ? [] : new KernelHop[r.NexthopCount];
            for (int i = 0; i < hops.Length; i++)
            {
                RouteNexthop n = r.Nexthop(i);
                hops[i] = new KernelHop((uint)n.Index, Of(n.Gateway), n.Weight, n.Flags, n.Encap || n.Gateway.Length == 16);
            }

            k.Routes.Add(new KernelRoute(
                new RouteKey(r.Table, r.Destination.V4, r.PrefixLength, r.Tos, r.Priority), r.Type, r.Protocol, r.Scope,
                (ushort)Math.Min(r.Mtu, 0xffff), r.PreferredSource.V4, r.NexthopId, hops));
        }

        foreach (NeighbourMessage n in dump.Neighbours4())
        {
            k.Neighbours.Add(new KernelNeighbour(
                (uint)n.Index, Of(n.Destination), n.State, MacNumber.Of(n.LinkLayerAddress), n.LinkLayerAddress.Length == 6));
        }

        return k;
    }

    private static IpAddress Of(InetAddress a) => a.Length == 4 ? IpAddress.FromV4(a.V4) : new IpAddress(a.High, a.Low);
}
