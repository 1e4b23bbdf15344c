using System.Runtime.CompilerServices;
using FastPathSync.Packets;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FastPath.Nodes;

/// <summary>
/// ipv4-rule: stands in ipv4-lookup's place while IPv4 has policy rules of its own. As fib_lookup with
/// fib_has_custom_rules (include/net/ip_fib.h), and the full check of the source that Linux then always makes
/// (fib_validate_source, net/ipv4/fib_frontend.c).
/// </summary>
/// <remarks>
/// May enter: what ipv4-input let through; it has not looked at sources. Nothing is written to a packet here.
/// Precondition: Destination, TotalLength. Leaves behind: Nexthop, a Forward word.
/// Edges:
///   next                  as of ipv4-lookup, by the first rule and table that decide.
///   Punt RuleUnsupported  a rule that isn't understood fully may apply.
///   Punt (a rule's)       the rule is blackhole, unreachable or prohibit; no rule decided: no-route.
///   Punt (the word's)     as of ipv4-lookup.
///   Punt MartianSource    and the others of <see cref="Ipv4SourceCheck"/>, by the way back.
/// </remarks>
internal static unsafe class Ipv4RuleNode
{
    [MethodImpl(MethodImplOptions.NoInlining)]
    public static void Run(ref PacketVector v, in WorkerTables t, int rxPort, RuleList rules)
    {
        for (int i = 0; i < v.Count; i++)
        {
            if (v.Verdict[i] == (byte)Verdict.Forward)
            {
                v.Nexthop[i] = t.Rules.Ipv4(rules, Key(ref v, i, rxPort, rules)).Word.Value;
            }
        }

        Ipv4LookupNode.Resolve(ref v, t);
        for (int i = 0; i < v.Count; i++)
        {
            if (v.Verdict[i] == (byte)Verdict.Forward)
            {
                int txPort = t.Adjacencies[new NexthopWord(v.Nexthop[i]).Index].PortId;
                RouteDecision back = t.Rules.Ipv4(rules, Key(ref v, i, rxPort, rules).Reversed(txPort));
                Ipv4SourceCheck.Judge(ref v, t, i, back.Word, rxPort);
            }
        }
    }

    private static RuleKey Key(ref PacketVector v, int i, int rxPort, RuleList rules) =>
        RuleKeys.OfIpv4(v.Data[i] + EthernetHeader.Size, v.TotalLength[i], rxPort, rules);
}
