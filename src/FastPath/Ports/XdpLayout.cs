using System.Runtime.InteropServices;
using FastPathSync.FastPath.Exceptions;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FastPath.Ports;

/// <summary>struct xdp_constants of bpf/xdp_def.h.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct XdpConstants
{
    public uint Generic;
    public uint Reserved;
    public ReinjectionCookie Cookie;
}

/// <summary>The other numbers of bpf/xdp_def.h. A test compiles the header and compares.</summary>
internal static class XdpLayout
{
    public const int ConfigLengthShift = 48;
    public const ulong PassIpv4 = 1ul << 62, PassIpv6 = 1ul << 63;

    /// <summary>What the length's 14 bits can say; more than any UMEM frame.</summary>
    public const uint LongestFrame = 0x3fff;
    public const int HeartbeatWorkers = 16;

    /// <summary>Receive queues that a port can have: entries of the map xsks.</summary>
    public const int MaxQueues = SharedMemory.Tables.PortState.MostQueues;

    /// <summary>Of worker i's counter in struct heartbeat_beats; the number of watched workers stands at 0.</summary>
    public static int BeatOffset(int worker) => 64 + (64 * worker);

    /// <summary>A port's configuration word.</summary>
    public static ulong Config(ulong mac, Admission admission)
    {
        ulong word = mac | ((ulong)Math.Min(admission.LongestFrame, LongestFrame) << ConfigLengthShift);
        word |= (admission.Passed & Families.Ipv4) != Families.None ? PassIpv4 : 0;
        return word | ((admission.Passed & Families.Ipv6) != Families.None ? PassIpv6 : 0);
    }

    /// <summary>The longest frame that a configuration word admits.</summary>
    public static uint LengthOf(ulong word) => (uint)(word >> ConfigLengthShift) & LongestFrame;

    public static ulong WithLength(ulong word, uint length) => (word & ~((ulong)LongestFrame << ConfigLengthShift)) | ((ulong)length << ConfigLengthShift);
}

/// <summary>What a port's XDP program lets through to workers.</summary>
/// <param name="LongestFrame">In bytes; 0: nothing, all is Linux's.</param>
/// <param name="Passed">Families that are Linux's altogether.</param>
internal readonly record struct Admission(uint LongestFrame, Families Passed = Families.None);
