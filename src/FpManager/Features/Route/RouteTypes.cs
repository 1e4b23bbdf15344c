using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FpManager.Features.Route;

/// <summary>RTN_* of linux/rtnetlink.h.</summary>
internal static class RouteTypes
{
    public const uint Unicast = 1, Local = 2, Broadcast = 3, Anycast = 4;

    /// <summary>Why Linux must have the packets of a route that isn't unicast.</summary>
    public static PuntReason PuntFor(uint type) => type switch
    {
        Local => PuntReason.Local,
        Broadcast => PuntReason.Broadcast,
        5 => PuntReason.Multicast,
        6 => PuntReason.Blackhole,
        7 => PuntReason.Unreachable,
        8 => PuntReason.Prohibit,
        9 => PuntReason.Throw,
        _ => PuntReason.RouteUnsupported,
    };
}
