using FastPathSync.Fpctl.Inspection;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.Fpctl.Features.Verify;

/// <summary>Compares the nexthops that FIBs lead to, and the adjacencies behind them, with what Linux has. Of both families.</summary>
internal sealed class NexthopComparison(KernelState kernel, InstanceTables tables, Findings findings, Func<uint, string> name)
{
    private readonly InstanceTables _tables = tables;
    private readonly Findings _findings = findings;
    private readonly Func<uint, string> _name = name;
    private readonly HashSet<int> _wordsChecked = [];
    private readonly Dictionary<(uint, IpAddress), KernelNeighbour> _neighbours =
        kernel.Neighbours.Where(n => (n.State & KernelNames.NUD_VALID) != 0 && n.HasMac).ToDictionary(n => (n.IfIndex, n.Address));

    public bool Agrees(Decision found, Decision expected)
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
    public Decision Outcome(int n, DecisionTable decisions)
    {
        if (!_tables.Nexthops.TryRead(n, out NexthopRecord r))
        {
            return new Decision(null, PuntReason.NoRoute, false, []);
        }

        switch (r.Kind)
        {
            case NexthopKind.Single:
                return decisions.IsDead(r.IfIndex, r.Flags)
                    ? new Decision(null, PuntReason.LinkDown, false, [])
                    : new Decision(decisions.Text([new KernelHop(r.IfIndex, r.Gateway, 1, 0, false)]), null, false, [r.IfIndex]);
            case NexthopKind.Group or NexthopKind.ResilientGroup when _tables.Word(n).IsGroup:
                KernelHop[] members = [.. Members(r, decisions).OrderBy(m => m.Order).Select(m => new KernelHop(m.Record.IfIndex, m.Record.Gateway, m.Weight, 0, false))];
                return new Decision(decisions.Text(members), null, false, [.. members.Select(m => m.IfIndex)]);
            case NexthopKind.Group or NexthopKind.ResilientGroup:
                return new Decision(null, _tables.Word(n).Reason, false, []);
            default:
                return new Decision(null, n == 0 ? _tables.Word(0).Reason : r.Reason, false, []);
        }
    }

    /// <summary>The members that some hash reaches, and those that only their neighbour keeps out; the dead are left out.</summary>
    private IEnumerable<(uint Order, NexthopRecord Record, uint Weight)> Members(NexthopRecord group, DecisionTable decisions)
    {
        for (int i = group.FirstMember; i < group.FirstMember + group.MemberCount; i++)
        {
            GroupMember m = _tables.Member(i);
            bool reached = i == group.FirstMember || m.UpperBound != GroupMember.NoShare;
            if (_tables.Nexthops.TryRead(m.Nexthop, out NexthopRecord r)
                && (reached || r.Kind != NexthopKind.Single || !decisions.IsDead(r.IfIndex, r.Flags)))
            {
                yield return (m.Order, r, m.Weight);
            }
        }
    }

    /// <summary>The words that workers obey say what the records say, given interface and neighbour.</summary>
    public void CheckWords(int n)
    {
        if (!_wordsChecked.Add(n) || !_tables.Nexthops.TryRead(n, out NexthopRecord r))
        {
            return;
        }

        if (r.IsGroup)
        {
            for (int i = r.FirstMember; i < r.FirstMember + r.MemberCount + r.BucketCount; i++)
            {
                CheckWords(_tables.Member(i).Nexthop);
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
            NexthopAction.OnLink => r.Gateway.IsNone && word.Index == r.IfIndex ? MtuFault(word, in r) : $"on-link on {_name(word.Index)}",
            NexthopAction.Forward => ForwardFault(word, in r, resolved, in neighbour),
            NexthopAction.Group or NexthopAction.Buckets => "a group",
            _ => word.Reason switch
            {
                PuntReason.NoNeighbour => !r.Gateway.IsNone && resolved && IsTold(in neighbour) && IsPort(r.IfIndex) && IsUp(r.IfIndex) ? "punt no-neighbour" : null,
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
            : MtuFault(word, in r);
    }

    /// <summary>IPv4: the route's MTU, or the interface's. IPv6: the smaller of the route's and the interface's own for IPv6.</summary>
    private string? MtuFault(NexthopWord word, in NexthopRecord r)
    {
        if (!_tables.Interfaces.TryGetValue(r.IfIndex, out InterfaceRecord i))
        {
            return $"its interface {r.IfIndex} is missing";
        }

        uint wanted = r.Family != KernelNames.AF_INET6 ? (r.Mtu != 0 ? r.Mtu : i.Mtu) : r.Mtu != 0 ? Math.Min(r.Mtu, i.Mtu6) : i.Mtu6;
        return word.Mtu == Math.Min(wanted, 0xffff) ? null : $"mtu {word.Mtu}, not {wanted}";
    }

    /// <summary>Each neighbour's adjacency writes its MAC, its interface's MAC, and goes out by its port.</summary>
    public void Adjacencies()
    {
        int compared = 0;
        foreach ((int _, NeighbourRecord n) in _tables.Neighbours.All())
        {
            int adjacency = _tables.NeighbourHash.Find(n.IfIndex, n.Address);
            bool resolved = _neighbours.TryGetValue((n.IfIndex, n.Address), out KernelNeighbour k);
            bool wanted = resolved && IsPort(n.IfIndex) && IsUp(n.IfIndex);
            compared++;
            string? fault = adjacency >= 0 && !wanted ? "forwards" : adjacency < 0 && wanted && IsTold(in k) ? "punt no-neighbour"
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

    /// <summary>The kernel makes NOARP entries (of broadcast addresses, say) without a word: until a resync they may be unknown to us.</summary>
    private static bool IsTold(in KernelNeighbour n) => (n.State & KernelNames.NUD_VALID & ~KernelNames.NUD_NOARP) != 0;

    private bool IsPort(uint ifindex) => _tables.Interfaces.TryGetValue(ifindex, out InterfaceRecord i) && i.PortId != InterfaceRecord.NoPort;

    private bool IsUp(uint ifindex) => _tables.Interfaces.TryGetValue(ifindex, out InterfaceRecord i) && i.IsUp;
}
