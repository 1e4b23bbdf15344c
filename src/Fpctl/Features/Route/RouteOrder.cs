using FastPathSync.Fpctl.Inspection;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.Fpctl.Features.Route;

/// <summary>
/// Which of the routes that cover an address Linux uses, without `ip rule`s of the user's (net/ipv4/fib_trie.c,
/// include/net/ip_fib.h fib_lookup): local and main are one trie; the longest prefix wins; in a prefix local comes before
/// main and the lowest metric first. The default table is asked only when that finds nothing.
/// </summary>
internal static class RouteOrder
{
    /// <summary>Lower is asked earlier, among routes of one prefix. Routes of other tables are never asked: null.</summary>
    public static int? TableRank(uint table) => table switch
    {
        KernelNames.TableLocal => 0,
        KernelNames.TableMain => 1,
        KernelNames.TableDefault => 2,
        _ => null,
    };

    public static uint Mask(int prefixLength) => prefixLength == 0 ? 0 : uint.MaxValue << (32 - prefixLength);

    public static bool Covers(in RouteRecord r, uint address) => ((address ^ r.Destination) & Mask(r.PrefixLength)) == 0;

    /// <summary>Negative when <paramref name="a"/> is used before <paramref name="b"/> for an address that both cover.</summary>
    public static int Compare(in RouteRecord a, in RouteRecord b)
    {
        int fallback = (a.Table == KernelNames.TableDefault).CompareTo(b.Table == KernelNames.TableDefault);
        return fallback != 0 ? fallback
            : a.PrefixLength != b.PrefixLength ? b.PrefixLength.CompareTo(a.PrefixLength)
            : TableRank(a.Table) != TableRank(b.Table) ? TableRank(a.Table)!.Value.CompareTo(TableRank(b.Table)!.Value)
            : a.Tos != b.Tos ? a.Tos.CompareTo(b.Tos)
            : a.Metric.CompareTo(b.Metric);
    }

    /// <summary>The route in force for an address, by the route table alone.</summary>
    public static RouteRecord? Find(RecordReader routes, uint address)
    {
        RouteRecord? best = null;
        foreach (RouteRecord r in routes())
        {
            if (TableRank(r.Table) is not null && Covers(in r, address) && (best is not RouteRecord b || Compare(in r, in b) < 0))
            {
                best = r;
            }
        }

        return best;
    }

    internal delegate IEnumerable<RouteRecord> RecordReader();
}
