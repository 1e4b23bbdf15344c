using FastPathSync.Fpctl.Inspection;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.Fpctl.Features.Nexthop;

/// <summary>Makes nexthop views of the tables.</summary>
internal sealed class NexthopReader(InstanceTables tables)
{
    private readonly NexthopResolver _resolver = new(tables);

    public IEnumerable<NexthopView> Show()
    {
        Dictionary<int, int> uses = [];
        foreach ((_, RouteRecord r) in tables.Routes.All())
        {
            uses[r.Nexthop] = uses.GetValueOrDefault(r.Nexthop) + 1;
        }

        foreach ((_, Route6Record r) in tables.Routes6.All())
        {
            uses[r.Nexthop] = uses.GetValueOrDefault(r.Nexthop) + 1;
        }

        foreach ((int index, NexthopRecord n) in tables.Nexthops.All())
        {
            yield return View(index, n, uses.GetValueOrDefault(index));
        }
    }

    private NexthopView View(int index, NexthopRecord n, int routes)
    {
        IReadOnlyList<Resolution> ways = _resolver.Resolve(index, null);
        Resolution first = ways.FirstOrDefault(w => w.Forward, ways.Count > 0 ? ways[0] : default);
        Adjacency? adjacency = first is { Forward: true, Adjacency: >= 0 } && !n.IsGroup ? tables.Adjacency(first.Adjacency) : null;
        return new NexthopView
        {
            Index = index,
            Id = n.ObjectId == 0 ? null : n.ObjectId,
            Kind = index == 0 ? "default" // a copy of the default route's word
                : n.Kind == NexthopKind.ResilientGroup ? "resilient" : n.Kind.ToString().ToLowerInvariant(),
            Family = n.Family == 0 ? null : KernelNames.Family(n.Family == KernelNames.AF_INET),
            Gateway = n.Gateway.IsNone ? null : n.Gateway.ToString(),
            Dev = n.IfIndex == 0 ? null : tables.InterfaceName(n.IfIndex),
            Mtu = n.Mtu == 0 ? null : n.Mtu,
            Group = n.IsGroup ? [.. ways.Select(Member)] : null,
            Buckets = n.BucketCount == 0 ? null : n.BucketCount,
            Flags = KernelNames.NexthopFlags(n.Flags),
            Routes = routes,
            Fastpath = first.Forward ? "forward" : "punt",
            Reason = first.Forward ? null : ReasonNames.Of(first.Reason),
            Lladdr = adjacency is Adjacency a ? Ipv4Text.Mac(AdjacencyMac.Destination(in a)) : null,
            Port = first.Forward && !n.IsGroup ? tables.InterfaceName(first.IfIndex) : null,
        };
    }

    private NexthopMemberView Member(Resolution way) => new()
    {
        Index = way.Nexthop,
        Id = tables.Nexthops.TryRead(way.Nexthop, out NexthopRecord n) && n.ObjectId != 0 ? n.ObjectId : null,
        Weight = way.Weight,
        Fastpath = way.Forward ? "forward" : "punt",
        Reason = way.Forward ? null : ReasonNames.Of(way.Reason),
    };
}
