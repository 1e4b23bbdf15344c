using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FpManager.Features.Nexthop;

/// <summary>What makes two single nexthops the same, so that routes share one.</summary>
/// <param name="ObjectId">NHA_ID; 0 for nexthops that live in their routes.</param>
/// <param name="Gateway">None: on-link.</param>
/// <param name="Mtu">The route's own MTU, 0 for the interface's.</param>
/// <param name="Flags">RTNH_F_DEAD and RTNH_F_LINKDOWN count; the rest is dropped.</param>
public readonly record struct NexthopSpec(uint ObjectId, NexthopKind Kind, PuntReason Reason, uint IfIndex, IpAddress Gateway, ushort Mtu, ushort Flags)
{
    public const ushort Dead = 1, LinkDown = 16; // RTNH_F_DEAD, RTNH_F_LINKDOWN (linux/rtnetlink.h)

    public static NexthopSpec Single(uint ifindex, IpAddress gateway, uint mtu, uint flags) =>
        new(0, NexthopKind.Single, default, ifindex, gateway, (ushort)Math.Min(mtu, 0xffff), (ushort)(flags & (Dead | LinkDown)));

    public static NexthopSpec Punt(PuntReason reason, uint ifindex = 0) => new(0, NexthopKind.Punt, reason, ifindex, default, 0, 0);
}
