using System.Buffers.Binary;

namespace FastPathSync.NetFpc;

/// <summary>The calls. Numbers are on the wire; bodies are in proto/netfpc/.</summary>
public enum NetFpcCall : ushort
{
    None = 0,
    Ping = 1,
    SetPortMtu = 2,
    GetPortMtu = 3,
    AddPort = 4,
    DeletePort = 5,
    ListPorts = 6,
    SetPortPromiscuous = 7,
    SetPuntLimit = 8,
    SetPortWorkers = 9,
    Explain = 16,
    StartTrace = 17,
    PollTrace = 18,
    StopTrace = 19,
}

/// <summary>A peer that does not speak NETFPC: it is disconnected.</summary>
public sealed class NetFpcProtocolException(string reason) : Exception(reason);

/// <summary>
/// The 16 bytes before every NETFPC body, big-endian: {version u8, reply u8, call u16, id u32, length u32, errno i32}.
/// A reply repeats call and id; with errno other than 0 its body is the error's text (UTF-8). These 16 bytes are the same in every
/// version: a call of another version is answered by a failure (EPROTONOSUPPORT) in the server's own.
/// </summary>
public readonly record struct NetFpcHeader(bool Reply, NetFpcCall Call, uint Id, uint Length, int ErrorNumber)
{
    /// <summary>Of the sender.</summary>
    public byte SpokenVersion { get; init; } = Version;

    public const int Size = 16;
    public const byte Version = 1;
    public const uint MaxLength = 64 << 10;

    public void Write(Span<byte> destination)
    {
        destination[0] = SpokenVersion;
        destination[1] = Reply ? (byte)1 : (byte)0;
        BinaryPrimitives.WriteUInt16BigEndian(destination[2..], (ushort)Call);
        BinaryPrimitives.WriteUInt32BigEndian(destination[4..], Id);
        BinaryPrimitives.WriteUInt32BigEndian(destination[8..], Length);
        BinaryPrimitives.WriteInt32BigEndian(destination[12..], ErrorNumber);
    }

    /// <exception cref="NetFpcProtocolException">Neither call nor reply, or an absurd length.</exception>
    public static NetFpcHeader Parse(ReadOnlySpan<byte> source)
    {
        if (source[0] == 0 || source[1] > 1)
        {
            throw new NetFpcProtocolException($"version {source[0]}, kind {source[1]}");
        }

        NetFpcHeader h = new(
            source[1] == 1,
            (NetFpcCall)BinaryPrimitives.ReadUInt16BigEndian(source[2..]),
            BinaryPrimitives.ReadUInt32BigEndian(source[4..]),
            BinaryPrimitives.ReadUInt32BigEndian(source[8..]),
            BinaryPrimitives.ReadInt32BigEndian(source[12..]))
        {
            SpokenVersion = source[0],
        };
        return h.Length <= MaxLength ? h : throw new NetFpcProtocolException($"a body of {h.Length} bytes (at most {MaxLength})");
    }
}
