using FastPathSync.Fpctl.Features.Neighbour;
using FastPathSync.Fpctl.Inspection;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.Fpctl.Features.Route;

/// <summary>Makes route views of the IPv6 tables.</summary>
internal sealed unsafe class Route6Reader(InstanceTables tables)
{
    private readonly NexthopResolver _resolver = new(tables);
    private readonly WayReader _ways = new(tables);

    /// <summary>The routes of one table (null: of all), as ip orders them: by table, destination, prefix length, metric.</summary>
    public IEnumerable<RouteView> Show(uint? table)
    {
        List<Route6Record> routes = [.. tables.Routes6.All().Select(r => r.Value).Where(r => table is null || r.Table == table)];
        routes.Sort((a, b) =>
            a.Table != b.Table ? b.Table.CompareTo(a.Table)
            : a.Destination.High != b.Destination.High ? a.Destination.High.CompareTo(b.Destination.High)
            : a.Destination.Low != b.Destination.Low ? a.Destination.Low.CompareTo(b.Destination.Low)
            : a.PrefixLength != b.PrefixLength ? a.PrefixLength.CompareTo(b.PrefixLength)
            : a.Metric.CompareTo(b.Metric));
        return routes.Select(r => View(in r));
    }

    /// <summary>Looks an address up as a worker would, and says by which route.</summary>
    public RouteGetView Get(IpAddress address)
    {
        (int nexthop, int depth, uint table) = Lookup(address);
        NexthopRecord record = nexthop == 0 ? default : _ways.ReadNexthop(nexthop);
        IReadOnlyList<Resolution> ways = nexthop == 0 ? [new Resolution(false, PuntReason.NoRoute, false, -1, 0, 0, 0, 0)] : _resolver.Resolve(nexthop, address);
        bool group = nexthop != 0 && tables.Word(nexthop).Action is NexthopAction.Group or NexthopAction.Buckets;
        Resolution first = ways.FirstOrDefault(w => w.Forward, ways[0]);
        Route6Record? route = nexthop == 0 ? null : Find(address, depth, table, nexthop);
        return new RouteGetView
        {
            Dst = Ip6Text.Address(address),
            Route = route is Route6Record r ? View(in r) : null,
            Nexthop = new NexthopReference(
                nexthop, Ip6Text.Prefix(Masked(address, depth), depth), NonZero(record.ObjectId), WayReader.NexthopKindName(record.Kind)),
            Gateway = group || record.Gateway.IsNone ? null : record.Gateway.ToString(),
            Dev = group || record.IfIndex == 0 ? null : tables.InterfaceName(record.IfIndex),
            Lladdr = group ? null : _ways.Lladdr(in first),
            Port = group ? null : _ways.Port(in first),
            Mtu = first.Forward ? NonZero(first.Mtu) : null,
            Fastpath = first.Forward ? "forward" : "punt",
            Reason = first.Forward ? null : ReasonNames.Of(first.Reason),
            Neighbour = group || record.IfIndex == 0 || record.Kind != NexthopKind.Single ? null
                : new NeighbourReader(tables).Find(record.IfIndex, record.Gateway.IsNone ? address : record.Gateway),
            Nexthops = group ? [.. ways.Select(w => _ways.Member(in w))] : null,
        };
    }

    /// <summary>The route by which a lookup came to a nexthop: of a prefix of this length over the address.</summary>
    /// <param name="table">That was asked, main standing for local too; null: those that are asked without rules.</param>
    public RouteView? Of(IpAddress address, int length, int nexthop, uint? table) =>
        Find(address, length, table ?? KernelNames.TableMain, nexthop) is Route6Record r ? View(in r) : null;

    /// <summary>Main's trie holds the local table as well, and serves alone unless that has prefixes shorter than /128.</summary>
    private (int Nexthop, int Depth, uint Table) Lookup(IpAddress address)
    {
        FibTrieReader tries = tables.Tries;
        foreach (uint table in tables.Vrf->LocalFirst6 != 0 ? new[] { KernelNames.TableLocal, KernelNames.TableMain } : [KernelNames.TableMain])
        {
            int slot = tries.Find(FibFamily.Ipv6, table);
            uint entry = slot < 0 ? 0 : tries.Lookup(slot, new FibKey(address.High, address.Low));
            if (entry != 0)
            {
                return (FibEntry.Nexthop(entry), FibEntry.Depth(entry), table);
            }
        }

        return (0, 0, KernelNames.TableMain);
    }

    /// <summary>The route behind an entry: of its prefix, local's before main's, the one that has its nexthop, or the first by metric.</summary>
    private Route6Record? Find(IpAddress address, int depth, uint table, int nexthop)
    {
        IpAddress prefix = Masked(address, depth);
        Route6Record[] candidates =
        [
            .. tables.Routes6.All().Select(r => r.Value)
                .Where(r => r.PrefixLength == depth && r.Destination == prefix && (r.Table == table || (table == KernelNames.TableMain && r.Table == KernelNames.TableLocal)))
                .OrderByDescending(r => r.Table).ThenBy(r => r.Metric),
        ];
        return candidates.Length == 0 ? null : Array.Find(candidates, r => r.Nexthop == nexthop) is { Type: not 0 } found ? found : candidates[0];
    }

    private RouteView View(in Route6Record r)
    {
        NexthopRecord record = _ways.ReadNexthop(r.Nexthop);
        IReadOnlyList<Resolution> ways = _resolver.Resolve(r.Nexthop, null);
        bool group = record.Kind is NexthopKind.Group or NexthopKind.ResilientGroup;
        Resolution first = ways.FirstOrDefault(w => w.Forward, ways.Count > 0 ? ways[0] : default);
        PuntReason? punt = r.SourceLength != 0 ? PuntReason.SourceRoute : r.IsAmbiguous ? PuntReason.AmbiguousRoute : null;
        bool forward = first.Forward && punt is null;
        return new RouteView
        {
            Family = KernelNames.Family(ipv4: false),
            Type = KernelNames.RouteType(r.Type),
            Dst = Ip6Text.Prefix(r.Destination, r.PrefixLength),
            From = r.SourceLength == 0 ? null : Ip6Text.Prefix(r.Source, r.SourceLength),
            Gateway = group || record.Gateway.IsNone ? null : record.Gateway.ToString(),
            Dev = group || record.IfIndex == 0 ? null : tables.InterfaceName(record.IfIndex),
            Table = KernelNames.Table(r.Table),
            Protocol = KernelNames.Protocol(r.Protocol),
            Metric = NonZero(r.Metric),
            Prefsrc = r.PreferredSource.IsNone ? null : r.PreferredSource.ToString(),
            Mtu = NonZero(r.Mtu),
            Pref = KernelNames.Preference(r.Preference),
            Nhid = NonZero(r.NexthopObject),
            Flags = KernelNames.NexthopFlags(r.Flags & 0xff | record.Flags),
            Nexthops = group ? [.. ways.Select(w => _ways.Member(in w))] : null,
            Active = IsInForce(in r),
            Fastpath = forward ? "forward" : "punt",
            Reason = forward ? null : ReasonNames.Of(punt ?? first.Reason),
            Lladdr = group || !forward ? null : _ways.Lladdr(in first),
            Port = group || !forward ? null : _ways.Port(in first),
        };
    }

    /// <summary>Its table's trie leads where it does; main's holds what local says first.</summary>
    private bool IsInForce(in Route6Record r)
    {
        if (r.IsExpired)
        {
            return false;
        }

        int slot = tables.Tries.Find(FibFamily.Ipv6, r.Table);
        uint entry = slot < 0 ? 0 : tables.Tries.Lookup(slot, new FibKey(r.Destination.High, r.Destination.Low));
        return entry != 0 && (FibEntry.Depth(entry) > r.PrefixLength || FibEntry.Nexthop(entry) == r.Nexthop
            || tables.Word(FibEntry.Nexthop(entry)) is { Action: NexthopAction.Punt, Reason: PuntReason.AmbiguousRoute or PuntReason.SourceRoute });
    }

    private static IpAddress Masked(IpAddress a, int length)
    {
        UInt128 mask = length == 0 ? 0 : UInt128.MaxValue << (128 - length);
        return new IpAddress(a.High & (ulong)(mask >> 64), a.Low & (ulong)mask);
    }

    private static uint? NonZero(uint value) => value == 0 ? null : value;
}
