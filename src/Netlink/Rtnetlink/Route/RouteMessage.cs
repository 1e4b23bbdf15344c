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

    /// <summary>RTA_PRIORITY</summary>
    public uint Priority { get; private init; }

    public InetAddress PreferredSource { get; private init; }

    /// <summary>RTAX_MTU, 0 none.</summary>
    public uint Mtu { get; private init; }

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

        uint table = h.Table, priority = 0, mtu = 0, nexthopId = 0;
        int index = 0;
        bool encap = false;
        InetAddress destination = default, gateway = default, preferredSource = default;
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
                    if (!TryMtu(a.Nested, ref mtu))
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
        if (attributes.Malformed || h.DestinationLength > bits || (!destination.IsNone && destination.Length * 8 != bits))
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
            Priority = priority,
            PreferredSource = preferredSource,
            Mtu = mtu,
            NexthopId = nexthopId,
            Single = multipath is null ? new RouteNexthop(index, gateway, 1, (byte)h.Flags, encap) : default,
            Multipath = multipath,
        };
        return true;
    }

    /// <summary>All tables of a family; needs strict checking to be filtered by the kernel.</summary>
    public static NetlinkRequest Dump(byte family) =>
        new NetlinkRequest().Begin(Rtm.RTM_GETROUTE, Nlm.NLM_F_REQUEST | Nlm.NLM_F_DUMP, new RtMsg { Family = family });

    private static bool TryMtu(NetlinkAttributes metrics, ref uint mtu)
    {
        while (metrics.MoveNext())
        {
            if (metrics.Current.Type == RouteConstants.RTAX_MTU)
            {
                mtu = metrics.Current.U32;
            }
        }

        return !metrics.Malformed;
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
}
