using System.Runtime.CompilerServices;
using FastPathSync.FastPath.Nodes;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FastPath;

/// <summary>
/// The packet path: a graph of nodes over a vector of packets of one ingress port. Each node goes over the whole vector
/// before the next one starts, so that the cache misses of a burst overlap and the code of a node stays in the cache.
/// <code>
///                         ┌► ipv4-input ─► ipv4-lookup ─► ipv4-forward ─┐
///   port ─► ethernet-input┤      │              │              │        ├► interface-output ─► Forward
///              │     │    └► ipv6-input ─► ipv6-lookup ─► ipv6-forward ─┘
///              │     │           │              │              │
///              │     │           │              │              ├ ttl-expired, fragmentation-needed, redirect-needed
///              │     │           │              └ no-route, no-neighbour, local, broadcast, blackhole, ...
///              │     │           └ header-error, truncated, multicast, martian-source, martian-destination;
///              │     │             IPv4: checksum-error, ip-options, broadcast; IPv6: extension-header, link-local
///              │     └ truncated, not-ip
///              └ demoted (the VRF, or this port's ingress; each family by itself)          all of these ─► Punt
///
///   While a family has policy rules, ipv4-rule or ipv6-rule stands in the place of its lookup.
///   On virtual ports, and in generic mode, l4-checksum runs last, over forwarded and punted packets alike.
/// </code>
/// A punted packet is unmodified, but for a checksum that was completed.
/// </summary>
public static unsafe class Pipeline
{
    /// <summary>
    /// Gives every packet of the vector its verdict. Of the counters it keeps Rx, RxBytes and ChecksumsCompleted of
    /// <paramref name="rxPort"/>; the worker counts the rest where it disposes of the packets.
    /// </summary>
    /// <param name="v">A burst received on <paramref name="rxPort"/>. A mixed one has its IPv6 packets behind the others afterwards.</param>
    /// <param name="t">The tables.</param>
    /// <param name="rxPort">PortId it came in on.</param>
    /// <param name="partialChecksums">
    /// The port's device is virtual (veth, TAP), or XDP is attached in generic mode, which sees skbs of any origin: L4
    /// checksums may have been left to hardware that doesn't exist.
    /// </param>
    public static void Run(ref PacketVector v, in WorkerTables t, int rxPort, bool partialChecksums) =>
        Run(ref v, t, rxPort, partialChecksums, default(NoObserver));

    /// <summary>The same, with somebody who looks on.</summary>
    public static void Run<TObserver>(ref PacketVector v, in WorkerTables t, int rxPort, bool partialChecksums, TObserver observer)
        where TObserver : struct, IPipelineObserver
    {
        v.Nodes = t.Nodes;
        v.Node = PipelineNode.EthernetInput;
        t.Nodes[(int)PipelineNode.EthernetInput].Packets += (uint)v.Count;
        int ipv6 = EthernetInputNode.Run(ref v, t.Counters + rxPort);
        observer.After(PipelineNode.EthernetInput, v);
        Families passed = t.Vrf->PassAll | (Families)Volatile.Read(ref t.Vrf->IngressPass[rxPort]);
        if (ipv6 == 0)
        {
            Ipv4(ref v, t, rxPort, passed, observer);
        }
        else
        {
            WithIpv6(ref v, t, rxPort, passed, v.Count - ipv6, observer);
        }

        v.Node = PipelineNode.InterfaceOutput;
        InterfaceOutputNode.Run(ref v, t);
        observer.After(PipelineNode.InterfaceOutput, v);
        if (partialChecksums)
        {
            v.Node = PipelineNode.L4Checksum;
            L4ChecksumNode.Run(ref v, t.Counters + rxPort);
            observer.After(PipelineNode.L4Checksum, v);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Ipv4<TObserver>(ref PacketVector v, in WorkerTables t, int rxPort, Families passed, TObserver observer)
        where TObserver : struct, IPipelineObserver
    {
        if ((passed & Families.Ipv4) != Families.None)
        {
            PuntAll(ref v, PuntReason.Demoted);
            observer.After(PipelineNode.EthernetInput, v);
            return;
        }

        RuleList rules = new(Volatile.Read(ref t.Vrf->Rules4));
        v.Node = PipelineNode.Ipv4Input;
        Ipv4InputNode.Run(ref v, t, rxPort, rules);
        observer.After(PipelineNode.Ipv4Input, v);
        if (rules.IsDefault)
        {
            v.Node = PipelineNode.Ipv4Lookup;
            Ipv4LookupNode.Run(ref v, t);
        }
        else
        {
            EnterRules(ref v, PipelineNode.Ipv4Rule);
            Ipv4RuleNode.Run(ref v, t, rxPort, rules);
        }

        observer.After(v.Node, v);
        v.Node = PipelineNode.Ipv4Forward;
        Ipv4ForwardNode.Run(ref v, t, rxPort);
        observer.After(PipelineNode.Ipv4Forward, v);
    }

    private static void Ipv6<TObserver>(ref PacketVector v, in WorkerTables t, int rxPort, Families passed, TObserver observer)
        where TObserver : struct, IPipelineObserver
    {
        if ((passed & Families.Ipv6) != Families.None || t.Ipv6Main < 0)
        {
            PuntAll(ref v, PuntReason.Demoted);
            observer.After(PipelineNode.EthernetInput, v);
            return;
        }

        v.Node = PipelineNode.Ipv6Input;
        t.Nodes[(int)PipelineNode.Ipv6Input].Packets += (uint)v.Count;
        Ipv6InputNode.Run(ref v, t);
        observer.After(PipelineNode.Ipv6Input, v);
        RuleList rules = new(Volatile.Read(ref t.Vrf->Rules6));
        if (rules.IsDefault)
        {
            v.Node = PipelineNode.Ipv6Lookup;
            Ipv6LookupNode.Run(ref v, t);
        }
        else
        {
            EnterRules(ref v, PipelineNode.Ipv6Rule);
            Ipv6RuleNode.Run(ref v, t, rxPort, rules);
        }

        observer.After(v.Node, v);
        v.Node = PipelineNode.Ipv6Forward;
        Ipv6ForwardNode.Run(ref v, t, rxPort);
        observer.After(PipelineNode.Ipv6Forward, v);
    }

    /// <summary>The first <paramref name="others"/> packets are not IPv6, the rest are.</summary>
    private static void WithIpv6<TObserver>(ref PacketVector v, in WorkerTables t, int rxPort, Families passed, int others, TObserver observer)
        where TObserver : struct, IPipelineObserver
    {
        if (others == 0)
        {
            Ipv6(ref v, t, rxPort, passed, observer);
            return;
        }

        PacketVector first = v, last = v.From(others);
        first.Count = others;
        Ipv4(ref first, t, rxPort, passed, observer);
        Ipv6(ref last, t, rxPort, passed, observer);
    }

    /// <summary>How many come to the rules can't be told from other counters.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void EnterRules(ref PacketVector v, PipelineNode node)
    {
        v.Node = node;
        v.Nodes[(int)node].Packets += (uint)new ReadOnlySpan<byte>(v.Verdict, v.Count).Count((byte)Verdict.Forward);
    }

    /// <summary>Those too that ethernet-input has punted: what matters is that nothing else was looked at.</summary>
    private static void PuntAll(ref PacketVector v, PuntReason reason)
    {
        for (int i = 0; i < v.Count; i++)
        {
            if (v.Verdict[i] == (byte)Verdict.Punt)
            {
                v.Nodes[(int)v.Node].Punted[v.Reason[i]]--; // it counts once
            }

            v.Punt(i, reason);
        }
    }
}
