using System.Buffers.Binary;
using FastPathSync.Packets;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FastPath.Nodes;

/// <summary>What policy rules may ask of a packet (struct flowi4 and flowi6 of a forwarded one).</summary>
internal unsafe struct RuleKey
{
    public FibKey Destination;
    public FibKey Source;
    public uint FlowLabel;

    /// <summary>Host byte order; 0 where there are none, and in fragments, the first one too.</summary>
    public ushort SourcePort;
    public ushort DestinationPort;

    /// <summary>PortId of the interface it came in on.</summary>
    public ushort InputPort;

    /// <summary>The whole DS field.</summary>
    public byte Dscp;

    /// <summary>0 while no rule asks for it.</summary>
    public byte Protocol;

    /// <summary>Of the packet at <paramref name="ip"/>, which ip_input has found sound, as ip_route_input_slow (net/ipv4/route.c) fills its key.</summary>
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
                k.ReadPorts(ip + h->HeaderLength, totalLength - h->HeaderLength);
            }
        }

        return k;
    }

    /// <summary>Of the way back, as __fib_validate_source (net/ipv4/fib_frontend.c) asks: it comes in where the packet goes out.</summary>
    public readonly RuleKey Reversed(int outputPort) => this with
    {
        Destination = Source,
        Source = Destination,
        SourcePort = DestinationPort,
        DestinationPort = SourcePort,
        InputPort = (ushort)outputPort,
    };

    /// <summary>skb_flow_get_ports (net/core/flow_dissector.c): ESP and AH have their SPI there.</summary>
    private void ReadPorts(byte* at, uint room)
    {
        const byte Dccp = 33, Esp = 50, Ah = 51, Sctp = 132, UdpLite = 136;
        uint offset = Protocol == Ah ? 4u : 0;
        if (Protocol is IpProtocol.Tcp or IpProtocol.Udp or Dccp or Esp or Ah or Sctp or UdpLite && room >= offset + 4)
        {
            SourcePort = BinaryPrimitives.ReadUInt16BigEndian(new ReadOnlySpan<byte>(at + offset, 2));
            DestinationPort = BinaryPrimitives.ReadUInt16BigEndian(new ReadOnlySpan<byte>(at + offset + 2, 2));
        }
    }
}
