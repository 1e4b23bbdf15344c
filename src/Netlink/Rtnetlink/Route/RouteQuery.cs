using System.Buffers.Binary;

namespace FastPathSync.Netlink.Rtnetlink;

/// <summary>
/// What would the kernel do with a packet of this kind (`ip route get fibmatch`)? With an input interface it is asked as for a
/// received packet: rules, source validation and all.
/// </summary>
public sealed record RouteQuery(InetAddress Destination)
{
    private const byte Icmp = 1, Tcp = 6, Udp = 17, Icmpv6 = 58, DscpMask = 0xfc;

    public InetAddress Source { get; init; }

    /// <summary>ifindex; 0: a packet of the kernel's own.</summary>
    public int InputInterface { get; init; }

    /// <summary>The DS field; its ECN bits don't count.</summary>
    public byte Tos { get; init; }

    /// <summary>IPPROTO_*, and ports (host byte order) if it has them.</summary>
    public byte Protocol { get; init; }

    public ushort SourcePort { get; init; }

    public ushort DestinationPort { get; init; }

    /// <summary>The kernel takes no other protocols in a question (rtm_getroute_parse_ip_proto).</summary>
    public bool CanSayProtocol => Protocol is Tcp or Udp || Protocol == (Destination.Length == 4 ? Icmp : Icmpv6);

    public NetlinkRequest Request()
    {
        bool ipv4 = Destination.Length == 4;
        byte bits = (byte)(Destination.Length * 8);
        NetlinkRequest request = new NetlinkRequest().Begin(Rtm.RTM_GETROUTE, Nlm.NLM_F_REQUEST | Nlm.NLM_F_ACK, new RtMsg
        {
            Family = ipv4 ? Rtm.AF_INET : Rtm.AF_INET6,
            DestinationLength = bits,
            SourceLength = Source.IsNone ? (byte)0 : bits,
            Tos = (byte)(Tos & DscpMask),
            Flags = RouteConstants.RTM_F_FIB_MATCH | (ipv4 ? RouteConstants.RTM_F_LOOKUP_TABLE : 0),
        });
        request.Attribute(RouteConstants.RTA_DST, Bytes(Destination));
        if (!Source.IsNone)
        {
            request.Attribute(RouteConstants.RTA_SRC, Bytes(Source));
        }

        if (InputInterface != 0)
        {
            request.Attribute(RouteConstants.RTA_IIF, (uint)InputInterface);
        }

        if (CanSayProtocol)
        {
            request.Attribute(RouteConstants.RTA_IP_PROTO, Protocol);
        }

        if (Protocol is Tcp or Udp)
        {
            request.Attribute(RouteConstants.RTA_SPORT, BinaryPrimitives.ReverseEndianness(SourcePort));
            request.Attribute(RouteConstants.RTA_DPORT, BinaryPrimitives.ReverseEndianness(DestinationPort));
        }

        return request;
    }

    private static byte[] Bytes(InetAddress address)
    {
        byte[] bytes = new byte[address.Length];
        address.CopyTo(bytes);
        return bytes;
    }
}
