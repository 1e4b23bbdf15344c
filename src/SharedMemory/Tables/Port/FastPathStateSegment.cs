using System.Runtime.InteropServices;

namespace FastPathSync.SharedMemory.Tables;

public enum PortMode : byte
{
    None = 0,
    Native = 1,
    Generic = 2,

    /// <summary>Reserved for packet sockets; no port is in this mode.</summary>
    AfPacket = 3,
}

public enum PortStatus : byte
{
    None = 0,
    Up = 1,

    /// <summary>The interface is administratively down or has no carrier.</summary>
    Down = 2,

    /// <summary>The interface has vanished from the namespace.</summary>
    Gone = 3,
}

/// <summary>A port as the fast path runs it. Written by the control thread of fastpath, and by those of NETFPC that hold its gate.</summary>
[StructLayout(LayoutKind.Sequential)]
public unsafe struct PortState
{
    /// <summary>MAX_QUEUES of bpf/xdp_def.h.</summary>
    public const int MostQueues = 64;

    public Name16 Name;
    public uint IfIndex;
    public uint Queues;
    public uint Mtu;
    public uint MaxMtu;          // the largest MTU whose frames fit the UMEM
    public PortMode Mode;
    public byte ZeroCopy;
    public PortStatus Status;
    public byte Reserved0;
    public uint Reserved1;
    public ulong RxRingFull;     // XDP_STATISTICS, summed over queues and over restarts
    public ulong NoFrame;        // rx_fill_ring_empty_descs
    public fixed ulong Passed[16];  // by PassReason, summed over restarts
    public Text256 Vrf;          // "" for the home VRF
    public fixed byte Worker[MostQueues]; // by receive queue: 1 + the worker that was chosen for it; 0: none was

    /// <summary>No port has this id.</summary>
    public readonly bool IsFree => Name.ToString().Length == 0;
}

/// <summary>Written by the control thread of fastpath ten times a second. Readers: fpmd, fpsd, fpctl.</summary>
[StructLayout(LayoutKind.Sequential)]
public unsafe struct FastPathState
{
    public const int FptunCounters = (int)FptunOutput.Count;

    public int Pid;
    public uint PortCount;
    public uint WorkerCount;

    /// <summary>1 while the XDP programs redirect to the workers, 0 while they pass everything to Linux.</summary>
    public uint Forwarding;
    public uint PuntThroughTap;  // 0: --punt egress, 1: --punt tap
    public uint Reserved;
    public ulong StartedAt;      // CLOCK_MONOTONIC nanoseconds

    /// <summary>Counters of bpf/fptun.bpf.c, by enum fptun_command (what was done) and enum fptun_counter (what was refused); behind them FptunOutput.</summary>
    public fixed ulong Fptun[FptunCounters];
}

public static unsafe class FastPathStateSegment
{
    private const int StateBytes = 256;

    public static nuint BodyLength => StateBytes + ((nuint)Capacities.Ports * (nuint)sizeof(PortState));

    public static FastPathState* State(Segment s) => (FastPathState*)s.Body;

    public static PortState* Port(Segment s, int port) => (PortState*)(s.Body + StateBytes) + port;
}
