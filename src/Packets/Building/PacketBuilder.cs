using System.Buffers.Binary;
using System.Net;

namespace FastPathSync.Packets.Building;

/// <summary>Where a packet begins: <c>using static</c> it and write <c>Ether().Ipv4(ttl: 1).Udp().Build()</c>.</summary>
public static class Packet
{
    public static PacketBuilder Ether(string destination = "02:00:00:00:00:01", string source = "02:00:00:00:00:02", int type = EtherType.Ipv4) =>
        new PacketBuilder().Ether(destination, source, type);
}

/// <summary>
/// Makes packets for tests and tools, layer by layer. Lengths and checksums are filled in at the end, from the inside
/// out, unless they were given: a test says only what it is about. Not for the packet path: it allocates.
/// </summary>
public sealed class PacketBuilder
{
    private readonly List<byte> _bytes = [];
    private readonly List<Action<byte[]>> _finish = [];
    private int _ip = -1, _ipEnd = -1, _nextHeader = -1;
    private int _source, _destination, _addressLength;
    private int _padTo;

    public PacketBuilder Ether(string destination, string source, int type)
    {
        Append(Mac(destination));
        Append(Mac(source));
        Append16(type);
        return this;
    }

    /// <param name="options">Padded by the caller to a multiple of four.</param>
    /// <param name="totalLength">What the header says; by default the truth.</param>
    /// <param name="checksum">What the header says; by default the right one.</param>
    public PacketBuilder Ipv4(
        string source = "10.0.0.1", string destination = "10.1.0.1", int ttl = 64, int protocol = 253, int tos = 0, int id = 0,
        int flagsAndOffset = 0, byte[]? options = null, int? totalLength = null, int? checksum = null, int version = 4, int? ihl = null)
    {
        int at = _bytes.Count;
        int length = Ipv4Header.Size + (options?.Length ?? 0);
        _ip = at;
        _ipEnd = at + length;
        _nextHeader = at + Ipv4Header.ProtocolOffset;
        (_source, _destination, _addressLength) = (at + Ipv4Header.SourceOffset, at + Ipv4Header.DestinationOffset, 4);
        Append((version << 4) | (ihl ?? length / 4), tos);
        Append16(0);
        Append16(id);
        Append16(flagsAndOffset);
        Append(ttl, protocol);
        Append16(checksum ?? 0);
        Append(Address(source));
        Append(Address(destination));
        Append(options ?? []);
        _finish.Add(p =>
        {
            BinaryPrimitives.WriteUInt16BigEndian(p.AsSpan(at + 2), (ushort)(totalLength ?? p.Length - at));
            if (checksum is null)
            {
                WriteChecksum(p, at + 10, Sum(p.AsSpan(at, length)));
            }
        });
        return this;
    }

    /// <summary>An IPv6 header; Ethernet before it gets IPv6's type unless it was given one of its own.</summary>
    /// <param name="payloadLength">What the header says; by default the truth.</param>
    public PacketBuilder Ipv6(
        string source = "2001:db8::1", string destination = "2001:db8:1::1", int hopLimit = 64, int nextHeader = 253, int trafficClass = 0,
        int flowLabel = 0, int? payloadLength = null, int version = 6)
    {
        if (_bytes.Count == EthernetHeader.Size && _bytes[12] == EtherType.Ipv4 >> 8 && _bytes[13] == (EtherType.Ipv4 & 0xff))
        {
            (_bytes[12], _bytes[13]) = (EtherType.Ipv6 >> 8, EtherType.Ipv6 & 0xff);
        }

        int at = _bytes.Count;
        _ip = at;
        _ipEnd = at + Ipv6Header.Size;
        _nextHeader = at + Ipv6Header.NextHeaderOffset;
        (_source, _destination, _addressLength) = (at + Ipv6Header.SourceOffset, at + Ipv6Header.DestinationOffset, 16);
        Append16((version << 12) | (trafficClass << 4) | (flowLabel >> 16));
        Append16(flowLabel);
        Append16(0);
        Append(nextHeader, hopLimit);
        Append(Address(source));
        Append(Address(destination));
        _finish.Add(p => BinaryPrimitives.WriteUInt16BigEndian(p.AsSpan(at + Ipv6Header.PayloadLengthOffset), (ushort)(payloadLength ?? p.Length - at - Ipv6Header.Size)));
        return this;
    }

    /// <summary>An IPv6 extension header.</summary>
    /// <param name="type">IpProtocol.HopByHop ...</param>
    /// <param name="body">What follows its two first bytes: 6 bytes, or 8 more each time. By default options that say nothing (PadN).</param>
    /// <param name="nextHeader">When nothing follows that knows its own number.</param>
    /// <param name="length">In units of 8 bytes beyond the first; by default the truth.</param>
    public PacketBuilder Extension(int type, byte[]? body = null, int nextHeader = 253, int? length = null)
    {
        int at = Begin((byte)type);
        body ??= [1, 4, 0, 0, 0, 0];
        Append(nextHeader, length ?? ((body.Length + 2) / 8) - 1);
        Append(body);
        _nextHeader = at;
        return this;
    }

    /// <summary>A routing header (RFC 6275 type 2, RFC 8754 type 4), the last address of the way first: checksums cover that one.</summary>
    public PacketBuilder Routing(int type, int segmentsLeft, params string[] addresses)
    {
        int at = _bytes.Count;
        Extension(IpProtocol.Routing, [(byte)type, (byte)segmentsLeft, 0, 0, 0, 0, .. addresses.SelectMany(Address)]);
        if (segmentsLeft > 0 && addresses.Length > 0)
        {
            _destination = at + 8;
        }

        return this;
    }

    /// <param name="partialChecksum">Leave it as a sender does whose hardware is to finish it: the pseudo header's sum.</param>
    public PacketBuilder Udp(int source = 1024, int destination = 9, int? checksum = null, bool partialChecksum = false)
    {
        int at = Begin(IpProtocol.Udp);
        Append16(source);
        Append16(destination);
        Append16(0);
        Append16(checksum ?? 0);
        _finish.Add(p =>
        {
            BinaryPrimitives.WriteUInt16BigEndian(p.AsSpan(at + 4), (ushort)(p.Length - at));
            FinishTransport(p, at, IpProtocol.Udp, UdpHeader.ChecksumOffset, checksum, partialChecksum);
        });
        return this;
    }

    public PacketBuilder Tcp(
        int source = 1024, int destination = 80, uint sequence = 1, uint acknowledgment = 0, int flags = 0x10, int? checksum = null,
        bool partialChecksum = false)
    {
        int at = Begin(IpProtocol.Tcp);
        Append16(source);
        Append16(destination);
        Append16((int)(sequence >> 16));
        Append16((int)sequence);
        Append16((int)(acknowledgment >> 16));
        Append16((int)acknowledgment);
        Append(5 << 4, flags);
        Append16(65535);
        Append16(checksum ?? 0);
        Append16(0);
        _finish.Add(p => FinishTransport(p, at, IpProtocol.Tcp, TcpHeader.ChecksumOffset, checksum, partialChecksum));
        return this;
    }

    public PacketBuilder Icmp(int type = IcmpHeader.EchoRequest, int code = 0, uint rest = 0)
    {
        int at = Begin(IpProtocol.Icmp);
        Append(type, code);
        Append16(0);
        Append16((int)(rest >> 16));
        Append16((int)rest);
        _finish.Add(p => WriteChecksum(p, at + 2, Sum(p.AsSpan(at))));
        return this;
    }

    public PacketBuilder Icmpv6(int type = Icmpv6Header.EchoRequest, int code = 0, uint rest = 0)
    {
        int at = Begin(IpProtocol.Icmpv6);
        Append(type, code);
        Append16(0);
        Append16((int)(rest >> 16));
        Append16((int)rest);
        _finish.Add(p => FinishTransport(p, at, IpProtocol.Icmpv6, Icmpv6Header.ChecksumOffset, null, partial: false));
        return this;
    }

    /// <summary>So many bytes 0, 1, 2, ...</summary>
    public PacketBuilder Payload(int length)
    {
        for (int i = 0; i < length; i++)
        {
            _bytes.Add((byte)i);
        }

        return this;
    }

    public PacketBuilder Payload(ReadOnlySpan<byte> bytes)
    {
        Append(bytes);
        return this;
    }

    /// <summary>Ethernet padding up to so many bytes in all, behind what IP knows of.</summary>
    public PacketBuilder PadTo(int length)
    {
        _padTo = length;
        return this;
    }

    public byte[] Build()
    {
        byte[] p = [.. _bytes];
        for (int i = _finish.Count - 1; i >= 0; i--)
        {
            _finish[i](p);
        }

        if (p.Length < _padTo)
        {
            Array.Resize(ref p, _padTo);
        }

        return p;
    }

    private int Begin(byte protocol)
    {
        if (_nextHeader >= 0)
        {
            _bytes[_nextHeader] = protocol;
        }

        return _bytes.Count;
    }

    private void FinishTransport(byte[] p, int at, byte protocol, int checksumOffset, int? checksum, bool partial)
    {
        if (checksum is not null || _ip < 0 || at < _ipEnd)
        {
            return;
        }

        uint pseudo = Sum(p.AsSpan(_source, _addressLength)) + Sum(p.AsSpan(_destination, _addressLength)) + protocol + (uint)(p.Length - at);
        if (partial)
        {
            BinaryPrimitives.WriteUInt16BigEndian(p.AsSpan(at + checksumOffset), InternetChecksum.Fold(pseudo));
            return;
        }

        WriteChecksum(p, at + checksumOffset, pseudo + Sum(p.AsSpan(at)), neverZero: protocol == IpProtocol.Udp);
    }

    /// <summary>Word by word, as RFC 1071 §4.1 writes it down: independent of the fast routine.</summary>
    private static uint Sum(ReadOnlySpan<byte> bytes)
    {
        uint sum = 0;
        for (int i = 0; i < bytes.Length; i++)
        {
            sum += (i & 1) == 0 ? (uint)bytes[i] << 8 : bytes[i];
        }

        return sum;
    }

    private static void WriteChecksum(byte[] p, int at, uint sum, bool neverZero = false)
    {
        ushort value = (ushort)~InternetChecksum.Fold(sum);
        BinaryPrimitives.WriteUInt16BigEndian(p.AsSpan(at), neverZero && value == 0 ? (ushort)0xffff : value);
    }

    private static byte[] Mac(string text) =>
        MacAddress.TryParse(text, out MacAddress m)
            ? [m.B0, m.B1, m.B2, m.B3, m.B4, m.B5]
            : throw new FormatException($"'{text}' is no MAC address");

    private static byte[] Address(string text) => IPAddress.Parse(text).GetAddressBytes();

    private void Append(ReadOnlySpan<byte> bytes) => _bytes.AddRange(bytes);

    private void Append(int first, int second)
    {
        _bytes.Add((byte)first);
        _bytes.Add((byte)second);
    }

    private void Append16(int value) => Append(value >> 8, value);
}
