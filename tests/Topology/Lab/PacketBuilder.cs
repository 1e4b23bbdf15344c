using System.Buffers.Binary;
using System.Net;

namespace FastPathSync.Topology;

/// <summary>Writes a frame layer by layer: new PacketBuilder().Ether(to, from).Ipv4(src, dst, ttl: 1).Udp(1, 2, 100).</summary>
public sealed class PacketBuilder
{
    public const int EtherLength = 14;
    private readonly List<byte> _bytes = [];
    private int _ip = -1;
    private string _source = "", _destination = "";

    public PacketBuilder Ether(byte[] to, byte[] from, ushort type = 0x0800)
    {
        _bytes.AddRange(to);
        _bytes.AddRange(from);
        return Add16(type);
    }

    /// <summary>An IPv4 header (RFC 791). Length and checksum are filled in by Build.</summary>
    /// <param name="flagsAndOffset">0x4000 DF, 0x2000 MF, low 13 bits the offset in units of 8.</param>
    public PacketBuilder Ipv4(string source, string destination, byte ttl = 64, byte tos = 0, ushort id = 0, ushort flagsAndOffset = 0, byte protocol = 17, byte[]? options = null)
    {
        options ??= [];
        _ip = _bytes.Count;
        _source = source;
        _destination = destination;
        _bytes.Add((byte)(0x40 | (5 + (options.Length / 4))));
        _bytes.Add(tos);
        Add16(0);
        Add16(id);
        Add16(flagsAndOffset);
        _bytes.Add(ttl);
        _bytes.Add(protocol);
        Add16(0);
        _bytes.AddRange(IPAddress.Parse(source).GetAddressBytes());
        _bytes.AddRange(IPAddress.Parse(destination).GetAddressBytes());
        _bytes.AddRange(options);
        return this;
    }

    /// <summary>An IPv6 header (RFC 8200). The length is filled in by Build.</summary>
    /// <param name="extensions">Extension headers, the first of kind <paramref name="firstHeader"/>, the last leading to <paramref name="protocol"/>.</param>
    public PacketBuilder Ipv6(
        string source, string destination, byte hopLimit = 64, byte trafficClass = 0, int flowLabel = 0, byte protocol = 17, byte? firstHeader = null, byte[]? extensions = null)
    {
        _ip = _bytes.Count;
        (_source, _destination) = (source, destination);
        (_bytes[12], _bytes[13]) = (0x86, 0xdd);
        Add16((ushort)(0x6000 | (trafficClass << 4) | (flowLabel >> 16))).Add16((ushort)flowLabel).Add16(0);
        _bytes.Add(firstHeader ?? protocol);
        _bytes.Add(hopLimit);
        _bytes.AddRange(IPAddress.Parse(source).GetAddressBytes());
        _bytes.AddRange(IPAddress.Parse(destination).GetAddressBytes());
        _bytes.AddRange(extensions ?? []);
        return this;
    }

    /// <summary>A UDP datagram (RFC 768) with a true checksum, or with the one given.</summary>
    public PacketBuilder Udp(ushort sourcePort, ushort destinationPort, byte[] payload, ushort? checksum = null)
    {
        int start = _bytes.Count;
        Add16(sourcePort).Add16(destinationPort).Add16((ushort)(8 + payload.Length)).Add16(0);
        _bytes.AddRange(payload);
        ushort sum = checksum ?? Sum(start, 17);
        Set16(start + 6, checksum is null && sum == 0 ? (ushort)0xffff : sum);
        return this;
    }

    /// <summary>A TCP segment (RFC 9293) without options.</summary>
    public PacketBuilder Tcp(ushort sourcePort, ushort destinationPort, uint sequence, byte flags, byte[] payload)
    {
        int start = _bytes.Count;
        Add16(sourcePort).Add16(destinationPort).Add16((ushort)(sequence >> 16)).Add16((ushort)sequence).Add16(0).Add16(0);
        _bytes.Add(0x50);
        _bytes.Add(flags);
        Add16(8192).Add16(0).Add16(0);
        _bytes.AddRange(payload);
        Set16(start + 16, Sum(start, 6));
        return this;
    }

    /// <summary>An ICMP echo request (RFC 792).</summary>
    public PacketBuilder IcmpEcho(ushort id, ushort sequence, byte[] payload)
    {
        int start = _bytes.Count;
        Add16(0x0800).Add16(0).Add16(id).Add16(sequence);
        _bytes.AddRange(payload);
        Set16(start + 2, Checksum(_bytes.ToArray().AsSpan(start), 0));
        return this;
    }

    /// <summary>An ICMPv6 echo request (RFC 4443).</summary>
    public PacketBuilder Icmpv6Echo(ushort id, ushort sequence, byte[] payload)
    {
        int start = _bytes.Count;
        Add16(0x8000).Add16(0).Add16(id).Add16(sequence);
        _bytes.AddRange(payload);
        Set16(start + 2, Sum(start, 58));
        return this;
    }

    public PacketBuilder Raw(byte[] bytes)
    {
        _bytes.AddRange(bytes);
        return this;
    }

    /// <summary>The frame, with bytes behind the IP packet (Ethernet padding) when asked for.</summary>
    public byte[] Build(byte[]? padding = null)
    {
        if (_ip >= 0 && _bytes[_ip] >> 4 == 6)
        {
            Set16(_ip + 4, (ushort)(_bytes.Count - _ip - 40));
        }
        else if (_ip >= 0)
        {
            Set16(_ip + 2, (ushort)(_bytes.Count - _ip));
            Set16(_ip + 10, 0);
            Set16(_ip + 10, Checksum(_bytes.ToArray().AsSpan(_ip, (_bytes[_ip] & 15) * 4), 0));
        }

        return [.. _bytes, .. padding ?? []];
    }

    /// <summary>The Internet checksum (RFC 1071).</summary>
    public static ushort Checksum(ReadOnlySpan<byte> data, uint initial)
    {
        uint sum = initial;
        for (int i = 0; i < data.Length; i += 2)
        {
            sum += i + 1 < data.Length ? BinaryPrimitives.ReadUInt16BigEndian(data[i..]) : (uint)data[i] << 8;
            sum = (sum & 0xffff) + (sum >> 16);
        }

        return (ushort)~sum;
    }

    private ushort Sum(int start, byte protocol)
    {
        uint pseudo = protocol + (uint)(_bytes.Count - start);
        foreach (string address in (ReadOnlySpan<string>)[_source, _destination])
        {
            byte[] bytes = IPAddress.Parse(address).GetAddressBytes();
            for (int i = 0; i < bytes.Length; i += 2)
            {
                pseudo += BinaryPrimitives.ReadUInt16BigEndian(bytes.AsSpan(i));
            }
        }

        return Checksum(_bytes.ToArray().AsSpan(start), (pseudo & 0xffff) + (pseudo >> 16));
    }

    private PacketBuilder Add16(ushort value)
    {
        _bytes.Add((byte)(value >> 8));
        _bytes.Add((byte)value);
        return this;
    }

    private void Set16(int at, ushort value)
    {
        _bytes[at] = (byte)(value >> 8);
        _bytes[at + 1] = (byte)value;
    }
}
