using FastPathSync.Fpctl.Inspection;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.Fpctl.Features.Route;

/// <summary>What there is to say of the ways out of a route, whatever its family.</summary>
internal sealed class WayReader(InstanceTables tables)
{
    public RouteNexthopView Member(in Resolution way)
    {
        NexthopRecord record = ReadNexthop(way.Nexthop);
        return new RouteNexthopView
        {
            Gateway = record.Gateway.IsNone ? null : record.Gateway.ToString(),
            Dev = record.IfIndex == 0 ? null : tables.InterfaceName(record.IfIndex),
            Weight = way.Weight,
            Flags = KernelNames.NexthopFlags(record.Flags),
            Fastpath = way.Forward ? "forward" : "punt",
            Reason = way.Forward ? null : ReasonNames.Of(way.Reason),
            Lladdr = Lladdr(in way),
            Port = Port(in way),
        };
    }

    public NexthopRecord ReadNexthop(int index) => tables.Nexthops.TryRead(index, out NexthopRecord n) ? n : default;

    public string? Lladdr(in Resolution way)
    {
        if (!way.Forward || way.Adjacency < 0)
        {
            return null;
        }

        Adjacency a = tables.Adjacency(way.Adjacency);
        return Ipv4Text.Mac(AdjacencyMac.Destination(in a));
    }

    public string? Port(in Resolution way) => way.Forward ? tables.InterfaceName(way.IfIndex) : null;

    public static string NexthopKindName(NexthopKind kind) => kind.ToString().ToLowerInvariant();
}
