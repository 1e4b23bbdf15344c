using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FpManager.Features.Nexthop;

/// <summary>What makes two nexthops inside routes the same, so that the routes share one.</summary>
/// <param name="Gateway">None: on-link.</param>
/// <param name="Mtu">The route's own MTU, 0 for the interface's.</param>
/// <param name="Flags">RTNH_F_DEAD and RTNH_F_LINKDOWN count; the rest is dropped.</param>
/// <param name="Family">AF_* of the routes; 0 when it makes no difference to them (Kind Punt).</param>
public readonly record struct NexthopSpec(NexthopKind Kind, PuntReason Reason, uint IfIndex, IpAddress Gateway, ushort Mtu, ushort Flags, byte Family)
{
    public const ushort Dead = 1, LinkDown = 16; // RTNH_F_DEAD, RTNH_F_LINKDOWN (linux/rtnetlink.h)

    public const byte Ipv4 = 2, Ipv6 = 10; // AF_INET, AF_INET6

    public static NexthopSpec Single(uint ifindex, IpAddress gateway, uint mtu, uint flags, byte family = Ipv4) =>
        new(NexthopKind.Single, default, ifindex, gateway, (ushort)Math.Min(mtu, 0xffff), (ushort)(flags & (Dead | LinkDown)), family);

    public static NexthopSpec Punt(PuntReason reason, uint ifindex = 0) => new(NexthopKind.Punt, reason, ifindex, default, 0, 0, 0);

    internal static NexthopSpec Of(in NexthopRecord r) => new(r.Kind, r.Reason, r.IfIndex, r.Gateway, r.Mtu, r.Flags, r.Family);

    internal NexthopRecord ToRecord() => new()
    {
        IfIndex = IfIndex,
        Gateway = Gateway,
        Mtu = Mtu,
        Kind = Kind,
        Reason = Reason,
        Flags = Flags,
        Family = Family,
    };
}
