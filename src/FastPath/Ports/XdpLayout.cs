using System.Runtime.InteropServices;
using FastPathSync.FastPath.Exceptions;

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
    public const int HeartbeatWorkers = 16;

    /// <summary>Receive queues that a port can have: entries of the map xsks.</summary>
    public const int MaxQueues = 64;

    /// <summary>Of worker i's counter in struct heartbeat_beats; the number of watched workers stands at 0.</summary>
    public static int BeatOffset(int worker) => 64 + (64 * worker);

    public static ulong Config(ulong mac, uint longestFrame) => mac | ((ulong)Math.Min(longestFrame, 0xffff) << ConfigLengthShift);
}
