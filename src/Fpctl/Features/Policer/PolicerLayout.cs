using System.Net;
using System.Runtime.InteropServices;

namespace FastPathSync.Fpctl.Features.Policer;

/// <summary>Numbers and structures of bpf/policer_def.h; a test compiles it and compares.</summary>
internal static class PolicerLayout
{
    /// <summary>The C function, by whose name a policer is found again.</summary>
    public const string Program = "fps_policer";

    public const string Constants = ".rodata.constants", Flows = "flows", Totals = "totals";
    public const uint DefaultFlows = 65_536;
    public const uint Forwarded = 0, Dropped = 1, Unmatched = 2, Untracked = 3;
}

internal enum PolicerPer
{
    Class = 0,
    Source = 1,
}

[Flags]
internal enum PolicerMatchBits
{
    All = 0,
    Arp = 1,
    Nd = 2,
    Icmp = 4,
    Proto = 8,
    Dport = 0x10,
    Ttl = 0x20,
}

internal enum PolicerState
{
    Default = 0,
    Conforming = 1,
    Exceeding = 2,
}

[StructLayout(LayoutKind.Sequential)]
internal struct PolicerConstants
{
    public long TokenNs;
    public long WindowNs;
    public uint Rate;
    public uint Burst;
    public uint Per;
    public uint Match;
    public ushort Dport;
    public byte Protocol;
    public byte Ttl;
    public uint PacketClock;
}

[StructLayout(LayoutKind.Sequential)]
internal unsafe struct PolicerKey
{
    private const uint Ipv4 = 4, Ipv6 = 6;

    public uint Family;
    public fixed byte Source[16];

    /// <summary>The address, or null for the flow that all share.</summary>
    public IPAddress? Address
    {
        get
        {
            fixed (byte* s = Source)
            {
                return Family switch
                {
                    Ipv4 => new IPAddress(new ReadOnlySpan<byte>(s, 4)),
                    Ipv6 => new IPAddress(new ReadOnlySpan<byte>(s, 16)),
                    _ => null,
                };
            }
        }
    }
}

/// <summary>struct efsm_state</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct PolicerFlow
{
    /// <summary>POLICER_STATE_BITS</summary>
    private const int StateBits = 2;

    public long Word;
    public ulong Forwarded;
    public ulong Dropped;

    public readonly PolicerState State => (PolicerState)(Word & ((1 << StateBits) - 1));

    /// <summary>Of the window, in ns of CLOCK_MONOTONIC.</summary>
    public readonly long Start => Word >> StateBits;
}
