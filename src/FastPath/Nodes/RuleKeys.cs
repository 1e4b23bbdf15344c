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

    /// <summary>skb_flow_get_ports (net/core/flow_dissector.c): ESP and AH have their SPI there.</summary>
    private static void ReadPorts(ref RuleKey k, byte* at, uint room)
    {
        const byte Dccp = 33, Esp = 50, Ah = 51, Sctp = 132, UdpLite = 136;
        uint offset = k.Protocol == Ah ? 4u : 0;
        if (k.Protocol is IpProtocol.Tcp or IpProtocol.Udp or Dccp or Esp or Ah or Sctp or UdpLite && room >= offset + 4)
        {
            k.SourcePort = ((Be16*)(at + offset))->Value;
            k.DestinationPort = ((Be16*)(at + offset + 2))->Value;
        }
    }
}
