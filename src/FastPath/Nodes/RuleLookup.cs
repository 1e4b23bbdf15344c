using System.Runtime.CompilerServices;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FastPath.Nodes;

/// <summary>What a route lookup came to.</summary>
/// <param name="Word">The nexthop's word, or "punt" for the reason that no route or a rule gave.</param>
/// <param name="Nexthop">Its index; 0 when there is none, or it is IPv4's default route.</param>
/// <param name="Depth">The length of the prefix that matched.</param>
internal readonly record struct RouteDecision(NexthopWord Word, uint Nexthop, int Depth)
{
    public static RouteDecision Punt(PuntReason reason) => new(NexthopWord.Punt(reason), 0, 0);
}

/// <summary>
/// Walks the policy rules of a packet and looks it up in their tables until something decides, as fib_rules_lookup
/// (net/core/fib_rules.c) with fib4_rule_action and fib4_rule_suppress (net/ipv4/fib_rules.c), or those of
/// net/ipv6/fib6_rules.c.
/// </summary>
internal static unsafe class RuleLookup
{
    /// <summary>With the rules of IPv4.</summary>
    public static RouteDecision Ipv4(in WorkerTables t, RuleList rules, in RuleKey key) =>
        rules.IsDefault ? Found(t, t.Fib.LookupEntry((uint)(key.Destination.High >> 32))) : Walk(t, rules, key);

    /// <summary>With rules of IPv6 that aren't the default ones.</summary>
    public static RouteDecision Ipv6(in WorkerTables t, RuleList rules, in RuleKey key) => Walk(t, rules, key);

    private static RouteDecision Walk(in WorkerTables t, RuleList list, in RuleKey key)
    {
        CompiledRule* rules = t.Rules + list.First;
        int count = list.Count;
        for (int i = 0; i < count;)
        {
            CompiledRule* r = rules + i++;
            bool matches = Matches(r, key);
            if (r->Flags != 0)
            {
                if (matches && (r->Flags & CompiledRuleFlags.Unknown) != 0)
                {
                    return RouteDecision.Punt(PuntReason.RuleUnsupported);
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
                    uint entry = t.Tries.Lookup(r->Target, key.Destination);
                    if (entry == 0)
                    {
                        continue;
                    }

                    found = Found(t, entry);
                    break;
                case RuleAction.LookupMerged:
                    found = Found(t, t.Fib.LookupEntry((uint)(key.Destination.High >> 32)));
                    break;
                default:
                    return RouteDecision.Punt(r->Reason);
            }

            if (Decides(r, ref found))
            {
                return found;
            }
        }

        return RouteDecision.Punt(PuntReason.NoRoute);
    }

    private static RouteDecision Found(in WorkerTables t, uint entry)
    {
        uint nexthop = (uint)FibEntry.Nexthop(entry);
        return new RouteDecision(new NexthopWord(Volatile.Read(ref t.Nexthops[nexthop])), nexthop, FibEntry.Depth(entry));
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
            found = RouteDecision.Punt(PuntReason.RuleUnsupported);
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
