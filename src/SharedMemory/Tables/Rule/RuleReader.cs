using System.Runtime.CompilerServices;

namespace FastPathSync.SharedMemory.Tables;

/// <summary>What policy rules may ask of a packet (struct flowi4 and flowi6 of a forwarded one).</summary>
public struct RuleKey
{
    public FibKey Destination;
    public FibKey Source;
    public uint FlowLabel;

    /// <summary>Host byte order; 0 where there are none, and in fragments, the first one too.</summary>
    public ushort SourcePort;
    public ushort DestinationPort;

    /// <summary>PortId of the interface it came in on.</summary>
    public ushort InputPort;

    /// <summary>The whole DS field.</summary>
    public byte Dscp;

    /// <summary>May be 0 while no rule asks for it.</summary>
    public byte Protocol;

    /// <summary>Of the way back, as __fib_validate_source (net/ipv4/fib_frontend.c) asks: it comes in where the packet goes out.</summary>
    public readonly RuleKey Reversed(int outputPort) => this with
    {
        Destination = Source,
        Source = Destination,
        SourcePort = DestinationPort,
        DestinationPort = SourcePort,
        InputPort = (ushort)outputPort,
    };
}

/// <summary>What a route lookup came to.</summary>
/// <param name="Word">The nexthop's word, or "punt" for the reason that no route or a rule gave.</param>
/// <param name="Nexthop">Its index; 0 when there is none, or it is IPv4's default route.</param>
/// <param name="Depth">The length of the prefix that matched.</param>
/// <param name="Rule">The priority of the rule that decided; uint.MaxValue: none did.</param>
public readonly record struct RouteDecision(NexthopWord Word, uint Nexthop, int Depth, uint Rule)
{
    public static RouteDecision Punt(PuntReason reason, uint rule) => new(NexthopWord.Punt(reason), 0, 0, rule);
}

/// <summary>
/// Walks the policy rules of a packet and looks it up in their tables until something decides, as fib_rules_lookup
/// (net/core/fib_rules.c) with fib4_rule_action and fib4_rule_suppress (net/ipv4/fib_rules.c), or those of
/// net/ipv6/fib6_rules.c. Workers and fpctl use the same walk.
/// </summary>
/// <param name="compiled">RuleSegment.Compiled</param>
/// <param name="tries">Tables by themselves.</param>
/// <param name="fib">IPv4's local and main, merged.</param>
/// <param name="nexthops">NexthopSegment.Words</param>
public readonly unsafe struct RuleReader(CompiledRule* compiled, FibTrieReader tries, Fib4Reader fib, ulong* nexthops)
{
    private const uint NoRule = uint.MaxValue;

    /// <summary>The rules of a list, for whoever shows them.</summary>
    public ReadOnlySpan<CompiledRule> this[RuleList list] => new(compiled + list.First, list.Count);

    /// <summary>With the rules of IPv4.</summary>
    public RouteDecision Ipv4(RuleList rules, in RuleKey key) =>
        rules.IsDefault ? Found(fib.LookupEntry((uint)(key.Destination.High >> 32)), NoRule) : Walk(rules, key);

    /// <summary>With rules of IPv6 that aren't the default ones.</summary>
    public RouteDecision Ipv6(RuleList rules, in RuleKey key) => Walk(rules, key);

    private RouteDecision Walk(RuleList list, in RuleKey key)
    {
        CompiledRule* rules = compiled + list.First;
        int count = list.Count;
        for (int i = 0; i < count;)
        {
            CompiledRule* r = rules + i++;
            bool matches = Matches(r, key);
            if (r->Flags != 0)
            {
                if (matches && (r->Flags & CompiledRuleFlags.Unknown) != 0)
                {
                    return RouteDecision.Punt(PuntReason.RuleUnsupported, r->Priority);
                }

                matches ^= (r->Flags & CompiledRuleFlags.Invert) != 0;
            }

            if (!matches)
            {
                continue;
            }

            RouteDecision found;
            switch (r->Action)
            {
                case RuleAction.Goto:
                    i = Math.Max(i, r->Target); // never back, whatever is in the table
                    continue;
                case RuleAction.Lookup:
                    uint entry = tries.Lookup(r->Target, key.Destination);
                    if (entry == 0)
                    {
                        continue;
                    }

                    found = Found(entry, r->Priority);
                    break;
                case RuleAction.LookupMerged:
                    found = Found(fib.LookupEntry((uint)(key.Destination.High >> 32)), r->Priority);
                    break;
                default:
                    return RouteDecision.Punt(r->Reason, r->Priority);
            }

            if (Decides(r, ref found))
            {
                return found;
            }
        }

        return RouteDecision.Punt(PuntReason.NoRoute, NoRule);
    }

    private RouteDecision Found(uint entry, uint rule)
    {
        uint nexthop = (uint)FibEntry.Nexthop(entry);
        return new RouteDecision(new NexthopWord(Volatile.Read(ref nexthops[nexthop])), nexthop, FibEntry.Depth(entry), rule);
    }

    /// <summary>Whether the walk ends with what a table gave, or goes on as if it had given nothing (EAGAIN).</summary>
    private static bool Decides(CompiledRule* r, ref RouteDecision found)
    {
        if (found.Word.Action == NexthopAction.Punt)
        {
            switch (found.Word.Reason)
            {
                case PuntReason.NoRoute:
                    return false;
                case PuntReason.Throw:
                    return (r->Flags & CompiledRuleFlags.Local) != 0;
                case PuntReason.Blackhole or PuntReason.Unreachable or PuntReason.Prohibit:
                    return true; // an error, which no rule suppresses
            }
        }

        if (found.Depth <= r->SuppressDepth)
        {
            return false;
        }

        if ((r->Flags & CompiledRuleFlags.PuntFound) != 0)
        {
            found = RouteDecision.Punt(PuntReason.RuleUnsupported, r->Priority);
        }

        return true;
    }

    /// <summary>fib4_rule_match and fib6_rule_match, and what fib_rule_match asks first; the inversion aside.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static bool Matches(CompiledRule* r, in RuleKey key)
    {
        ulong differs = ((key.Destination.High ^ r->Destination.High) & r->DestinationMask.High)
            | ((key.Destination.Low ^ r->Destination.Low) & r->DestinationMask.Low)
            | ((key.Source.High ^ r->Source.High) & r->SourceMask.High)
            | ((key.Source.Low ^ r->Source.Low) & r->SourceMask.Low)
            | ((key.FlowLabel ^ r->FlowLabel) & r->FlowLabelMask)
            | (uint)((key.Dscp ^ r->Dscp) & r->DscpMask)
            | (uint)((key.SourcePort ^ r->SourcePort) & r->SourcePortMask)
            | (uint)((key.DestinationPort ^ r->DestinationPort) & r->DestinationPortMask);
        return differs == 0
            && (r->InputPort == CompiledRule.AnyPort || r->InputPort == key.InputPort)
            && (r->Protocol == 0 || r->Protocol == key.Protocol)
            && key.SourcePort >= r->SourcePortFirst && key.SourcePort <= r->SourcePortLast
            && key.DestinationPort >= r->DestinationPortFirst && key.DestinationPort <= r->DestinationPortLast;
    }
}
