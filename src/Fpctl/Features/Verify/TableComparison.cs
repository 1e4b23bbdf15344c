using FastPathSync.Fpctl.Inspection;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.Fpctl.Features.Verify;

/// <summary>Compares the kernel's objects with the records in shared memory, one kind after the other.</summary>
internal sealed unsafe class TableComparison(KernelState kernel, InstanceTables tables, Findings findings)
{
    private readonly Dictionary<uint, string> _names = kernel.Interfaces.ToDictionary(i => i.IfIndex, i => i.Name);

    public void Run()
    {
        Interfaces();
        Addresses();
        Nexthops();
        Routes();
        new Route6Comparison(kernel, tables, findings, this).Run();
        Neighbours();
    }

    public string Name(uint ifindex) => _names.TryGetValue(ifindex, out string? n) ? n : tables.InterfaceName(ifindex);

    private void Interfaces() => findings.Compare(
        "interface",
        kernel.Interfaces.ToDictionary(i => i.IfIndex),
        tables.Interfaces,
        ifindex => $"{Name(ifindex)} (ifindex {ifindex})",
        k => Text(k.Name, k.Mtu, (k.Flags & 1) != 0, k.HasMac ? k.Mac : null, k.Forwarding, k.Forwarding6, k.Mtu6),
        f => Text(f.Name.ToString(), f.Mtu, f.IsUp, f.AddressLength == 6 ? Mac(in f) : null, f.Forwarding != 0, f.Forwarding6 != 0, f.Mtu6),
        (k, f) => k.Name == f.Name.ToString() && k.Mtu == f.Mtu && (k.Flags & 1) != 0 == f.IsUp
            && (k.HasMac ? k.Mac : null) == (f.AddressLength == 6 ? Mac(in f) : null)
            && (k.Forwarding is not bool forwarding || forwarding == (f.Forwarding != 0))
            && (k.Forwarding6 is not bool forwarding6 || forwarding6 == (f.Forwarding6 != 0)) && (k.Mtu6 is not uint mtu6 || mtu6 == f.Mtu6));

    /// <summary>An address in duplicate address detection comes, and becomes tentative again, without a word of the kernel's.</summary>
    private void Addresses()
    {
        const uint IFA_F_TENTATIVE = 0x40;
        List<AddressRecord> known = [.. tables.Addresses.All().Select(a => a.Value)];
        HashSet<(uint, IpAddress, byte, IpAddress)> tentative =
        [
            .. kernel.Addresses.Where(a => (a.Flags & IFA_F_TENTATIVE) != 0).Select(a => (a.IfIndex, a.Local, a.PrefixLength, a.Peer)),
            .. known.Where(a => (a.Flags & IFA_F_TENTATIVE) != 0).Select(a => (a.IfIndex, a.Local, a.PrefixLength, a.Peer)),
        ];
        findings.Compare(
            "address",
            kernel.Addresses.Where(a => !tentative.Contains((a.IfIndex, a.Local, a.PrefixLength, a.Peer))).ToDictionary(a => (a.IfIndex, a.Local, a.PrefixLength, a.Peer)),
            known.Where(a => !tentative.Contains((a.IfIndex, a.Local, a.PrefixLength, a.Peer))).ToDictionary(a => (a.IfIndex, a.Local, a.PrefixLength, a.Peer)),
            a => $"{a.Local}/{a.PrefixLength}{(a.Peer != a.Local ? $" peer {a.Peer}" : "")} dev {Name(a.IfIndex)}",
            k => $"scope {KernelNames.Scope(k.Scope)}",
            f => $"scope {KernelNames.Scope(f.Scope)}",
            (k, f) => k.Scope == f.Scope);
    }

    private void Nexthops()
    {
        Dictionary<uint, NexthopRecord> fast = [];
        foreach ((_, NexthopRecord n) in tables.Nexthops.All())
        {
            // With an MTU it is a route's variant of the object; without generation it was named and never announced.
            if (n is { ObjectId: not 0, Mtu: 0, Generation: not 0 })
            {
                fast[n.ObjectId] = n;
            }
        }

        findings.Compare(
            "nexthop", kernel.Nexthops.ToDictionary(n => n.Id), fast, id => $"id {id}", Text, f => Text(in f), (k, f) => Text(k) == Text(in f));
    }

    private void Routes()
    {
        Dictionary<RouteKey, KernelRoute> first = new(kernel.Routes.Count);
        foreach (KernelRoute r in kernel.Routes)
        {
            first.TryAdd(r.Key, r);
        }

        Dictionary<RouteKey, RouteRecord> fast = new(first.Count);
        foreach ((_, RouteRecord r) in tables.Routes.All())
        {
            fast[new RouteKey(r.Table, r.Destination, r.PrefixLength, r.Tos, r.Metric)] = r;
        }

        findings.Compare("route", first, fast, Text, Text, f => Text(in f), Same);
    }

    /// <summary>
    /// Usable neighbours only: the kernel makes and forgets the others by itself, and moves between the usable states
    /// without telling. NOARP entries (multicast, broadcast, loopback) come and go with the packets sent to them.
    /// </summary>
    private void Neighbours() => findings.Compare(
        "neighbour",
        kernel.Neighbours.Where(n => IsCompared(n.State) && n.HasMac).ToDictionary(n => (n.IfIndex, n.Address)),
        tables.Neighbours.All().Select(n => n.Value).Where(n => IsCompared(n.State) && n.AddressLength == 6)
            .ToDictionary(n => (n.IfIndex, n.Address)),
        n => $"{n.Address} dev {Name(n.IfIndex)}",
        k => $"lladdr {MacNumber.Text(k.Mac)} {string.Join(',', KernelNames.NeighbourState(k.State))}",
        f => $"lladdr {MacNumber.Text(Mac(in f))} {string.Join(',', KernelNames.NeighbourState(f.State))}",
        (k, f) => k.Mac == Mac(in f));

    private static bool IsCompared(ushort state) => (state & KernelNames.NUD_VALID & ~KernelNames.NUD_NOARP) != 0;

    private static string Text(string name, uint mtu, bool up, ulong? mac, bool? forwarding, bool? forwarding6, uint? mtu6) =>
        $"{name} mtu {mtu} {(up ? "up" : "down")}{(mac is ulong m ? $" address {MacNumber.Text(m)}" : "")}"
        + (forwarding is bool f ? $" forwarding {(f ? "on" : "off")}" : "") + (forwarding6 is bool g ? $" IPv6 forwarding {(g ? "on" : "off")}" : "")
        + (mtu6 is uint n ? $" IPv6 mtu {n}" : "");

    private static string Text(RouteKey k) =>
        $"{Ipv4Text.Prefix(k.Destination, k.PrefixLength)} table {KernelNames.Table(k.Table)}"
        + (k.Tos != 0 ? $" tos 0x{k.Tos:x2}" : "") + (k.Metric != 0 ? $" metric {k.Metric}" : "");

    private string Text(KernelRoute r) => RouteText(
        r.Type, r.Protocol, r.Scope, r.Mtu, r.PreferredSource, r.NexthopObject, r.NexthopObject == 0 ? Hops(r.Hops) : "");

    private string Text(in RouteRecord r) => RouteText(
        r.Type, r.Protocol, r.Scope, r.Mtu, r.PreferredSource, r.NexthopObject, r.NexthopObject == 0 ? Hops(Hops(r.Nexthop)) : "");

    private static string RouteText(byte type, byte protocol, byte scope, uint mtu, uint source, uint nhid, string hops) =>
        KernelNames.RouteType(type) + (hops.Length > 0 ? $" {hops}" : "") + (nhid != 0 ? $" nhid {nhid}" : "")
        + $" proto {KernelNames.Protocol(protocol)} scope {KernelNames.Scope(scope)}"
        + (source != 0 ? $" src {Ipv4Text.Address(source)}" : "") + (mtu != 0 ? $" mtu {mtu}" : "");

    private bool Same(KernelRoute k, RouteRecord f)
    {
        if (k.Type != f.Type || k.Protocol != f.Protocol || k.Scope != f.Scope || k.Mtu != f.Mtu || k.PreferredSource != f.PreferredSource
            || k.NexthopObject != f.NexthopObject)
        {
            return false;
        }

        if (!tables.Nexthops.TryRead(f.Nexthop, out NexthopRecord n))
        {
            return false;
        }

        // An object's nexthops are compared with the object; Linux's own business needs none.
        return k.NexthopObject != 0 ? n.ObjectId == k.NexthopObject
            : k.Type != KernelNames.RTN_UNICAST || k.Hops.Any(h => h.LinuxOnly) || SameHops(k.Hops, n, f.Nexthop);
    }

    public bool SameHops(KernelHop[] k, NexthopRecord n, int nexthop)
    {
        if (k.Length == 1)
        {
            return n.Kind == NexthopKind.Single && n.IfIndex == k[0].IfIndex && n.Gateway == k[0].Gateway;
        }

        return n.Kind == NexthopKind.Group && Hops(k) == Hops(Hops(nexthop));
    }

    /// <summary>The nexthops behind an index, as far as the records say.</summary>
    public KernelHop[] Hops(int nexthop)
    {
        if (!tables.Nexthops.TryRead(nexthop, out NexthopRecord n))
        {
            return [];
        }

        return n.Kind switch
        {
            NexthopKind.Group or NexthopKind.ResilientGroup => [.. Members(n).Select(m =>
                tables.Nexthops.TryRead(m.Nexthop, out NexthopRecord x) ? new KernelHop(x.IfIndex, x.Gateway, m.Weight, 0, false) : default)],
            NexthopKind.Single => [new KernelHop(n.IfIndex, n.Gateway, 1, 0, false)],
            _ => [],
        };
    }

    /// <summary>As configured: the order decides which hashes a member gets.</summary>
    private IEnumerable<GroupMember> Members(NexthopRecord n) =>
        Enumerable.Range(n.FirstMember, n.MemberCount).Select(i => tables.Member(i)).OrderBy(m => m.Order);

    public string Hops(KernelHop[] hops) => string.Join(", ", hops.Select(
        h => $"{(!h.Gateway.IsNone ? $"via {h.Gateway} " : "")}dev {Name(h.IfIndex)}" + (hops.Length > 1 ? $" weight {h.Weight}" : "")));

    private string Text(KernelNexthop n) =>
        n.Blackhole ? "blackhole"
        : n.Members.Length > 0 ? GroupText(n.Members) + BucketText(n.Buckets)
        : n.Hop.LinuxOnly ? "(Linux only)"
        : Hops([n.Hop]);

    private string Text(in NexthopRecord n)
    {
        switch (n.Kind)
        {
            case NexthopKind.Single:
                return Hops([new KernelHop(n.IfIndex, n.Gateway, 1, 0, false)]);
            case NexthopKind.Group or NexthopKind.ResilientGroup:
                List<(uint, uint)> members = [];
                foreach (GroupMember m in Members(n))
                {
                    members.Add((tables.Nexthops.TryRead(m.Nexthop, out NexthopRecord x) ? x.ObjectId : 0, m.Weight));
                }

                uint[] buckets = new uint[n.BucketCount];
                for (int b = 0; b < buckets.Length; b++)
                {
                    GroupMember m = tables.Member(n.FirstMember + n.MemberCount + b);
                    buckets[b] = tables.Nexthops.TryRead(m.Nexthop, out NexthopRecord x) ? x.ObjectId : 0;
                }

                return GroupText(members) + BucketText(buckets);
            default:
                return n.Reason switch
                {
                    PuntReason.Blackhole => "blackhole",
                    PuntReason.Encapsulation or PuntReason.RouteUnsupported => "(Linux only)",
                    _ => $"punt {ReasonNames.Of(n.Reason)}",
                };
        }
    }

    private static string GroupText(IEnumerable<(uint Id, uint Weight)> members) =>
        "group " + string.Join('/', members.Select(m => $"{m.Id},{m.Weight}"));

    /// <summary>" buckets 1 1 2 2": where each bucket of a resilient group leads.</summary>
    private static string BucketText(uint[] buckets) => buckets.Length == 0 ? "" : $" buckets {string.Join(' ', buckets)}";

    private static ulong Mac(in InterfaceRecord r)
    {
        fixed (byte* p = r.Address)
        {
            return MacNumber.Of(new ReadOnlySpan<byte>(p, 6));
        }
    }

    private static ulong Mac(in NeighbourRecord r)
    {
        fixed (byte* p = r.LinkAddress)
        {
            return MacNumber.Of(new ReadOnlySpan<byte>(p, 6));
        }
    }
}
