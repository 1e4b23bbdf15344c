using FastPathSync.Fpctl.Inspection;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.Fpctl.Features.Verify;

/// <summary>
/// Compares the tries of the IPv6 tables, by lookups as workers make them, with what Linux does by its own dump: at the first
/// and last address of every prefix, and right before and behind. How many prefixes a trie holds tells the rest.
/// </summary>
internal sealed unsafe class Fib6Comparison(
    KernelState kernel, InstanceTables tables, Findings findings, Func<uint, string> name, NexthopComparison nexthops)
{
    private readonly KernelForwarding6 _forwarding = new(kernel, name);
    private readonly Dictionary<(int Nexthop, int Decision), bool> _known = [];
    private readonly HashSet<(uint Table, IpAddress Destination, byte Length)> _ambiguous = [];
    private int _compared;

    public void All()
    {
        foreach ((_, Route6Record r) in tables.Routes6.All())
        {
            if (r.IsAmbiguous)
            {
                _ambiguous.Add((r.Table, r.Destination, r.PrefixLength));
            }
        }

        foreach (uint table in _forwarding.Tables.Union([KernelNames.TableMain, KernelNames.TableLocal]))
        {
            Compare(table);
        }

        findings.Count("fib6", _compared);
        bool localFirst = tables.Vrf->LocalFirst6 != 0, wanted = _forwarding.Prefixes(KernelNames.TableLocal).Keys.Any(p => p.Length < 128 && p.Destination.High >> 56 != 0xff);
        if (localFirst != wanted)
        {
            findings.Add("fib6", "order of tables", wanted ? "local first" : "local within main", localFirst ? "local first" : "local within main");
        }
    }

    private void Compare(uint table)
    {
        int slot = tables.Tries.Find(FibFamily.Ipv6, table);
        Dictionary<(IpAddress Destination, byte Length), int> prefixes = _forwarding.Prefixes(table);
        if (slot < 0 && prefixes.Count == 0)
        {
            return; // a kernel without IPv6
        }

        if (slot < 0)
        {
            findings.Add("fib6", $"table {KernelNames.Table(table)}", $"{prefixes.Count} prefixes", "absent");
            return;
        }

        int unjudged = _forwarding.Decisions.Number(Decision.Unjudged), maybe = 0;
        List<(UInt128, int, int)> input = new(prefixes.Count);
        foreach (((IpAddress destination, byte length), int decision) in prefixes)
        {
            int d = decision;
            if (_ambiguous.Contains((table, destination, length)) || (table == KernelNames.TableMain && _ambiguous.Contains((KernelNames.TableLocal, destination, length))))
            {
                d = MayPunt(decision); // the fast path has seen what a dump doesn't show
            }

            maybe += decision == DecisionTable.Dead || decision == unjudged ? 1 : 0;
            input.Add((new UInt128(destination.High, destination.Low), length, d));
        }

        IntervalMap6 map = IntervalMap6.Build(input, _forwarding.Decisions.Number(Decision.NoRoute), MayPunt);
        for (int i = 0; i < map.Count; i++)
        {
            (UInt128 first, UInt128 last, int decision) = map[i];
            if (Check(table, slot, first, decision) && last != first)
            {
                Check(table, slot, last, decision);
            }
        }

        uint held = tables.Tries.Roots[slot].Prefixes;
        if (held > prefixes.Count || held < prefixes.Count - maybe)
        {
            findings.Add("fib6", $"table {KernelNames.Table(table)}", $"{prefixes.Count} prefixes", $"{held} prefixes");
        }
    }

    private bool Check(uint table, int slot, UInt128 address, int decision)
    {
        _compared++;
        uint entry = tables.Tries.Lookup(slot, new FibKey((ulong)(address >> 64), (ulong)address));
        int nexthop = entry == 0 ? -1 : FibEntry.Nexthop(entry);
        if (!_known.TryGetValue((nexthop, decision), out bool agrees))
        {
            agrees = _known[(nexthop, decision)] = nexthops.Agrees(Outcome(nexthop), _forwarding.Decisions[decision]);
        }

        if (nexthop > 0)
        {
            nexthops.CheckWords(nexthop);
        }

        if (!agrees)
        {
            string where = table == KernelNames.TableMain ? "" : $" table {KernelNames.Table(table)}";
            findings.Add("fib6", Ip6Text.Address((ulong)(address >> 64), (ulong)address) + where, _forwarding.Decisions[decision].ToString(), Outcome(nexthop).ToString());
        }

        return agrees;
    }

    private Decision Outcome(int nexthop) => nexthop < 0 ? Decision.NoRoute : nexthops.Outcome(nexthop, _forwarding.Decisions);

    /// <summary>Of a prefix that Linux looks past: what stands around it decides, and punting is right as well.</summary>
    private int MayPunt(int decision) => decision < 0 ? decision : _forwarding.Decisions.Number(_forwarding.Decisions[decision] with { MayPunt = true });
}
