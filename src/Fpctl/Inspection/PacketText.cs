using System.Buffers.Binary;
using System.Globalization;
using FastPathSync.Packets;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.Fpctl.Inspection;

/// <summary>What a frame says of itself, as far as its bytes reach; and that on one line.</summary>
internal readonly record struct PacketText
{
    private const byte Dccp = 33, Sctp = 132, UdpLite = 136;

    private PacketText(int length, int etherType) => (Length, EtherType) = (length, etherType);

    /// <summary>Of the frame on the wire.</summary>
    public int Length { get; }

    /// <summary>-1: there is no whole Ethernet header.</summary>
    public int EtherType { get; }

    /// <summary>None: no whole IP header.</summary>
    public IpAddress Source { get; private init; }

    public IpAddress Destination { get; private init; }

    public bool IsIpv4 => EtherType == Packets.EtherType.Ipv4;

    public bool IsIp => EtherType is Packets.EtherType.Ipv4 or Packets.EtherType.Ipv6 && HasAddresses;

    /// <summary>An IPv6 address may be ::, which is None to IpAddress.</summary>
    private bool HasAddresses { get; init; }

    public byte HopLimit { get; private init; }

    /// <summary>DSCP and ECN.</summary>
    public byte TrafficClass { get; private init; }

    /// <summary>Behind IPv6's extension headers.</summary>
    public byte Protocol { get; private init; }

    public (ushort Source, ushort Destination)? Ports { get; private init; }

    /// <param name="frame">From the Ethernet header on; perhaps only its first bytes.</param>
    /// <param name="length">On the wire.</param>
    public static PacketText Of(ReadOnlySpan<byte> frame, int length)
    {
        if (frame.Length < EthernetHeader.Size)
        {
            return new PacketText(length, -1);
        }

        int type = BinaryPrimitives.ReadUInt16BigEndian(frame[EthernetHeader.TypeOffset..]);
        ReadOnlySpan<byte> ip = frame[EthernetHeader.Size..];
        return type == Packets.EtherType.Ipv4 && ip.Length >= Ipv4Header.Size ? Ipv4(ip, length)
            : type == Packets.EtherType.Ipv6 && ip.Length >= Ipv6Header.Size ? Ipv6(ip, length)
            : new PacketText(length, type);
    }

    public override string ToString()
    {
        if (EtherType < 0)
        {
            return $"{Length} bytes, less than an Ethernet header";
        }

        if (!IsIp)
        {
            return $"{EtherType switch { Packets.EtherType.Arp => "ARP", Packets.EtherType.Ipv4 => "IPv4 without a whole header", Packets.EtherType.Ipv6 => "IPv6 without a whole header", _ => $"ethertype 0x{EtherType:x4}" }}, {Length} bytes";
        }

        (string source, string destination) = (Text(Source), Text(Destination));
        string name = KernelNames.IpProtocol(Protocol);
        return Ports is (ushort from, ushort to)
            ? string.Create(CultureInfo.InvariantCulture, $"{source}.{from} > {destination}.{to} {name}, ttl {HopLimit}, {Length} bytes")
            : $"{source} > {destination} {name}, ttl {HopLimit}, {Length} bytes";
    }

    private string Text(IpAddress a) => IsIpv4 ? Ipv4Text.Address(a.V4) : Ip6Text.Address(a);

    private static PacketText Ipv4(ReadOnlySpan<byte> ip, int length)
    {
        int header = Math.Max(Ipv4Header.Size, (ip[0] & 15) * 4);
        bool fragment = (BinaryPrimitives.ReadUInt16BigEndian(ip[Ipv4Header.FragmentOffset..]) & (Ipv4Header.MoreFragments | Ipv4Header.FragmentOffsetMask)) != 0;
        byte protocol = ip[Ipv4Header.ProtocolOffset];
        return new PacketText(length, Packets.EtherType.Ipv4)
        {
            Source = IpAddress.FromBytes(ip.Slice(Ipv4Header.SourceOffset, 4)),
            Destination = IpAddress.FromBytes(ip.Slice(Ipv4Header.DestinationOffset, 4)),
            HasAddresses = true,
            HopLimit = ip[Ipv4Header.TtlOffset],
            TrafficClass = ip[1],
            Protocol = protocol,
            Ports = fragment ? null : PortsAt(ip, header, protocol),
        };
    }

    private static PacketText Ipv6(ReadOnlySpan<byte> ip, int length)
    {
        (byte protocol, int at) = (ip[Ipv6Header.NextHeaderOffset], Ipv6Header.Size);
        while (protocol is IpProtocol.HopByHop or IpProtocol.Routing or IpProtocol.DestinationOptions && at + 2 <= ip.Length)
        {
            (protocol, at) = (ip[at], at + ((ip[at + 1] + 1) * 8));
        }

        bool fragment = protocol == IpProtocol.Fragment;
        return new PacketText(length, Packets.EtherType.Ipv6)
        {
            Source = IpAddress.FromBytes(ip.Slice(Ipv6Header.SourceOffset, 16)),
            Destination = IpAddress.FromBytes(ip.Slice(Ipv6Header.DestinationOffset, 16)),
            HasAddresses = true,
            HopLimit = ip[Ipv6Header.HopLimitOffset],
            TrafficClass = (byte)(BinaryPrimitives.ReadUInt16BigEndian(ip) >> 4),
            Protocol = fragment && at < ip.Length ? ip[at] : protocol,
            Ports = fragment ? null : PortsAt(ip, at, protocol),
        };
    }

    private static (ushort, ushort)? PortsAt(ReadOnlySpan<byte> ip, int at, byte protocol) =>
        protocol is IpProtocol.Tcp or IpProtocol.Udp or Dccp or Sctp or UdpLite && at + 4 <= ip.Length
            ? (BinaryPrimitives.ReadUInt16BigEndian(ip[at..]), BinaryPrimitives.ReadUInt16BigEndian(ip[(at + 2)..]))
            : null;
}
