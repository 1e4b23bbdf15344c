using FastPathSync.Fpctl.Features.Neighbour;
using FastPathSync.Fpctl.Inspection;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.Fpctl.Features.Route;

/// <summary>Makes route views of the tables.</summary>
internal sealed class RouteReader(InstanceTables tables)
{
    private readonly NexthopResolver _resolver = new(tables);
    private readonly WayReader _ways = new(tables);

    /// <summary>The routes of one table (null: of all), as ip orders them: by table, destination, prefix length, metric.</summary>
    public IEnumerable<RouteView> Show(uint? table)
    {
        List<RouteRecord> routes = [];
        Dictionary<ulong, RouteRecord> inForce = [];
        foreach ((_, RouteRecord r) in tables.Routes.All())
        {
            if (RouteOrder.TableRank(r.Table) is null)
            {
                continue;
            }

            ulong prefix = Prefix(in r);
            if (!inForce.TryGetValue(prefix, out RouteRecord first) || RouteOrder.Compare(in r, in first) < 0)
            {
                inForce[prefix] = r;
            }

            if (table is null || r.Table == table)
            {
                routes.Add(r);
            }
        }

        routes.Sort((a, b) =>
            a.Table != b.Table ? b.Table.CompareTo(a.Table)
            : a.Destination != b.Destination ? a.Destination.CompareTo(b.Destination)
            : a.PrefixLength != b.PrefixLength ? a.PrefixLength.CompareTo(b.PrefixLength)
            : RouteOrder.Compare(in a, in b));
        return routes.Select(r => View(in r, IsSame(inForce[Prefix(in r)], in r)));
    }

    /// <summary>Looks an address up as a worker would, and says by which route.</summary>
    public RouteGetView Get(uint address)
    {
        (int nexthop, int depth) = tables.FibEntry(address);
        nexthop = nexthop == 0 ? DefaultNexthop.Find(tables) : nexthop;
        NexthopRecord record = _ways.ReadNexthop(nexthop);
        IReadOnlyList<Resolution> ways = _resolver.Resolve(nexthop, IpAddress.FromV4(address));
        RouteRecord? route = RouteOrder.Find(() => tables.Routes.All().Select(r => r.Value), address);
        bool group = tables.Word(nexthop).IsGroup;
        Resolution first = ways.FirstOrDefault(w => w.Forward, ways.Count > 0 ? ways[0] : default);
        IpAddress nextAddress = record.Kind == NexthopKind.Single && !record.Gateway.IsNone ? record.Gateway : IpAddress.FromV4(address);
        return new RouteGetView
        {
            Dst = Ipv4Text.Address(address),
            Route = route is RouteRecord r ? View(in r, true) : null,
            Nexthop = new NexthopReference(
                nexthop, Ipv4Text.Prefix(address & RouteOrder.Mask(depth), depth), NonZero(record.ObjectId), WayReader.NexthopKindName(record.Kind)),
            Gateway = group || record.Gateway.IsNone ? null : record.Gateway.ToString(),
            Dev = group || record.IfIndex == 0 ? null : tables.InterfaceName(record.IfIndex),
            Lladdr = group ? null : _ways.Lladdr(in first),
            Port = group ? null : _ways.Port(in first),
            Mtu = first.Forward ? NonZero(first.Mtu) : null,
            Fastpath = first.Forward ? "forward" : "punt",
            Reason = first.Forward ? null : ReasonNames.Of(first.Reason),
            Neighbour = group || record.IfIndex == 0 || record.Kind != NexthopKind.Single ? null
                : new NeighbourReader(tables).Find(record.IfIndex, nextAddress),
            Nexthops = group ? [.. ways.Select(w => _ways.Member(in w))] : null,
            Warning = Disagreement(route, nexthop, depth),
        };
    }

    /// <summary>The route by which a lookup came to a nexthop: of a prefix of this length over the address.</summary>
    /// <param name="table">That was asked, main standing for local too; null: those that are asked without rules.</param>
    public RouteView? Of(uint address, int length, int nexthop, uint? table)
    {
        RouteRecord[] candidates =
        [
            .. tables.Routes.All().Select(r => r.Value)
                .Where(r => r.PrefixLength == length && RouteOrder.Covers(in r, address)
                    && (table is uint t ? r.Table == t || (t == KernelNames.TableMain && r.Table == KernelNames.TableLocal) : RouteOrder.TableRank(r.Table) is not null))
                .OrderByDescending(r => r.Nexthop == nexthop).ThenBy(r => RouteOrder.TableRank(r.Table) ?? int.MaxValue).ThenBy(r => r.Tos).ThenBy(r => r.Metric),
        ];
        return candidates.Length == 0 ? null : View(in candidates[0], true);
    }

    private RouteView View(in RouteRecord r, bool active)
    {
        NexthopRecord record = _ways.ReadNexthop(r.Nexthop);
        IReadOnlyList<Resolution> ways = _resolver.Resolve(r.Nexthop, null);
        bool group = record.IsGroup;
        Resolution first = ways.FirstOrDefault(w => w.Forward, ways.Count > 0 ? ways[0] : default);
        PuntReason? tos = r.Tos != 0 ? PuntReason.TosRoute : null;
        bool forward = first.Forward && tos is null;
        return new RouteView
        {
            Type = KernelNames.RouteType(r.Type),
            Dst = Ipv4Text.Prefix(r.Destination, r.PrefixLength),
            Gateway = group || record.Gateway.IsNone ? null : record.Gateway.ToString(),
            Dev = group || record.IfIndex == 0 ? null : tables.InterfaceName(record.IfIndex),
            Table = KernelNames.Table(r.Table),
            Protocol = KernelNames.Protocol(r.Protocol),
            Scope = KernelNames.Scope(r.Scope),
            Metric = NonZero(r.Metric),
            Prefsrc = r.PreferredSource == 0 ? null : Ipv4Text.Address(r.PreferredSource),
            Tos = r.Tos == 0 ? null : $"0x{r.Tos:x2}",
            Mtu = NonZero(r.Mtu),
            Nhid = NonZero(r.NexthopObject),
            Flags = KernelNames.NexthopFlags(r.Flags & 0xff | record.Flags),
            Nexthops = group ? [.. ways.Select(w => _ways.Member(in w))] : null,
            Active = active,
            Fastpath = forward ? "forward" : "punt",
            Reason = forward ? null : ReasonNames.Of(tos ?? first.Reason),
            Lladdr = group || !forward ? null : _ways.Lladdr(in first),
            Port = group || !forward ? null : _ways.Port(in first),
        };
    }

    private static string? Disagreement(RouteRecord? route, int nexthop, int depth)
    {
        int expected = route?.PrefixLength ?? 0;
        return depth == expected ? null
            : $"the FIB's prefix is /{depth} (nexthop {nexthop}), the route table's /{expected}; 'fpctl verify' tells more";
    }

    private static bool IsSame(in RouteRecord a, in RouteRecord b) => a.Table == b.Table && a.Tos == b.Tos && a.Metric == b.Metric;

    /// <summary>The default table is asked separately, so its routes shadow only each other.</summary>
    private static ulong Prefix(in RouteRecord r) =>
        ((ulong)r.Destination << 8) | r.PrefixLength | (r.Table == KernelNames.TableDefault ? 1ul << 63 >> 16 : 0);

    private static uint? NonZero(uint value) => value == 0 ? null : value;
}
