using System.Runtime.CompilerServices;
using FastPathSync.Packets;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FastPath.Nodes;

/// <summary>
/// ipv6-rule: stands in ipv6-lookup's place while IPv6 has policy rules of its own. As fib6_rule_lookup with
/// fib6_has_custom_rules (net/ipv6/fib6_rules.c).
/// </summary>
/// <remarks>
/// May enter: what ipv6-input let through. Nothing is written to a packet here. Leaves behind: Nexthop, a Forward word.
/// Edges:
///   next                  as of ipv6-lookup, by the first rule and table that decide.
///   Punt RuleUnsupported  a rule that isn't understood fully may apply.
///   Punt (a rule's)       the rule is blackhole, unreachable or prohibit; no rule decided: no-route.
///   Punt (the word's)     as of ipv6-lookup.
/// </remarks>
internal static unsafe class Ipv6RuleNode
{
    [MethodImpl(MethodImplOptions.NoInlining)]
    public static void Run(ref PacketVector v, in WorkerTables t, int rxPort, RuleList rules)
    {
        for (int i = 0; i < v.Count; i++)
        {
            if (v.Verdict[i] == (byte)Verdict.Forward)
            {
                v.Nexthop[i] = t.Rules.Ipv6(rules, RuleKeys.OfIpv6(v.Data[i] + EthernetHeader.Size, rxPort, rules)).Word.Value;
            }
        }

        Ipv6LookupNode.Resolve(ref v, t);
    }
}
