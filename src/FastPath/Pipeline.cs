using FastPathSync.FastPath.Nodes;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FastPath;

/// <summary>The packet path: the whole graph, on one page.</summary>
/// <remarks>
/// <code>
///  worker ─► ethernet-input ─► ipv4-input ─┬─► ipv4-lookup ─► ipv4-forward ─► interface-output ─► worker: TX ring
///                 │            │  (virtual │                       │
///                 │            │  ports:   └─► punt-all (demoted)  │
///                 │            │  l4-checksum)     │               │
///                 └────────────┴───────────────────┴───────────────┴──► worker: exceptions (PuntReason)
/// </code>
/// Every node takes the whole vector, skips what already has a verdict other than Forward, and changes a packet only
/// when it is certain to be forwarded (but for checksums, which l4-checksum completes for Linux too).
/// </remarks>
public static unsafe class Pipeline
{
    /// <summary>
    /// Gives every packet of the vector its verdict. Of the counters it keeps Rx, RxBytes and ChecksumsCompleted of
    /// <paramref name="rxPort"/>; the worker counts the rest where it disposes of the packets.
    /// </summary>
    /// <param name="v">A burst received on <paramref name="rxPort"/>.</param>
    /// <param name="t">The tables.</param>
    /// <param name="rxPort">PortId it came in on.</param>
    /// <param name="partialChecksums">
    /// The port's device is virtual (veth, TAP): L4 checksums may have been left to hardware that doesn't exist.
    /// </param>
    public static void Run(ref PacketVector v, in WorkerTables t, int rxPort, bool partialChecksums)
    {
        CountReceived(in v, t.Counters + rxPort);
        EthernetInputNode.Run(ref v);
        Ipv4InputNode.Run(ref v, in t);
        if (partialChecksums)
        {
            L4ChecksumNode.Run(ref v, t.Counters + rxPort);
        }

        if ((t.Vrf->PassAll | t.Vrf->IngressPass[rxPort]) != 0)
        {
            PuntAllNode.Run(ref v);
            return;
        }

        Ipv4LookupNode.Run(ref v, in t);
        Ipv4ForwardNode.Run(ref v, in t, rxPort);
        InterfaceOutputNode.Run(ref v, in t);
    }

    private static void CountReceived(in PacketVector v, PortCounters* counters)
    {
        ulong bytes = 0;
        for (int i = 0; i < v.Count; i++)
        {
            bytes += v.Length[i];
        }

        counters->Rx += (uint)v.Count;
        counters->RxBytes += bytes;
    }
}
