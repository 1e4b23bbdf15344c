using FastPathSync.Fpctl.Features.Route;
using FastPathSync.Fpctl.Inspection;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.Fpctl.Features.Verify;

/// <summary>What Linux does with every IPv4 destination, computed from its own dump: see RouteOrder for the rules.</summary>
internal sealed class KernelForwarding
{
    private readonly KernelState _kernel;
    private readonly int _noRoute;

    public KernelForwarding(KernelState kernel, Func<uint, string> interfaceName)
    {
        _kernel = kernel;
        Decisions = new DecisionTable(kernel, interfaceName);
        _noRoute = Decisions.Number(Decision.NoRoute);
        Map = Build(kernel.Routes.Where(r => r.Key.Table is KernelNames.TableLocal or KernelNames.TableMain), out _);
    }

    public DecisionTable Decisions { get; }

    /// <summary>Local and main as one table.</summary>
    public IntervalMap Map { get; }

    /// <summary>One table by itself, and how many prefixes it has that aren't dead.</summary>
    public IntervalMap Alone(uint table, out int prefixes) => Build(_kernel.Routes.Where(r => r.Key.Table == table), out prefixes);

    private IntervalMap Build(IEnumerable<KernelRoute> routes, out int count)
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

            int decision = Decisions.Of(in r);
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

        count = prefixes.Count(p => p.Value != DecisionTable.Dead);
        MayPuntBelowLocal(prefixes, best);
        return IntervalMap.Build(prefixes, _noRoute, (_, around) => MayPunt(around));
    }

    /// <summary>Of a local prefix shorter than /32 and what main has below it Linux doesn't tell which it prefers.</summary>
    private void MayPuntBelowLocal(Dictionary<ulong, int> prefixes, Dictionary<ulong, (RouteKey Key, int Decision)> best)
    {
        RouteKey[] above = [.. best.Values.Select(b => b.Key).Where(k => k is { Table: KernelNames.TableLocal, PrefixLength: < 32 } && k.Destination >> 24 != 127)];
        if (above.Length == 0)
        {
            return;
        }

        foreach ((ulong prefix, int decision) in prefixes.ToList())
        {
            (uint destination, int length) = ((uint)(prefix >> 8), (int)(prefix & 0xff));
            bool local = best.TryGetValue(prefix, out (RouteKey Key, int) b) && b.Key.Table == KernelNames.TableLocal;
            if (decision >= 0 && !local && above.Any(a => a.PrefixLength < length && ((a.Destination ^ destination) & RouteOrder.Mask(a.PrefixLength)) == 0))
            {
                prefixes[prefix] = MayPunt(decision);
            }
        }
    }

    private int MayPunt(int decision) => Decisions.Number(Decisions[decision] with { MayPunt = true });

    /// <summary>Of one prefix; the first of equals stays, as in the kernel's own list.</summary>
    private static bool IsBefore(in RouteKey a, in RouteKey b) =>
        a.Table != b.Table ? RouteOrder.TableRank(a.Table) < RouteOrder.TableRank(b.Table) : a.Metric < b.Metric;
}
