using FastPathSync.SharedMemory;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FpManager.Features.Rule;

/// <summary>A family's rules as workers walk them.</summary>
/// <param name="Rules">In the kernel's order; empty with IsDefault.</param>
/// <param name="IsDefault">The merged table is all there is to look up.</param>
/// <param name="Tables">The tables that are required by themselves, each as often as a rule looks it up.</param>
/// <param name="Gaps">What of the rules is Linux's, by rule: its name and the reason.</param>
internal sealed record RuleProgram(
    IReadOnlyList<CompiledRule> Rules, bool IsDefault, bool NeedsTransport, IReadOnlyList<uint> Tables, IReadOnlyList<(string Rule, string Reason)> Gaps);

/// <summary>
/// Compiles the rules of one family, as fib_rules_lookup (net/core/fib_rules.c), fib4_rule_match (net/ipv4/fib_rules.c)
/// and fib6_rule_match (net/ipv6/fib6_rules.c) would judge a forwarded packet: its mark, user and tunnel are 0, its output
/// interface isn't known yet, it came in by a port. Netfilter or tc could mark it: then the VRF or port is demoted.
/// </summary>
internal sealed class RuleCompiler(byte family, IRuleTables tables, Func<string, ushort> portOf)
{
    private const byte AF_INET = 2, FR_ACT_TO_TBL = 1, FR_ACT_GOTO = 2, FR_ACT_NOP = 3, FR_ACT_BLACKHOLE = 6, FR_ACT_UNREACHABLE = 7, FR_ACT_PROHIBIT = 8;
    private const uint TableMain = 254, TableLocal = 255;
    private const byte IPTOS_RT_MASK = 0x1c, DscpField = 0xfc;

    private readonly List<CompiledRule> _rules = [];
    private readonly List<uint> _tables = [];
    private readonly List<(string Rule, string Reason)> _gaps = [];
    private bool _localFirst;
    private bool _mainSecond;

    /// <summary>What a rule's selectors amount to before there is a packet.</summary>
    private enum Known
    {
        Never,
        Always,
        Depends,
    }

    /// <param name="rules">Of this family, in the kernel's order.</param>
    public RuleProgram Compile(IReadOnlyList<RuleRecord> rules)
    {
        int[] firstOf = new int[rules.Count + 1]; // the compiled rule at which whoever comes to this rule goes on
        for (int i = 0; i < rules.Count; i++)
        {
            firstOf[i] = _rules.Count;
            RuleRecord rule = rules[i];
            Add(in rule, rules, i);
        }

        firstOf[rules.Count] = _rules.Count;
        for (int i = 0; i < _rules.Count; i++)
        {
            if (_rules[i].Action == RuleAction.Goto)
            {
                _rules[i] = _rules[i] with { Target = firstOf[_rules[i].Target] };
            }
        }

        bool transport = _rules.Any(r => r.Protocol != 0 || HasPorts(in r));
        return new RuleProgram(_rules, IsDefault(), transport, _tables, _gaps);
    }

    private static bool HasPorts(in CompiledRule r) =>
        (r.SourcePortMask | r.DestinationPortMask | r.SourcePortFirst | r.DestinationPortFirst) != 0
        || r.SourcePortLast != ushort.MaxValue || r.DestinationPortLast != ushort.MaxValue;

    /// <summary>Nothing but local for all, then main for all: what the merged table says in one lookup.</summary>
    private bool IsDefault() => _localFirst && (_rules.Count == 2 ? _mainSecond : _rules.Count == 1 && tables.CountOf(TableMain) == 0);

    /// <summary>For every packet, and nothing found is suppressed.</summary>
    private static bool IsPlain(CompiledRule r) =>
        (r with { Action = default, Target = 0, Priority = 0, Flags = r.Flags & ~CompiledRuleFlags.Local }).Is(Unconditional());

    private static CompiledRule Unconditional() => new()
    {
        SourcePortLast = ushort.MaxValue,
        DestinationPortLast = ushort.MaxValue,
        InputPort = CompiledRule.AnyPort,
        SuppressDepth = -1,
    };

    private void Add(in RuleRecord rule, IReadOnlyList<RuleRecord> rules, int index)
    {
        CompiledRule c = Unconditional() with { Priority = rule.Priority };
        Known known = Select(in rule, ref c, out string? unknown);
        if (known == Known.Never && unknown is null)
        {
            return;
        }

        if (unknown is not null)
        {
            c.Flags |= CompiledRuleFlags.Unknown;
            Gap(in rule, unknown);
        }

        if (Act(in rule, rules, index, ref c))
        {
            _rules.Add(c);
        }
    }

    /// <summary>Whether the rule matches, as far as that can be told now; the rest becomes selectors.</summary>
    /// <param name="unknown">A selector that isn't understood, and could make a difference.</param>
    private Known Select(in RuleRecord rule, ref CompiledRule c, out string? unknown)
    {
        unknown = rule.Unknown != 0 ? $"attribute {rule.Unknown} is not known to the fast path" : null;
        bool invert = rule.Has(RuleFlags.Invert);
        if (rule.Has(RuleFlags.L3Mdev))
        {
            // No port is in an l3mdev (that of a VRF device is demoted). Which table an inverted rule of them means only Linux knows.
            unknown = invert ? "an inverted l3mdev rule names no table" : null;
            return invert ? Known.Always : Known.Never;
        }

        Known known = Understood(in rule, ref c);
        if (known == Known.Never)
        {
            unknown = null; // all selectors must hold, so that the unknown one doesn't matter
            c = Unconditional() with { Priority = rule.Priority };
            return invert ? Known.Always : Known.Never;
        }

        if (known == Known.Always && unknown is null)
        {
            return invert ? Known.Never : Known.Always;
        }

        c.Flags |= invert ? CompiledRuleFlags.Invert : 0;
        return Known.Depends;
    }

    private Known Understood(in RuleRecord rule, ref CompiledRule c)
    {
        CompiledRule any = c;
        uint markMask = rule.Has(RuleFlags.MarkMask) ? rule.MarkMask : rule.Mark != 0 ? uint.MaxValue : 0;
        if ((rule.Mark & markMask) != 0 || rule.TunnelId != 0 || rule.OutputInterface.ToString().Length > 0
            || (rule.Has(RuleFlags.Uids) && rule.UidFirst > 0))
        {
            return Known.Never;
        }

        if (rule.InputInterface.ToString() is { Length: > 0 } iif && (c.InputPort = portOf(iif)) == CompiledRule.AnyPort)
        {
            return Known.Never; // lo, an interface that is no port, or one that doesn't exist
        }

        if (!SelectDscp(in rule, ref c))
        {
            return Known.Never;
        }

        (c.Destination, c.DestinationMask) = Prefix(rule.Destination, rule.DestinationLength);
        (c.Source, c.SourceMask) = Prefix(rule.Source, rule.SourceLength);
        c.Protocol = rule.IpProtocol;
        (c.SourcePort, c.SourcePortMask, c.SourcePortFirst, c.SourcePortLast) = Ports(rule.SourcePorts);
        (c.DestinationPort, c.DestinationPortMask, c.DestinationPortFirst, c.DestinationPortLast) = Ports(rule.DestinationPorts);
        c.FlowLabelMask = rule.Has(RuleFlags.FlowLabelMask) ? rule.FlowLabelMask : rule.Has(RuleFlags.FlowLabel) ? 0xf_ffff : 0u;
        c.FlowLabel = rule.FlowLabel & c.FlowLabelMask;
        return c.Is(in any) ? Known.Always : Known.Depends;
    }

    private bool SelectDscp(in RuleRecord rule, ref CompiledRule c)
    {
        if (rule.Has(RuleFlags.Dscp))
        {
            c.DscpMask = rule.Has(RuleFlags.DscpMask) ? (byte)(rule.DscpMask << 2) : DscpField;
            c.Dscp = (byte)((rule.Dscp << 2) & c.DscpMask);
            return true;
        }

        if (rule.Tos == 0)
        {
            return true;
        }

        // fib_dscp_masked_match: IPv4 compares three bits of the packet with all of the rule's; IPv6 compares all six.
        c.DscpMask = family == AF_INET ? IPTOS_RT_MASK : DscpField;
        c.Dscp = (byte)(rule.Tos & DscpField);
        return (c.Dscp & ~c.DscpMask) == 0;
    }

    private (FibKey Value, FibKey Mask) Prefix(IpAddress address, int length)
    {
        if (length == 0)
        {
            return default;
        }

        FibKey key = family == AF_INET ? FibKey.Ipv4(address.V4) : new FibKey(address.High, address.Low);
        return (key.Prefix(length), new FibKey(ulong.MaxValue, ulong.MaxValue).Prefix(length));
    }

    /// <summary>fib_rule_port_match (include/net/fib_rules.h).</summary>
    private static (ushort Value, ushort Mask, ushort First, ushort Last) Ports(RulePortRange p) =>
        p.Mask != 0 ? ((ushort)(p.First & p.Mask), p.Mask, (ushort)0, ushort.MaxValue)
        : p.First != 0 && p.Last != 0 ? ((ushort)0, (ushort)0, p.First, p.Last)
        : ((ushort)0, (ushort)0, (ushort)0, ushort.MaxValue);

    /// <returns>False when the rule does nothing.</returns>
    private bool Act(in RuleRecord rule, IReadOnlyList<RuleRecord> rules, int index, ref CompiledRule c)
    {
        c.Action = RuleAction.Punt;
        switch (rule.Action)
        {
            case FR_ACT_TO_TBL when rule.Has(RuleFlags.L3Mdev):
                return true; // matched by an unknown selector only
            case FR_ACT_TO_TBL:
                return Lookup(in rule, ref c);
            case FR_ACT_GOTO:
                c.Action = RuleAction.Goto;
                c.Target = TargetOf(rule.Target, rules, index);
                if (c.Target < rules.Count)
                {
                    return true;
                }

                c.Target = index + 1; // unresolved: on to the next one
                return (c.Flags & CompiledRuleFlags.Unknown) != 0;
            case FR_ACT_NOP:
                c.Action = RuleAction.Goto;
                c.Target = index + 1;
                return (c.Flags & CompiledRuleFlags.Unknown) != 0;
            case FR_ACT_BLACKHOLE:
                c.Reason = PuntReason.Blackhole;
                return true;
            case FR_ACT_UNREACHABLE:
                c.Reason = PuntReason.Unreachable;
                return true;
            case FR_ACT_PROHIBIT:
                c.Reason = PuntReason.Prohibit;
                return true;
            default:
                c.Reason = PuntReason.RuleUnsupported;
                Gap(in rule, $"action {rule.Action} is not known to the fast path");
                return true;
        }
    }

    private bool Lookup(in RuleRecord rule, ref CompiledRule c)
    {
        c.SuppressDepth = rule.Has(RuleFlags.SuppressPrefixLength) ? (int)Math.Min(rule.SuppressPrefixLength, 128) : -1;
        bool unknown = (c.Flags & CompiledRuleFlags.Unknown) != 0;
        if (tables.CountOf(rule.Table) == 0 && !unknown && !(rule.Table == TableLocal && _rules.Count == 0))
        {
            return false; // nothing to find; the first route brings another compilation
        }

        if (rule.Has(RuleFlags.SuppressInterfaceGroup))
        {
            c.Flags |= CompiledRuleFlags.PuntFound;
            Gap(in rule, "suppress_ifgroup is not known to the fast path");
        }

        bool merged = rule.Table == TableMain && _localFirst;
        _mainSecond |= merged && _rules.Count == 1 && IsPlain(c);
        if (merged && tables.MergedRoot < 0)
        {
            c.Action = RuleAction.LookupMerged;
            return true;
        }

        c.Action = RuleAction.Lookup;
        c.Flags |= rule.Table == TableLocal ? CompiledRuleFlags.Local : 0;
        c.Target = merged ? tables.MergedRoot : tables.Require(rule.Table);
        if (c.Target < 0)
        {
            c.Action = RuleAction.Punt;
            c.Reason = PuntReason.TableFull;
            Gap(in rule, $"there is no room for table {rule.Table}");
            return true;
        }

        if (!merged)
        {
            _tables.Add(rule.Table);
        }

        _localFirst |= rule.Table == TableLocal && _rules.Count == 0 && IsPlain(c);
        return true;
    }

    /// <summary>The first rule of the priority behind this one, or the end; the kernel refuses to go back.</summary>
    private static int TargetOf(uint priority, IReadOnlyList<RuleRecord> rules, int index)
    {
        int target = index + 1;
        while (target < rules.Count && rules[target].Priority != priority)
        {
            target++;
        }

        return target;
    }

    private void Gap(in RuleRecord rule, string reason) =>
        _gaps.Add(($"ip {(family == AF_INET ? "" : "-6 ")}rule {rule.Priority}", reason));
}
