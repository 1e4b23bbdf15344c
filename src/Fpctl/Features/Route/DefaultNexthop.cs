using FastPathSync.Fpctl.Inspection;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.Fpctl.Features.Route;

/// <summary>
/// Word 0 is a copy of the default route's word; the record that belongs to it is found by the route table.
/// </summary>
internal static class DefaultNexthop
{
    /// <summary>0 when there is no default route, or word 0 says otherwise than the route's own.</summary>
    public static int Find(InstanceTables tables)
    {
        RouteRecord? best = null;
        foreach ((_, RouteRecord r) in tables.Routes.All())
        {
            if (r is { PrefixLength: 0, Tos: 0 } && RouteOrder.TableRank(r.Table) is not null && tables.Word(r.Nexthop) == tables.Word(0)
                && (best is not RouteRecord b || RouteOrder.Compare(in r, in b) < 0))
            {
                best = r;
            }
        }

        return best?.Nexthop ?? 0;
    }
}
