using System.Runtime.InteropServices;

namespace FastPathSync.SharedMemory.Tables;

/// <summary>
/// A worker's counters for one port; rx, forwarded, punted and dropped count by the port a packet came in on, tx by the
/// port it left by. Every received packet is in exactly one of forwarded, punted, dropped. 8-byte counters, one writer.
/// </summary>
[StructLayout(LayoutKind.Sequential)]
public unsafe struct PortCounters
{
    public const int PuntReasons = 64;

    public ulong Rx;
    public ulong RxBytes;
    public ulong Tx;
    public ulong TxBytes;
    public ulong Forwarded;
    public ulong ChecksumsCompleted;   // L4 checksums that the sender had left to its (virtual) hardware
    public ulong TapCopied;            // shown to packet sockets on this port, received or sent
    public ulong TapMissed;            // they would have been, but there was no time for it
    public fixed ulong Punted[PuntReasons];       // by PuntReason
    public fixed ulong PuntLimited[PuntReasons];  // by PuntReason: of DropReason.PuntLimited, what for it would have been punted
    public fixed ulong Dropped[8];                // by DropReason; RxRingFull and NoFrame stay 0 here (see PortState)
}

/// <summary>
/// A worker's counters for one node of the pipeline. Packets counts what came in only where that can't be told from the other
/// nodes: ethernet-input, ipv6-input, ipv4-rule and ipv6-rule (`fpctl graph` works the rest out). 8-byte counters, one writer.
/// </summary>
[StructLayout(LayoutKind.Sequential)]
public unsafe struct NodeCounters
{
    public const int Nodes = 16;

    public ulong Packets;
    public fixed ulong Reserved[7];
    public fixed ulong Punted[64];     // by PuntReason: what this node handed to Linux
}

/// <summary>Written by one worker only. Readers: fpmd (Quiescent), fpsd, fpctl.</summary>
[StructLayout(LayoutKind.Sequential)]
public struct WorkerState
{
    public uint Id;
    public uint Cpu;

    /// <summary>1 while the worker may hold references into the tables; 0 before it starts and after it stops.</summary>
    public uint Online;
    public uint Reserved;

    /// <summary>QSBR: bumped once per loop, when the worker holds no reference into any table.</summary>
    public ulong Quiescent;
    public ulong Bursts;
    public ulong Sleeps;

    // UMEM frames, so that conservation can be checked: Frames = Free + in rings + in flight + Lost.
    public ulong Frames;
    public ulong FramesInUse;   // not on the free list and not waiting in a fill ring

    /// <summary>Frames missing from every list and ring, counted whenever the worker is idle. Must be 0.</summary>
    public ulong FramesLost;
}

public static unsafe class WorkerSegment
{
    private const int StateBytes = 256;

    public static nuint BodyLength => PortsEnd + (NodeCounters.Nodes * (nuint)sizeof(NodeCounters));

    private static nuint PortsEnd => StateBytes + ((nuint)Capacities.Ports * (nuint)sizeof(PortCounters));

    public static WorkerState* State(Segment s) => (WorkerState*)s.Body;

    public static PortCounters* Port(Segment s, int port) => (PortCounters*)(s.Body + StateBytes) + port;

    /// <summary>By PipelineNode.</summary>
    public static NodeCounters* Nodes(Segment s) => (NodeCounters*)(s.Body + PortsEnd);
}
