using FastPathSync.FastPath.Nodes;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FastPath;

/// <summary>
/// The packet path: a graph of nodes over a vector of packets of one ingress port. Each node goes over the whole vector
/// before the next one starts, so that the cache misses of a burst overlap and the code of a node stays in the cache.
/// <code>
///   port ─► ethernet-input ─► ipv4-input ─► ipv4-lookup ─► ipv4-forward ─► interface-output ─► Forward
///              │     │            │              │              │
///              │     │            │              │              ├ ttl-expired, fragmentation-needed, redirect-needed
///              │     │            │              └ no-route, no-neighbour, local, broadcast, blackhole, ...
///              │     │            └ header-error, truncated, checksum-error, ip-options, multicast, broadcast,
///              │     │              martian-source, martian-destination
///              │     └ truncated, not-ip
///              └ demoted (the VRF, or this port's ingress)                                 all of these ─► Punt
///
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
    /// <param name="v">A burst received on <paramref name="rxPort"/>.</param>
    /// <param name="t">The tables.</param>
    /// <param name="rxPort">PortId it came in on.</param>
    /// <param name="partialChecksums">
    /// The port's device is virtual (veth, TAP), or XDP is attached in generic mode, which sees skbs of any origin: L4
    /// checksums may have been left to hardware that doesn't exist.
    /// </param>
    public static void Run(ref PacketVector v, in WorkerTables t, int rxPort, bool partialChecksums)
    {
        EthernetInputNode.Run(ref v, t.Counters + rxPort);
        if ((t.Vrf->PassAll | (Families)Volatile.Read(ref t.Vrf->IngressPass[rxPort])) != Families.None)
        {
            PuntAll(ref v, PuntReason.Demoted);
        }
        else
        {
            Ipv4InputNode.Run(ref v, t, rxPort);
            Ipv4LookupNode.Run(ref v, t);
            Ipv4ForwardNode.Run(ref v, t, rxPort);
            InterfaceOutputNode.Run(ref v, t);
        }

        if (partialChecksums)
        {
            L4ChecksumNode.Run(ref v, t.Counters + rxPort);
        }
    }

    private static void PuntAll(ref PacketVector v, PuntReason reason)
    {
        for (int i = 0; i < v.Count; i++)
        {
            v.Punt(i, reason);
        }
    }
}
