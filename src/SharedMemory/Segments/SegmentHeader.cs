using System.Runtime.InteropServices;

namespace FastPathSync.SharedMemory;

/// <summary>What a segment holds. The number is part of the layout.</summary>
public enum SegmentKind : uint
{
    None = 0,
    Vrf = 1,
    Interface = 2,
    Address = 3,
    Route = 4,
    Nexthop = 5,
    Neighbour = 6,
    Adjacency = 7,
    Fib4 = 8,
    UseStamps = 9,
    Worker = 10,
    FastPathState = 11,
    TimeSeries = 12,
    FibTrie = 13,
    Rule = 20,
    Route6 = 21,
    Capture = 22,
    PuntLimits = 23,
    VrfDirectory = 32,

    /// <summary>All tables of a VRF without ports, in one memfd.</summary>
    VrfTables = 33,
}

/// <summary>The first 128 bytes of every segment. Written by the segment's one writer.</summary>
[StructLayout(LayoutKind.Sequential, Size = SegmentHeader.Size)]
public struct SegmentHeader
{
    public const int Size = 128;
    public const ulong MagicValue = 0x4650_5353_4d45_4d31; // "FPSSMEM1"

    /// <summary>Raised whenever the layout of any segment changes; a different version is rebuilt, never guessed at.</summary>
    public const uint CurrentLayoutVersion = 15;

    public ulong Magic;
    public uint LayoutVersion;
    public SegmentKind Kind;
    public ulong Capacity;

    /// <summary>The synchronization generation last completed (configuration segments).</summary>
    public ulong Generation;

    public int WriterPid;
    public uint Reserved;

    /// <summary>CLOCK_MONOTONIC nanoseconds when the writer last said it was alive.</summary>
    public ulong Heartbeat;
}
