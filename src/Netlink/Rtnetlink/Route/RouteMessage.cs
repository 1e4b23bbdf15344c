using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace FastPathSync.Netlink.Rtnetlink;

/// <summary>One way out of a route.</summary>
/// <param name="Index">Interface, 0 when none was said.</param>
/// <param name="Gateway">RTA_GATEWAY or the address of RTA_VIA; none: on-link.</param>
/// <param name="Weight">rtnh_hops + 1: 1..256.</param>
/// <param name="Flags">RTNH_F_*</param>
/// <param name="Encap">RTA_ENCAP was present.</param>
public readonly record struct RouteNexthop(int Index, InetAddress Gateway, ushort Weight, byte Flags, bool Encap);

/// <summary>RTM_NEWROUTE, RTM_DELROUTE. A plain route's only nexthop is Single; Multipath is then null.</summary>
public readonly struct RouteMessage
{
    public byte Family { get; private init; }

    public byte PrefixLength { get; private init; }

    public byte Tos { get; private init; }

    /// <summary>RTPROT_*</summary>
    public byte Protocol { get; private init; }

    /// <summary>RT_SCOPE_*</summary>
    public byte Scope { get; private init; }

    /// <summary>RTN_*</summary>
    public byte Type { get; private init; }

    /// <summary>rtm_flags: RTM_F_* and, for a plain route, RTNH_F_*.</summary>
    public uint Flags { get; private init; }

    /// <summary>RTA_TABLE, or rtm_table when absent.</summary>
    public uint Table { get; private init; }

    /// <summary>RTA_DST; none for the default route.</summary>
    public InetAddress Destination { get; private init; }

    /// <summary>RTA_SRC of a route that only packets from there take (IPv6 subtrees); none when SourceLength is 0.</summary>
    public InetAddress Source { get; private init; }

    public byte SourceLength { get; private init; }

    /// <summary>RTA_PRIORITY</summary>
    public uint Priority { get; private init; }

    public InetAddress PreferredSource { get; private init; }

    /// <summary>RTAX_MTU, 0 none.</summary>
    public uint Mtu { get; private init; }

    /// <summary>`mtu lock N`</summary>
    public bool MtuLocked { get; private init; }

    /// <summary>RTA_PREF: RFC 4191 preference of an IPv6 router, two bits as on the wire (0 medium, 1 high, 3 low).</summary>
    public byte Preference { get; private init; }

    /// <summary>Seconds until the kernel uses it no more, negative when that was before; null: for ever.</summary>
    public int? ExpiresIn { get; private init; }

    /// <summary>RTA_NH_ID, 0 none.</summary>
    public uint NexthopId { get; private init; }

    public RouteNexthop Single { get; private init; }

    public RouteNexthop[]? Multipath { get; private init; }

    public bool IsCloned => (Flags & RouteConstants.RTM_F_CLONED) != 0;

    /// <summary>The ways out; none for blackhole and the like.</summary>
    public int NexthopCount => Multipath?.Length ?? (Single.Index == 0 && Single.Gateway.IsNone ? 0 : 1);

    public RouteNexthop Nexthop(int i) => Multipath is null ? Single : Multipath[i];

    public static bool TryParse(in NetlinkMessage message, out RouteMessage route)
    {
        route = default;
        if (message.Type is not (Rtm.RTM_NEWROUTE or Rtm.RTM_DELROUTE) || !message.TryHeader(out RtMsg h))
        {
            return false;
        }

        uint table = h.Table, priority = 0, nexthopId = 0;
        Metrics metrics = default;
        int index = 0;
        int? expires = null;
        byte preference = 0;
        bool encap = false;
        InetAddress destination = default, source = default, gateway = default, preferredSource = default;
        RouteNexthop[]? multipath = null;
        NetlinkAttributes attributes = message.Attributes(Unsafe.SizeOf<RtMsg>());
        while (attributes.MoveNext())
        {
            NetlinkAttribute a = attributes.Current;
            switch (a.Type)
            {
                case RouteConstants.RTA_TABLE:
                    table = a.U32;
                    break;
                case RouteConstants.RTA_DST:
                    if (!InetAddress.TryRead(a.Payload, out destination))
                    {
                        return false;
                    }

                    break;
                case RouteConstants.RTA_SRC:
                    if (!InetAddress.TryRead(a.Payload, out source))
                    {
                        return false;
                    }

                    break;
                case RouteConstants.RTA_PREF:
                    preference = a.U8;
                    break;
                case RouteConstants.RTA_CACHEINFO:
                    expires = Expiry(a.Payload);
                    break;
                case RouteConstants.RTA_PRIORITY:
                    priority = a.U32;
                    break;
                case RouteConstants.RTA_PREFSRC:
                    if (!InetAddress.TryRead(a.Payload, out preferredSource))
                    {
                        return false;
                    }

                    break;
                case RouteConstants.RTA_METRICS:
                    if (!metrics.TryRead(a.Nested))
                    {
                        return false;
                    }

                    break;
                case RouteConstants.RTA_NH_ID:
                    nexthopId = a.U32;
                    break;
                case RouteConstants.RTA_MULTIPATH:
                    if (!TryMultipath(a.Payload, out multipath))
                    {
                        return false;
                    }

                    break;
                default:
                    if (!TryNexthopAttribute(in a, ref index, ref gateway, ref encap))
                    {
                        return false;
                    }

                    break;
            }
        }

        int bits = h.Family == Rtm.AF_INET ? 32 : 128;
        if (attributes.Malformed || h.DestinationLength > bits || h.SourceLength > bits
            || (!destination.IsNone && destination.Length * 8 != bits) || (!source.IsNone && source.Length * 8 != bits))
        {
            return false;
        }

        route = new RouteMessage
        {
            Family = h.Family,
            PrefixLength = h.DestinationLength,
            Tos = h.Tos,
            Protocol = h.Protocol,
            Scope = h.Scope,
            Type = h.Type,
            Flags = h.Flags,
            Table = table,
            Destination = destination,
            Source = source,
            SourceLength = h.SourceLength,
            Priority = priority,
            PreferredSource = preferredSource,
            Mtu = metrics.Mtu,
            MtuLocked = metrics.MtuLocked,
            Preference = preference,
            ExpiresIn = expires,
            NexthopId = nexthopId,
            Single = multipath is null ? new RouteNexthop(index, gateway, 1, (byte)h.Flags, encap) : default,
            Multipath = multipath,
        };
        return true;
    }

    /// <summary>All tables of a family; needs strict checking to be filtered by the kernel.</summary>
    public static NetlinkRequest Dump(byte family) =>
        new NetlinkRequest().Begin(Rtm.RTM_GETROUTE, Nlm.NLM_F_REQUEST | Nlm.NLM_F_DUMP, new RtMsg { Family = family });

    /// <summary>rta_expires of struct rta_cacheinfo (linux/rtnetlink.h), in clock ticks; the kernel leaves 0 where nothing expires.</summary>
    private static int? Expiry(ReadOnlySpan<byte> cacheInfo)
    {
        const int OffsetExpires = 8, TicksPerSecond = 100; // USER_HZ
        return cacheInfo.Length >= OffsetExpires + 4 && MemoryMarshal.Read<int>(cacheInfo[OffsetExpires..]) is int ticks and not 0
            ? ticks / TicksPerSecond - (ticks < 0 ? 1 : 0)
            : null;
    }

    private static bool TryMultipath(ReadOnlySpan<byte> members, out RouteNexthop[]? multipath)
    {
        const int HeaderSize = 8;
        multipath = null;
        int count = 0;
        for (ReadOnlySpan<byte> rest = members; !rest.IsEmpty; count++)
        {
            if (!MemoryMarshal.TryRead(rest, out RtNexthop m) || m.Length < HeaderSize || m.Length > rest.Length)
            {
                return false;
            }

            rest = rest[Math.Min(rest.Length, Nlm.Align(m.Length))..];
        }

        multipath = new RouteNexthop[count];
        for (int i = 0; i < count; i++)
        {
            RtNexthop m = MemoryMarshal.Read<RtNexthop>(members);
            int index = m.Index;
            InetAddress gateway = default;
            bool encap = false;
            NetlinkAttributes attributes = new(members[HeaderSize..m.Length]);
            while (attributes.MoveNext())
            {
                NetlinkAttribute a = attributes.Current;
                if (!TryNexthopAttribute(in a, ref index, ref gateway, ref encap))
                {
                    return false;
                }
            }

            if (attributes.Malformed)
            {
                return false;
            }

            multipath[i] = new RouteNexthop(index, gateway, (ushort)(m.Hops + 1), m.Flags, encap);
            members = members[Math.Min(members.Length, Nlm.Align(m.Length))..];
        }

        return true;
    }

    /// <summary>What a plain route and a member of a multipath route have in common.</summary>
    private static bool TryNexthopAttribute(in NetlinkAttribute a, ref int index, ref InetAddress gateway, ref bool encap)
    {
        const int FamilySize = 2; // struct rtvia: rtvia_family, then the address
        switch (a.Type)
        {
            case RouteConstants.RTA_OIF:
                index = (int)a.U32;
                return true;
            case RouteConstants.RTA_GATEWAY:
                return InetAddress.TryRead(a.Payload, out gateway);
            case RouteConstants.RTA_VIA:
                return a.Payload.Length > FamilySize && InetAddress.TryRead(a.Payload[FamilySize..], out gateway);
            case RouteConstants.RTA_ENCAP:
                encap = true;
                return true;
            default:
                return true;
        }
    }

    private struct Metrics
    {
        public uint Mtu;
        public bool MtuLocked;

        public bool TryRead(NetlinkAttributes metrics)
        {
            while (metrics.MoveNext())
            {
                switch (metrics.Current.Type)
                {
                    case RouteConstants.RTAX_MTU:
                        Mtu = metrics.Current.U32;
                        break;
                    case RouteConstants.RTAX_LOCK:
                        MtuLocked = (metrics.Current.U32 & (1u << RouteConstants.RTAX_MTU)) != 0;
                        break;
                }
            }

            return !metrics.Malformed;
        }
    }
}
