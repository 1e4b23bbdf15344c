using FastPathSync.Packets;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FastPath.Nodes;

/// <summary>Makes the keys of policy rules from packets.</summary>
internal static unsafe class RuleKeys
{
    /// <summary>Of the packet at <paramref name="ip"/>, which ipv4-input has found sound, as ip_route_input_slow (net/ipv4/route.c) fills its key.</summary>
    public static RuleKey OfIpv4(byte* ip, uint totalLength, int rxPort, RuleList rules)
    {
        Ipv4Header* h = (Ipv4Header*)ip;
        RuleKey k = new()
        {
            Destination = FibKey.Ipv4(h->Destination.Value),
            Source = FibKey.Ipv4(h->Source.Value),
            InputPort = (ushort)rxPort,
            Dscp = h->TypeOfService,
        };
        if (rules.NeedsTransport)
        {
            k.Protocol = h->Protocol;
            if (!h->IsFragment)
            {
                ReadPorts(ref k, ip + h->HeaderLength, totalLength - h->HeaderLength);
            }
        }

        return k;
    }

    /// <summary>As ip6_route_input (net/ipv6/route.c) fills its key, and with transport as __skb_flow_dissect (net/core/flow_dissector.c) finds it.</summary>
    public static RuleKey OfIpv6(byte* ip, int rxPort, RuleList rules)
    {
        Ipv6Header* h = (Ipv6Header*)ip;
        uint first = h->VersionClassLabel.Value;
        RuleKey k = new()
        {
            Destination = new FibKey(h->Destination.High, h->Destination.Low),
            Source = new FibKey(h->Source.High, h->Source.Low),
            InputPort = (ushort)rxPort,
            Dscp = (byte)(first >> 20),
            FlowLabel = first & 0xf_ffff,
        };
        if (rules.NeedsTransport)
        {
            ReadTransport(ref k, h);
        }

        return k;
    }

    /// <summary>Over hop-by-hop options, routing headers and destination options, at most 15 of them; a fragment has no ports.</summary>
    private static void ReadTransport(ref RuleKey k, Ipv6Header* h)
    {
        const int MostHeaders = 15; // MAX_FLOW_DISSECT_HDRS
        const uint FragmentHeader = 8;
        byte* at = (byte*)h + Ipv6Header.Size;
        uint room = h->PayloadLength.Value;
        k.Protocol = h->NextHeader;
        for (int headers = 0; headers < MostHeaders; headers++)
        {
            switch (k.Protocol)
            {
                case IpProtocol.HopByHop or IpProtocol.Routing or IpProtocol.DestinationOptions when room >= 2:
                    k.Protocol = at[0];
                    uint length = (at[1] + 1u) * 8;
                    at += Math.Min(length, room);
                    room -= Math.Min(length, room);
                    continue;
                case IpProtocol.Fragment:
                    k.Protocol = room >= FragmentHeader ? at[0] : k.Protocol;
                    return;
                default:
                    ReadPorts(ref k, at, room);
                    return;
            }
        }

        ReadPorts(ref k, at, room);
    }

    /// <summary>skb_flow_get_ports (net/core/flow_dissector.c): ESP and AH have their SPI there.</summary>
    private static void ReadPorts(ref RuleKey k, byte* at, uint room)
    {
        const byte Dccp = 33, Sctp = 132, UdpLite = 136;
        uint offset = k.Protocol == IpProtocol.Ah ? 4u : 0;
        if (k.Protocol is IpProtocol.Tcp or IpProtocol.Udp or Dccp or IpProtocol.Esp or IpProtocol.Ah or Sctp or UdpLite && room >= offset + 4)
        {
            k.SourcePort = ((Be16*)(at + offset))->Value;
            k.DestinationPort = ((Be16*)(at + offset + 2))->Value;
        }
    }
}
