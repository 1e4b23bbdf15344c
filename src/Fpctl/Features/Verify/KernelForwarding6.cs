using FastPathSync.Fpctl.Inspection;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.Fpctl.Features.Verify;

/// <summary>
/// What Linux does with every IPv6 destination by each of its tables, computed from its own dump (rt6_select and find_rr_leaf
/// in net/ipv6/route.c: see docs/features/ipv6.md for the rules).
/// </summary>
internal sealed class KernelForwarding6
{
    private readonly Dictionary<uint, Dictionary<(IpAddress Destination, byte Length), Candidates>> _tables = [];

    public KernelForwarding6(KernelState kernel, Func<uint, string> interfaceName)
    {
        Decisions = new DecisionTable(kernel, interfaceName, ipv6: true);
        foreach (KernelRoute6 r in kernel.Routes6)
        {
            if (!_tables.TryGetValue(r.Key.Table, out Dictionary<(IpAddress, byte), Candidates>? prefixes))
            {
                _tables[r.Key.Table] = prefixes = [];
            }

            (IpAddress, byte) prefix = (r.Key.Destination, r.Key.PrefixLength);
            if (!prefixes.TryGetValue(prefix, out Candidates? candidates))
            {
                prefixes[prefix] = candidates = new Candidates();
            }

            candidates.Add(in r, r.Key.SourceLength != 0 ? 0 : Decisions.Of(in r));
        }
    }

    public DecisionTable Decisions { get; }

    public IEnumerable<uint> Tables => _tables.Keys;

    /// <summary>Prefixes of a table with what decides for them: a decision, DecisionTable.Dead, or Unjudged. Main's with local's before.</summary>
    public Dictionary<(IpAddress Destination, byte Length), int> Prefixes(uint table)
    {
        Dictionary<(IpAddress, byte), int> all = [];
        if (table == KernelNames.TableMain && _tables.TryGetValue(KernelNames.TableLocal, out Dictionary<(IpAddress, byte), Candidates>? local))
        {
            foreach (((IpAddress, byte) prefix, Candidates c) in local)
            {
                all[prefix] = c.Decide(Decisions);
            }
        }

        if (_tables.TryGetValue(table, out Dictionary<(IpAddress, byte), Candidates>? own))
        {
            foreach (((IpAddress, byte) prefix, Candidates c) in own)
            {
                if (!all.TryGetValue(prefix, out int before) || before == DecisionTable.Dead)
                {
                    all[prefix] = c.Decide(Decisions);
                }
            }
        }

        return all;
    }

    /// <summary>The routes of one prefix of one table, in the kernel's order.</summary>
    private sealed class Candidates
    {
        private readonly List<(uint Metric, int Decision, bool Expiring)> _routes = [];
        private bool _bySource;

        public void Add(in KernelRoute6 r, int decision)
        {
            if (r.Key.SourceLength != 0)
            {
                _bySource = true;
            }
            else
            {
                _routes.Add((r.Key.Metric, decision, r.Expiring));
            }
        }

        public int Decide(DecisionTable decisions)
        {
            if (_bySource)
            {
                return decisions.PuntFor(PuntReason.SourceRoute);
            }

            if (_routes.Exists(r => r.Expiring))
            {
                return decisions.Number(Decision.Unjudged);
            }

            uint lowest = _routes.Min(r => r.Metric);
            List<int> first = [.. _routes.Where(r => r.Metric == lowest).Select(r => r.Decision)];
            if (first.Count > 1)
            {
                return decisions.PuntFor(PuntReason.AmbiguousRoute);
            }

            if (first[0] != DecisionTable.Dead)
            {
                return first[0];
            }

            List<int> alive = [.. _routes.Where(r => r.Metric != lowest && r.Decision != DecisionTable.Dead).Select(r => r.Decision)];
            return alive.Count switch
            {
                0 => DecisionTable.Dead,
                1 => alive[0],
                _ => decisions.PuntFor(PuntReason.AmbiguousRoute),
            };
        }
    }
}
