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
    private int _ip = -1, _ipEnd = -1;
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
            FinishTransport(p, at, UdpHeader.ChecksumOffset, checksum, partialChecksum);
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
        _finish.Add(p => FinishTransport(p, at, TcpHeader.ChecksumOffset, checksum, partialChecksum));
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
        if (_ip >= 0)
        {
            _bytes[_ip + Ipv4Header.ProtocolOffset] = protocol;
        }

        return _bytes.Count;
    }

    private void FinishTransport(byte[] p, int at, int checksumOffset, int? checksum, bool partial)
    {
        if (checksum is not null || _ip < 0 || at < _ipEnd)
        {
            return;
        }

        Span<byte> addresses = p.AsSpan(_ip + Ipv4Header.SourceOffset, 8);
        uint pseudo = Sum(addresses) + p[_ip + Ipv4Header.ProtocolOffset] + (uint)(p.Length - at);
        if (partial)
        {
            BinaryPrimitives.WriteUInt16BigEndian(p.AsSpan(at + checksumOffset), InternetChecksum.Fold(pseudo));
            return;
        }

        WriteChecksum(p, at + checksumOffset, pseudo + Sum(p.AsSpan(at)), neverZero: p[_ip + Ipv4Header.ProtocolOffset] == IpProtocol.Udp);
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
