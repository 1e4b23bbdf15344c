using System.Runtime.InteropServices;

namespace FastPathSync.Netlink.Rtnetlink;

/// <summary>struct rtmsg (linux/rtnetlink.h).</summary>
[StructLayout(LayoutKind.Sequential)]
public struct RtMsg
{
    public byte Family;
    public byte DestinationLength;
    public byte SourceLength;
    public byte Tos;
    public byte Table;
    public byte Protocol;
    public byte Scope;
    public byte Type;
    public uint Flags;
}

/// <summary>struct rtnexthop (linux/rtnetlink.h): a member of RTA_MULTIPATH, followed by its attributes.</summary>
[StructLayout(LayoutKind.Sequential)]
public struct RtNexthop
{
    public ushort Length;
    public byte Flags;
    public byte Hops;
    public int Index;
}

/// <summary>linux/rtnetlink.h</summary>
public static class RouteConstants
{
    public const ushort RTA_DST = 1, RTA_SRC = 2, RTA_IIF = 3, RTA_OIF = 4, RTA_GATEWAY = 5, RTA_PRIORITY = 6, RTA_PREFSRC = 7, RTA_METRICS = 8, RTA_MULTIPATH = 9,
        RTA_CACHEINFO = 12, RTA_TABLE = 15, RTA_VIA = 18, RTA_PREF = 20, RTA_ENCAP_TYPE = 21, RTA_ENCAP = 22, RTA_IP_PROTO = 27, RTA_SPORT = 28, RTA_DPORT = 29,
        RTA_NH_ID = 30;

    public const ushort RTAX_LOCK = 1, RTAX_MTU = 2;

    /// <summary>RTPROT_*: who made a route. RA ones come and go with their lifetime.</summary>
    public const byte RTPROT_KERNEL = 2, RTPROT_RA = 9;

    public const byte RTN_UNSPEC = 0, RTN_UNICAST = 1, RTN_LOCAL = 2, RTN_BROADCAST = 3, RTN_ANYCAST = 4, RTN_MULTICAST = 5,
        RTN_BLACKHOLE = 6, RTN_UNREACHABLE = 7, RTN_PROHIBIT = 8, RTN_THROW = 9, RTN_NAT = 10;

    public const byte RT_SCOPE_UNIVERSE = 0, RT_SCOPE_SITE = 200, RT_SCOPE_LINK = 253, RT_SCOPE_HOST = 254, RT_SCOPE_NOWHERE = 255;

    public const uint RT_TABLE_MAIN = 254, RT_TABLE_LOCAL = 255;

    /// <summary>A cached clone of a route (an answer to RTM_GETROUTE, a PMTU exception): no configuration.</summary>
    public const uint RTM_F_CLONED = 0x200;

    /// <summary>Of a question: which table; and the FIB's own entry, not what would be cached of it.</summary>
    public const uint RTM_F_LOOKUP_TABLE = 0x1000, RTM_F_FIB_MATCH = 0x2000;

    public const byte RTNH_F_DEAD = 1, RTNH_F_PERVASIVE = 2, RTNH_F_ONLINK = 4, RTNH_F_OFFLOAD = 8, RTNH_F_LINKDOWN = 16, RTNH_F_UNRESOLVED = 32;
}
