using System.Runtime.InteropServices;

namespace FastPathSync.SharedMemory.Tables;

/// <summary>
/// What Linux is given of one PuntReason, by all workers together: a two-colour token bucket, kept as a window [Start, Start + Window] in
/// time that slides instead of a counter of tokens (docs/features/punt.md). A cache line each.
/// </summary>
[StructLayout(LayoutKind.Sequential, Size = 64)]
public struct PuntLimit
{
    /// <summary>T: the time of one token, in ns. 0: no limit.</summary>
    public long Token;

    /// <summary>L = (B - 1) x T</summary>
    public long Window;

    /// <summary>CLOCK_MONOTONIC ns. Shared by the workers: changed by compare-and-exchange only.</summary>
    public long Start;

    /// <summary>Packets per second; 0: no limit.</summary>
    public uint Rate;

    /// <summary>Packets that may come at once.</summary>
    public uint Burst;

    /// <summary>1: somebody has set it; 0: it is the default.</summary>
    public uint Chosen;
}

/// <summary>By PuntReason. Settings are written by fastpath (NETFPC), windows by its workers. It outlives the process.</summary>
public static unsafe class PuntLimitSegment
{
    public static nuint BodyLength => (nuint)PortCounters.PuntReasons * (nuint)sizeof(PuntLimit);

    public static PuntLimit* Limits(Segment s) => (PuntLimit*)s.Body;
}
