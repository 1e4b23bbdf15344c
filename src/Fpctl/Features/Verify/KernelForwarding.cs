using FastPathSync.Fpctl.Features.Route;
using FastPathSync.Fpctl.Inspection;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.Fpctl.Features.Verify;

/// <summary>What Linux does with every IPv4 destination, computed from its own dump: see RouteOrder for the rules.</summary>
internal sealed class KernelForwarding
{
    private const int Hole = int.MaxValue;

    /// <param name="passAll">The whole VRF is Linux's now: what fpmd leaves to Linux by that alone isn't judged.</param>
    public KernelForwarding(KernelState kernel, Func<uint, string> interfaceName, bool passAll)
    {
        Decisions = new DecisionTable(kernel, interfaceName);
        int noRoute = Decisions.Number(Decision.NoRoute);
        IntervalMap merged = Build(kernel.Routes.Where(r => r.Key.Table is KernelNames.TableLocal or KernelNames.TableMain), Hole);
        IntervalMap fallback = Build(kernel.Routes.Where(r => r.Key.Table == KernelNames.TableDefault), noRoute, longOnesUnjudged: passAll);
        Map = merged.FillFrom(fallback, Hole);
    }

    public DecisionTable Decisions { get; }

    public IntervalMap Map { get; }

    /// <param name="longOnesUnjudged">True for table default while its prefixes other than 0/0 demote the VRF.</param>
    private IntervalMap Build(IEnumerable<KernelRoute> routes, int outside, bool longOnesUnjudged = false)
    {
        Dictionary<ulong, (RouteKey Key, int Decision)> best = [];
        HashSet<ulong> byTos = [], passedOver = [];
        foreach (KernelRoute r in routes)
        {
            ulong prefix = IntervalMap.Key(r.Key.Destination, r.Key.PrefixLength);
            if (r.Key.Tos != 0)
            {
                byTos.Add(prefix);
                continue;
            }

            int decision = longOnesUnjudged && r.Key.PrefixLength > 0 ? Decisions.Number(Decision.Unjudged) : Decisions.Of(in r);
            if (decision == DecisionTable.Dead)
            {
                passedOver.Add(prefix);
            }
            else if (!best.TryGetValue(prefix, out (RouteKey Key, int) b) || IsBefore(r.Key, b.Key))
            {
                best[prefix] = (r.Key, decision);
            }
        }

        Dictionary<ulong, int> prefixes = best.ToDictionary(p => p.Key, p => p.Value.Decision);
        foreach (ulong p in passedOver)
        {
            // Punting what Linux routes around a dead way is right, if slow.
            prefixes[p] = prefixes.TryGetValue(p, out int d) ? MayPunt(d) : DecisionTable.Dead;
        }

        foreach (ulong p in byTos)
        {
            prefixes[p] = Decisions.PuntFor(PuntReason.TosRoute);
        }

        return IntervalMap.Build(prefixes, outside, (_, around) => around == Hole ? MayPunt(Decisions.Number(Decision.NoRoute)) : MayPunt(around));
    }

    private int MayPunt(int decision) => Decisions.Number(Decisions[decision] with { MayPunt = true });

    /// <summary>Of one prefix; the first of equals stays, as in the kernel's own list.</summary>
    private static bool IsBefore(in RouteKey a, in RouteKey b) =>
        a.Table != b.Table ? RouteOrder.TableRank(a.Table) < RouteOrder.TableRank(b.Table) : a.Metric < b.Metric;
}
