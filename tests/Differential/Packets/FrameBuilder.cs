using System.Buffers.Binary;
using System.Net;

namespace FastPathSync.Differential;

/// <summary>Writes frames layer by layer, true or false ones. Shares no code with the product on purpose.</summary>
internal sealed class FrameBuilder
{
    private readonly List<byte> _bytes = [];
    private int _network = -1, _transport = -1;

    public int Length => _bytes.Count;

    public FrameBuilder Ether(string to, string from, int type) => Raw(Hosts.Bytes(to)).Raw(Hosts.Bytes(from)).Add16(type);

    public FrameBuilder Vlan(int id, int type)
    {
        _bytes.RemoveRange(_bytes.Count - 2, 2);
        return Add16(0x8100).Add16(id).Add16(type);
    }

    /// <summary>RFC 791; length and checksum by <see cref="Build"/>.</summary>
    public FrameBuilder Ipv4(IPAddress source, IPAddress destination, int ttl, int protocol, int tos = 0, int id = 0, int flagsAndOffset = 0, byte[]? options = null)
    {
        _network = _bytes.Count;
        Raw([(byte)(0x45 + ((options?.Length ?? 0) / 4)), (byte)tos]).Add16(0).Add16(id).Add16(flagsAndOffset).Raw([(byte)ttl, (byte)protocol]).Add16(0)
            .Raw(source.GetAddressBytes()).Raw(destination.GetAddressBytes()).Raw(options ?? []);
        _transport = _bytes.Count;
        return this;
    }

    /// <summary>RFC 8200; length by <see cref="Build"/>.</summary>
    public FrameBuilder Ipv6(IPAddress source, IPAddress destination, int hopLimit, int nextHeader, int trafficClass = 0, int flowLabel = 0)
    {
        _network = _bytes.Count;
        uint word = 0x6000_0000u | ((uint)trafficClass << 20) | (uint)flowLabel;
        Add16((int)(word >> 16)).Add16((int)(word & 0xffff)).Add16(0).Raw([(byte)nextHeader, (byte)hopLimit]).Raw(source.GetAddressBytes()).Raw(destination.GetAddressBytes());
        _transport = _bytes.Count;
        return this;
    }

    /// <summary>An extension header of IPv6: what follows it, and its body from the third byte on (8n - 2 bytes).</summary>
    public FrameBuilder Extension(int nextHeader, ReadOnlySpan<byte> body)
    {
        Raw([(byte)nextHeader, (byte)((body.Length + 2) / 8 - 1)]).Raw(body);
        _transport = _bytes.Count;
        return this;
    }

    /// <summary>The fragment header (RFC 8200 §4.5).</summary>
    public FrameBuilder Fragment(int nextHeader, int offsetAndFlags, int id)
    {
        Raw([(byte)nextHeader, 0]).Add16(offsetAndFlags).Add16(id >> 16).Add16(id & 0xffff);
        _transport = _bytes.Count;
        return this;
    }

    public FrameBuilder Udp(int source, int destination, ReadOnlySpan<byte> payload, int? checksum = null)
    {
        int at = _bytes.Count;
        Add16(source).Add16(destination).Add16(8 + payload.Length).Add16(0).Raw(payload);
        int sum = checksum ?? PseudoSum(at, 17);
        return Set16(at + 6, checksum is null && sum == 0 ? 0xffff : sum);
    }

    public FrameBuilder Tcp(int source, int destination, int sequence, int flags, ReadOnlySpan<byte> payload, int? checksum = null)
    {
        int at = _bytes.Count;
        Add16(source).Add16(destination).Add16(sequence >> 16).Add16(sequence).Add16(0).Add16(0).Raw([0x50, (byte)flags]).Add16(8192).Add16(0).Add16(0).Raw(payload);
        return Set16(at + 16, checksum ?? PseudoSum(at, 6));
    }

    public FrameBuilder Icmp(int type, int code, int rest, ReadOnlySpan<byte> payload)
    {
        int at = _bytes.Count;
        Raw([(byte)type, (byte)code]).Add16(0).Add16(rest >> 16).Add16(rest).Raw(payload);
        return Set16(at + 2, Sum(_bytes.ToArray().AsSpan(at), 0));
    }

    public FrameBuilder Icmpv6(int type, int code, int rest, ReadOnlySpan<byte> payload)
    {
        Raw([(byte)type, (byte)code]).Add16(0).Add16(rest >> 16).Add16(rest).Raw(payload);
        return Icmpv6Checksum();
    }

    /// <summary>Over what stands behind the last header, which is ICMPv6.</summary>
    public FrameBuilder Icmpv6Checksum()
    {
        Set16(_transport + 2, 0);
        return Set16(_transport + 2, PseudoSum(_transport, 58));
    }

    public FrameBuilder Raw(ReadOnlySpan<byte> bytes)
    {
        _bytes.AddRange(bytes);
        return this;
    }

    public byte[] Build(byte[]? padding = null)
    {
        if (_network >= 0 && _bytes[_network] >> 4 == 4)
        {
            Set16(_network + 2, _bytes.Count - _network);
            MendIpv4(_network);
        }
        else if (_network >= 0)
        {
            Set16(_network + 4, _bytes.Count - _network - 40);
        }

        return [.. _bytes, .. padding ?? []];
    }

    /// <summary>Gives an IPv4 header at offset 14 a right checksum again.</summary>
    public static void MendIpv4Checksum(byte[] frame)
    {
        int header = frame.Length < 34 ? 0 : (frame[14] & 15) * 4;
        if (header < 20 || frame.Length < 14 + header)
        {
            return;
        }

        frame[24] = frame[25] = 0;
        BinaryPrimitives.WriteUInt16BigEndian(frame.AsSpan(24), (ushort)Sum(frame.AsSpan(14, header), 0));
    }

    /// <summary>The Internet checksum (RFC 1071).</summary>
    public static int Sum(ReadOnlySpan<byte> data, uint initial)
    {
        uint sum = initial;
        for (int i = 0; i < data.Length; i += 2)
        {
            sum += i + 1 < data.Length ? BinaryPrimitives.ReadUInt16BigEndian(data[i..]) : (uint)data[i] << 8;
            sum = (sum & 0xffff) + (sum >> 16);
        }

        return (int)(ushort)~sum;
    }

    private void MendIpv4(int at)
    {
        Set16(at + 10, 0);
        Set16(at + 10, Sum(_bytes.ToArray().AsSpan(at, (_bytes[at] & 15) * 4), 0));
    }

    private int PseudoSum(int start, byte protocol)
    {
        byte[] all = [.. _bytes];
        ReadOnlySpan<byte> addresses = all[_network] >> 4 == 4 ? all.AsSpan(_network + 12, 8) : all.AsSpan(_network + 8, 32);
        uint pseudo = (uint)((~Sum(addresses, 0)) & 0xffff) + protocol + (uint)(all.Length - start);
        return Sum(all.AsSpan(start), (pseudo & 0xffff) + (pseudo >> 16));
    }

    private FrameBuilder Add16(int value)
    {
        _bytes.Add((byte)(value >> 8));
        _bytes.Add((byte)value);
        return this;
    }

    private FrameBuilder Set16(int at, int value)
    {
        _bytes[at] = (byte)(value >> 8);
        _bytes[at + 1] = (byte)value;
        return this;
    }
}
