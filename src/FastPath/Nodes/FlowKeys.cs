using System.Runtime.CompilerServices;
using FastPathSync.Packets;

namespace FastPathSync.FastPath.Nodes;

/// <summary>
/// What tells one flow from another, as skb_flow_dissect_flow_keys (net/core/flow_dissector.c) finds it. Addresses in host
/// byte order, IPv4 ones in Low; ports and label are 0 where there are none, and of fragments, the first one too.
/// </summary>
internal unsafe struct FlowKeys
{
    private const int MostHeaders = 15;         // MAX_FLOW_DISSECT_HDRS
    private const int IcmpHeader = 8;
    private const byte Icmp = 1, IpInIp = 4, Tcp = 6, Udp = 17, Dccp = 33, Ipv6InIp = 41, Gre = 47, Esp = 50, Ah = 51, Icmp6 = 58, Sctp = 132, UdpLite = 136;
    private const byte HopByHop = 0, Routing = 43, Fragment = 44, DestinationOptions = 60;
    private const ushort GreChecksum = 0x8000, GreRouting = 0x4000, GreKey = 0x2000, GreSequence = 0x1000, GreVersion = 7;

    public ulong SourceHigh, SourceLow, DestinationHigh, DestinationLow;
    public uint FlowLabel;
    public ushort SourcePort, DestinationPort;
    public byte Protocol;

    /// <summary>Of the addresses.</summary>
    public bool IsIpv6;

    /// <summary>There is a tunnel's packet inside: IPIP, IPv6 in IP, GRE with an IP or Ethernet payload. UDP is not looked into.</summary>
    public bool Encapsulated;

    /// <param name="ip">An IP header; nothing behind <paramref name="room"/> bytes is read.</param>
    /// <param name="room">Length of the packet from there on.</param>
    /// <param name="ipv6">Which of the two.</param>
    /// <param name="enter">Of a tunnel's packet, the keys of the innermost; else (FLOW_DISSECTOR_F_STOP_AT_ENCAP) of the outermost.</param>
    [MethodImpl(MethodImplOptions.NoInlining)]
    public static FlowKeys Dissect(byte* ip, uint room, bool ipv6, bool enter)
    {
        FlowKeys k = default;
        for (int headers = 0; headers < MostHeaders; headers++)
        {
            bool goesOn = ipv6 ? k.TryIpv6(ref ip, ref room) : k.TryIpv4(ref ip, ref room);
            if (!goesOn)
            {
                break;
            }

            if (!TryTunnel(k.Protocol, ref ip, ref room, out ipv6))
            {
                k.ReadPorts(ip, room);
                break;
            }

            k.Encapsulated = true;
            if (!enter)
            {
                break;
            }
        }

        return k;
    }

    /// <summary>Addresses alone; an ICMP error has those of the packet that it is about (ip_multipath_l3_keys), so that it goes the way of that flow.</summary>
    public static FlowKeys Addresses4(byte* ip, uint room)
    {
        byte* about = ip;
        uint header = (uint)(*ip & 15) * 4;
        if (ip[Ipv4Header.ProtocolOffset] == Icmp && (Word16(ip + Ipv4Header.FragmentOffset) & 0x1fff) == 0
            && room >= header + IcmpHeader + Ipv4Header.Size && ip[header] is 3 or 4 or 5 or 11 or 12) // icmp_is_err
        {
            about = ip + header + IcmpHeader;
        }

        return new FlowKeys { SourceLow = Word32(about + Ipv4Header.SourceOffset), DestinationLow = Word32(about + Ipv4Header.DestinationOffset) };
    }

    /// <summary>Addresses, flow label and next header, of ICMPv6 errors those of the packet inside (ip6_multipath_l3_keys).</summary>
    public static FlowKeys Addresses6(byte* ip, uint room)
    {
        FlowKeys k = default;
        k.ReadIpv6(IsIcmp6Error(ip, room) ? ip + 40 + IcmpHeader : ip);
        return k;
    }

    /// <summary>Of ICMPv6, behind whatever extension headers, that is no error about a packet inside (see Addresses6).</summary>
    public static bool TryDissectIcmp6(byte* ip, uint room, out FlowKeys k)
    {
        k = IsIcmp6Error(ip, room) ? default : Dissect(ip, room, ipv6: true, enter: false);
        return k.Protocol == Icmp6;
    }

    private static bool IsIcmp6Error(byte* ip, uint room) => ip[6] == Icmp6 && room >= 40 + IcmpHeader + 40 && ip[40] is >= 1 and <= 4; // icmpv6_is_err

    /// <returns>False when the ports can't be told, or the header isn't whole.</returns>
    private bool TryIpv4(ref byte* at, ref uint room)
    {
        uint header = room < Ipv4Header.Size ? 0u : (uint)(*at & 15) * 4;
        if (header < Ipv4Header.Size)
        {
            return false;
        }

        IsIpv6 = false;
        SourceHigh = DestinationHigh = 0;
        SourceLow = Word32(at + Ipv4Header.SourceOffset);
        DestinationLow = Word32(at + Ipv4Header.DestinationOffset);
        Protocol = at[Ipv4Header.ProtocolOffset];
        bool fragment = (Word16(at + Ipv4Header.FragmentOffset) & 0x3fff) != 0; // ip_is_fragment
        return Skip(ref at, ref room, header) && !fragment;
    }

    private bool TryIpv6(ref byte* at, ref uint room)
    {
        if (room < 40)
        {
            return false;
        }

        ReadIpv6(at);
        Skip(ref at, ref room, 40);
        for (int headers = 0; headers < MostHeaders; headers++)
        {
            switch (Protocol)
            {
                case HopByHop or Routing or DestinationOptions when room >= 8:
                    Protocol = *at;
                    if (!Skip(ref at, ref room, (at[1] + 1u) * 8))
                    {
                        return false;
                    }

                    break;
                case Fragment when room >= 8:
                    Protocol = *at;
                    return false;
                case HopByHop or Routing or DestinationOptions or Fragment:
                    return false;
                default:
                    return true;
            }
        }

        return false;
    }

    private void ReadIpv6(byte* ip)
    {
        IsIpv6 = true;
        SourceHigh = Word64(ip + 8);
        SourceLow = Word64(ip + 16);
        DestinationHigh = Word64(ip + 24);
        DestinationLow = Word64(ip + 32);
        FlowLabel = Word32(ip) & 0xfffff;
        Protocol = ip[6];
    }

    private static bool TryTunnel(byte protocol, ref byte* at, ref uint room, out bool ipv6)
    {
        ipv6 = protocol == Ipv6InIp;
        return protocol is IpInIp or Ipv6InIp || (protocol == Gre && TryGre(ref at, ref room, out ipv6));
    }

    /// <summary>__skb_flow_dissect_gre, RFC 2784 and 2890; the version of PPTP is left alone.</summary>
    private static bool TryGre(ref byte* at, ref uint room, out bool ipv6)
    {
        ipv6 = false;
        uint flags = room < 4 ? GreRouting : Word16(at);
        if ((flags & (GreRouting | GreVersion)) != 0)
        {
            return false;
        }

        byte* inner = at;
        uint left = room, type = Word16(at + 2);
        uint header = 4 + ((flags & GreChecksum) != 0 ? 4u : 0) + ((flags & GreKey) != 0 ? 4u : 0) + ((flags & GreSequence) != 0 ? 4u : 0);
        const uint TransparentEthernet = 0x6558;
        if (type == TransparentEthernet && left >= header + EthernetHeader.Size)
        {
            type = Word16(inner + header + 12);
            header += EthernetHeader.Size;
        }

        ipv6 = type == (uint)EtherType.Ipv6;
        if ((type != (uint)EtherType.Ipv4 && !ipv6) || !Skip(ref inner, ref left, header))
        {
            return false;
        }

        at = inner;
        room = left;
        return true;
    }

    /// <summary>skb_flow_get_ports: where proto_ports_offset knows any. ESP and AH have their SPI there.</summary>
    private void ReadPorts(byte* at, uint room)
    {
        uint offset = Protocol == Ah ? 4u : 0;
        if (Protocol is Tcp or Udp or Dccp or Esp or Ah or Sctp or UdpLite && room >= offset + 4)
        {
            SourcePort = Word16(at + offset);
            DestinationPort = Word16(at + offset + 2);
        }
    }

    private static bool Skip(ref byte* at, ref uint room, uint length)
    {
        if (room < length)
        {
            return false;
        }

        at += length;
        room -= length;
        return true;
    }

    private static ushort Word16(byte* p) => ((Be16*)p)->Value;

    private static uint Word32(byte* p) => ((Be32*)p)->Value;

    private static ulong Word64(byte* p) => ((ulong)Word32(p) << 32) | Word32(p + 4);
}
