using FastPathSync.Fpctl.Features.Route;
using FastPathSync.Fpctl.Inspection;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.Fpctl.Features.Verify;

/// <summary>
/// Compares the compiled FIB, and the nexthops and adjacencies that it leads to, with what Linux does by its own dump.
/// Not by samples: every entry that decides for some IPv4 address.
/// </summary>
internal sealed class FibComparison
{
    private readonly InstanceTables _tables;
    private readonly Findings _findings;
    private readonly KernelForwarding _forwarding;
    private readonly Func<uint, string> _name;
    private readonly Dictionary<(uint, IpAddress), KernelNeighbour> _neighbours;
    private readonly Dictionary<(int Nexthop, int Decision), bool> _known = [];
    private readonly HashSet<int> _wordsChecked = [];
    private readonly int _defaultNexthop;

    public FibComparison(KernelState kernel, InstanceTables tables, Findings findings, Func<uint, string> name, bool passAll)
    {
        _tables = tables;
        _findings = findings;
        _name = name;
        _forwarding = new KernelForwarding(kernel, name, passAll);
        _neighbours = kernel.Neighbours.Where(n => (n.State & KernelNames.NUD_VALID) != 0 && n.HasMac).ToDictionary(n => (n.IfIndex, n.Address));
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
        Adjacencies();
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
            CheckWords(_tables.FibEntry(first).Nexthop);
        }

        Adjacencies();
    }

    private void Report(uint address, int nexthop, int decision)
    {
        _findings.SuspectAddresses.Add(address);
        _findings.Add("fib", Ipv4Text.Address(address), _forwarding.Decisions[decision].ToString(), Outcome(nexthop).ToString());
    }

    private bool Agrees(int nexthop, int decision, uint address)
    {
        CheckWords(nexthop);
        Decision expected = _forwarding.Decisions[decision];
        if (!_known.TryGetValue((nexthop, decision), out bool agrees))
        {
            agrees = _known[(nexthop, decision)] = Agrees(Outcome(nexthop), expected);
        }

        // Workers never look up what is no unicast destination (RFC 1122, 3.2.1.3): punting it at once is right.
        return agrees || (address >> 24 is 0 or 127 or >= 224 && Outcome(nexthop).Via is null);
    }

    private bool Agrees(Decision found, Decision expected)
    {
        if (expected == Decision.Unjudged)
        {
            return true;
        }

        if (found.Via is not null)
        {
            return found.Via == expected.Via;
        }

        if (expected.MayPunt || (expected.Via is null && (expected.Punt is null || expected.Punt == found.Punt)))
        {
            return true;
        }

        // The record itself may say why Linux must have it.
        return expected.Via is not null && found.Punt switch
        {
            PuntReason.EgressNotAPort => expected.Interfaces.All(i => !IsPort(i)),
            PuntReason.LinkDown => expected.Interfaces.All(i => !IsUp(i)),
            PuntReason.Demoted => true,
            _ => false,
        };
    }

    /// <summary>What the nexthop's records say, whether or not its neighbours are resolved now.</summary>
    private Decision Outcome(int nexthop)
    {
        int n = Real(nexthop);
        if (!_tables.Nexthops.TryRead(n, out NexthopRecord r))
        {
            return new Decision(null, PuntReason.NoRoute, false, []);
        }

        switch (r.Kind)
        {
            case NexthopKind.Single:
                return _forwarding.Decisions.IsDead(r.IfIndex, r.Flags)
                    ? new Decision(null, PuntReason.LinkDown, false, [])
                    : new Decision(_forwarding.Decisions.Text([new KernelHop(r.IfIndex, r.Gateway, 1, 0, false)]), null, false, [r.IfIndex]);
            case NexthopKind.Group or NexthopKind.ResilientGroup when _tables.Word(n).IsGroup:
                KernelHop[] members = [.. Members(r).Select(m => new KernelHop(m.Record.IfIndex, m.Record.Gateway, m.Weight, 0, false))];
                return new Decision(_forwarding.Decisions.Text(members), null, false, [.. members.Select(m => m.IfIndex)]);
            case NexthopKind.Group or NexthopKind.ResilientGroup:
                return new Decision(null, _tables.Word(n).Reason, false, []);
            default:
                return new Decision(null, n == 0 ? _tables.Word(0).Reason : r.Reason, false, []);
        }
    }

    /// <summary>The members that some hash reaches, and those that only their neighbour keeps out; the dead are left out.</summary>
    private IEnumerable<(int Nexthop, NexthopRecord Record, uint Weight)> Members(NexthopRecord group)
    {
        bool reached = true; // until the bound is the largest hash
        for (int i = group.FirstMember; i < group.FirstMember + group.MemberCount; i++)
        {
            GroupMember m = _tables.Member(i);
            if (_tables.Nexthops.TryRead(m.Nexthop, out NexthopRecord r)
                && (reached || r.Kind != NexthopKind.Single || !_forwarding.Decisions.IsDead(r.IfIndex, r.Flags)))
            {
                yield return (m.Nexthop, r, m.Weight);
            }

            reached &= m.UpperBound != uint.MaxValue;
        }
    }

    /// <summary>FIB entry 0 means the default route, whose record stands elsewhere.</summary>
    private int Real(int nexthop) => nexthop == 0 ? _defaultNexthop : nexthop;

    /// <summary>The words that workers obey say what the records say, given interface and neighbour.</summary>
    private void CheckWords(int nexthop)
    {
        int n = Real(nexthop);
        if (!_wordsChecked.Add(n) || !_tables.Nexthops.TryRead(n, out NexthopRecord r))
        {
            return;
        }

        if (r.IsGroup)
        {
            foreach ((int member, _, _) in Members(r))
            {
                CheckWords(member);
            }
        }
        else if (r.Kind == NexthopKind.Single)
        {
            CheckWord(n, in r);
        }
    }

    private void CheckWord(int n, in NexthopRecord r)
    {
        NexthopWord word = _tables.Word(n);
        bool resolved = _neighbours.TryGetValue((r.IfIndex, r.Gateway), out KernelNeighbour neighbour);
        string? fault = word.Action switch
        {
            NexthopAction.OnLink => r.Gateway.IsNone && word.Index == r.IfIndex ? null : $"on-link on {_name(word.Index)}",
            NexthopAction.Forward => ForwardFault(word, in r, resolved, in neighbour),
            NexthopAction.Group or NexthopAction.Buckets => "a group",
            _ => word.Reason switch
            {
                PuntReason.NoNeighbour => !r.Gateway.IsNone && resolved && IsPort(r.IfIndex) && IsUp(r.IfIndex) ? "punt no-neighbour" : null,
                PuntReason.EgressNotAPort => IsPort(r.IfIndex) ? "punt egress-not-a-port" : null,
                PuntReason.LinkDown => IsUp(r.IfIndex) && r.Flags == 0 ? "punt link-down" : null,
                PuntReason.Demoted => null,
                _ => $"punt {ReasonNames.Of(word.Reason)}",
            },
        };
        if (fault is not null)
        {
            string way = r.Gateway.IsNone ? $"dev {_name(r.IfIndex)}" : $"via {r.Gateway} dev {_name(r.IfIndex)}";
            _findings.Add("nexthop", way, resolved ? $"lladdr {MacNumber.Text(neighbour.Mac)}" : "no usable neighbour", fault);
        }
    }

    private string? ForwardFault(NexthopWord word, in NexthopRecord r, bool resolved, in KernelNeighbour neighbour)
    {
        Adjacency a = _tables.Adjacency((int)word.Index);
        ulong mac = MacNumber.Of(AdjacencyMac.Destination(in a));
        return a.IfIndex != r.IfIndex || a.Address != r.Gateway ? $"forwards to {a.Address} dev {_name(a.IfIndex)}"
            : !resolved || neighbour.Mac != mac ? $"forwards to lladdr {MacNumber.Text(mac)}"
            : null;
    }

    /// <summary>Each neighbour's adjacency writes its MAC, its interface's MAC, and goes out by its port.</summary>
    private void Adjacencies()
    {
        int compared = 0;
        foreach ((int _, NeighbourRecord n) in _tables.Neighbours.All())
        {
            int adjacency = _tables.NeighbourHash.Find(n.IfIndex, n.Address);
            bool resolved = _neighbours.TryGetValue((n.IfIndex, n.Address), out KernelNeighbour k);
            bool wanted = resolved && IsPort(n.IfIndex) && IsUp(n.IfIndex);
            compared++;
            string? fault = adjacency >= 0 && !wanted ? "forwards" : adjacency < 0 && wanted ? "punt no-neighbour"
                : adjacency >= 0 ? AdjacencyFault(_tables.Adjacency(adjacency), in k) : null;
            if (fault is not null)
            {
                _findings.Add(
                    "adjacency", $"{n.Address} dev {_name(n.IfIndex)}",
                    resolved ? $"lladdr {MacNumber.Text(k.Mac)}" : "no usable neighbour", fault);
            }
        }

        _findings.Count("adjacency", compared);
    }

    private unsafe string? AdjacencyFault(Adjacency a, in KernelNeighbour k)
    {
        ulong destination = MacNumber.Of(AdjacencyMac.Destination(in a)), source = MacNumber.Of(AdjacencyMac.Source(in a));
        if (!_tables.Interfaces.TryGetValue(k.IfIndex, out InterfaceRecord i))
        {
            return $"its interface {k.IfIndex} is missing";
        }

        ulong own = MacNumber.Of(new ReadOnlySpan<byte>(i.Address, 6));
        return a.IfIndex != k.IfIndex || a.Address != k.Address ? $"is that of {a.Address} dev {_name(a.IfIndex)}"
            : destination != k.Mac ? $"lladdr {MacNumber.Text(destination)}"
            : source != own ? $"source address {MacNumber.Text(source)}, the interface has {MacNumber.Text(own)}"
            : a.PortId != i.PortId ? $"port {a.PortId}, the interface is port {i.PortId}"
            : a.Mtu != Math.Min(i.Mtu, 0xffff) ? $"mtu {a.Mtu}, the interface has {i.Mtu}"
            : null;
    }

    private bool IsPort(uint ifindex) => _tables.Interfaces.TryGetValue(ifindex, out InterfaceRecord i) && i.PortId != InterfaceRecord.NoPort;

    private bool IsUp(uint ifindex) => _tables.Interfaces.TryGetValue(ifindex, out InterfaceRecord i) && i.IsUp;
}
