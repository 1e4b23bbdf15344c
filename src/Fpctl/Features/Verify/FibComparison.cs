using FastPathSync.Fpctl.Features.Route;
using FastPathSync.Fpctl.Inspection;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.Fpctl.Features.Verify;

/// <summary>
/// Compares the compiled IPv4 FIB, and the nexthops that it leads to, with what Linux does by its own dump. Not by samples:
/// every entry that decides for some address.
/// </summary>
internal sealed class FibComparison
{
    private readonly InstanceTables _tables;
    private readonly Findings _findings;
    private readonly KernelForwarding _forwarding;
    private readonly Dictionary<(int Nexthop, int Decision), bool> _known = [];
    private readonly NexthopComparison _nexthops;
    private readonly int _defaultNexthop;

    public FibComparison(KernelState kernel, InstanceTables tables, Findings findings, Func<uint, string> name, bool passAll, NexthopComparison nexthops)
    {
        _tables = tables;
        _findings = findings;
        _nexthops = nexthops;
        _forwarding = new KernelForwarding(kernel, name, passAll);
        _defaultNexthop = DefaultNexthop.Find(tables);
    }

    /// <summary>Every entry.</summary>
    public void All()
    {
        uint[] table = _tables.CopyFirstLevel();
        IntervalMap map = _forwarding.Map;
        int compared = 0;
        for (int i = 0; i < map.Count; i++)
        {
            (uint first, uint last, int decision) = map[i];
            uint agreed = uint.MaxValue, disagreed = uint.MaxValue;
            for (uint slot = first >> 8, end = last >> 8; slot <= end; slot++)
            {
                uint e = table[slot];
                if ((e & Fib4Reader.GroupFlag) == 0)
                {
                    compared++;
                    Entry(e, Math.Max(first, slot << 8));
                    continue;
                }

                for (uint a = Math.Max(first, slot << 8); ; a++)
                {
                    compared++;
                    Entry((uint)_tables.FibEntry(a).Nexthop, a);
                    if (a == Math.Min(last, (slot << 8) | 0xff))
                    {
                        break;
                    }
                }
            }

            void Entry(uint e, uint address)
            {
                e &= Fib4Reader.IndexMask;
                if (e == agreed || e == disagreed)
                {
                    return; // one report per interval and nexthop is enough
                }

                if (Agrees((int)e, decision, address))
                {
                    agreed = e;
                }
                else
                {
                    disagreed = e;
                    Report(address, (int)e, decision);
                }
            }
        }

        _findings.Count("fib", compared);
    }

    /// <summary>Only the addresses that were wrong before, in the live table.</summary>
    public void Only(IEnumerable<uint> addresses)
    {
        foreach (uint a in addresses)
        {
            int nexthop = _tables.FibEntry(a).Nexthop, decision = _forwarding.Map.Lookup(a);
            if (!Agrees(nexthop, decision, a))
            {
                Report(a, nexthop, decision);
            }
        }

        for (int i = 0; i < _forwarding.Map.Count; i++)
        {
            (uint first, _, _) = _forwarding.Map[i];
            _nexthops.CheckWords(Real(_tables.FibEntry(first).Nexthop));
        }
    }

    private void Report(uint address, int nexthop, int decision)
    {
        _findings.SuspectAddresses.Add(address);
        _findings.Add("fib", Ipv4Text.Address(address), _forwarding.Decisions[decision].ToString(), Outcome(nexthop).ToString());
    }

    private bool Agrees(int nexthop, int decision, uint address)
    {
        _nexthops.CheckWords(Real(nexthop));
        Decision expected = _forwarding.Decisions[decision];
        if (!_known.TryGetValue((nexthop, decision), out bool agrees))
        {
            agrees = _known[(nexthop, decision)] = _nexthops.Agrees(Outcome(nexthop), expected);
        }

        // Workers never look up what is no unicast destination (RFC 1122, 3.2.1.3): punting it at once is right.
        return agrees || (address >> 24 is 0 or 127 or >= 224 && Outcome(nexthop).Via is null);
    }

    /// <summary>FIB entry 0 means the default route, whose record stands elsewhere.</summary>
    private int Real(int nexthop) => nexthop == 0 ? _defaultNexthop : nexthop;

    private Decision Outcome(int nexthop) => _nexthops.Outcome(Real(nexthop), _forwarding.Decisions);
}
