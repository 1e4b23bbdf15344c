using System.Buffers.Binary;

namespace FastPathSync.Fpc;

/// <summary>What a frame's body is. Numbers are on the wire.</summary>
public enum FpcType : ushort
{
    None = 0,
    Hello = 1,
    BeginSync = 2,
    EndSync = 3,
    Report = 4,
    SyncState = 5,
    Interface = 16,
    Address = 17,
    Route = 18,
    Nexthop = 19,
    Neighbour = 20,
    Demotion = 21,
    Rule = 22,
    Route6 = 23,
    Vrf = 32,
    Settings = 24,
    Capture = 25,
}

[Flags]
public enum FpcFlags : byte
{
    None = 0,

    /// <summary>The sender wants a REPORT for this frame.</summary>
    ReportWanted = 1,
}

/// <summary>A peer that does not speak FPC: it is disconnected with this reason, and nothing of the frame is applied.</summary>
public sealed class FpcProtocolException(string reason) : Exception(reason);

/// <summary>The 16 bytes before every body, big-endian.</summary>
/// <remarks>
/// <code>
///  0                   1                   2                   3
/// +---------------+---------------+-------------------------------+
/// |    version    |     flags     |             type              |
/// +---------------+---------------+-------------------------------+
/// |                           sequence                            |
/// +---------------------------------------------------------------+
/// |                    length of the body                         |
/// +---------------------------------------------------------------+
/// |                              vrf                              |
/// +---------------------------------------------------------------+
/// </code>
/// </remarks>
public readonly record struct FpcHeader(FpcFlags Flags, FpcType Type, uint Sequence, uint Length, uint Vrf)
{
    public const int Size = 16;
    public const byte Version = 1;

    /// <summary>Bodies above this are rubbish: a batch of 512 updates is a hundredth of it.</summary>
    public const uint MaxLength = 16 << 20;

    public void Write(Span<byte> destination)
    {
        destination[0] = Version;
        destination[1] = (byte)Flags;
        BinaryPrimitives.WriteUInt16BigEndian(destination[2..], (ushort)Type);
        BinaryPrimitives.WriteUInt32BigEndian(destination[4..], Sequence);
        BinaryPrimitives.WriteUInt32BigEndian(destination[8..], Length);
        BinaryPrimitives.WriteUInt32BigEndian(destination[12..], Vrf);
    }

    /// <exception cref="FpcProtocolException">Wrong version, unknown type or flag, or an absurd length.</exception>
    public static FpcHeader Parse(ReadOnlySpan<byte> source)
    {
        if (source[0] != Version)
        {
            throw new FpcProtocolException($"version {source[0]}, expected {Version}");
        }

        FpcHeader h = new(
            (FpcFlags)source[1],
            (FpcType)BinaryPrimitives.ReadUInt16BigEndian(source[2..]),
            BinaryPrimitives.ReadUInt32BigEndian(source[4..]),
            BinaryPrimitives.ReadUInt32BigEndian(source[8..]),
            BinaryPrimitives.ReadUInt32BigEndian(source[12..]));
        if ((h.Flags & ~FpcFlags.ReportWanted) != 0)
        {
            throw new FpcProtocolException($"unknown flags 0x{(byte)h.Flags:x2}");
        }

        if (h.Type == FpcType.None || !Enum.IsDefined(h.Type))
        {
            throw new FpcProtocolException($"unknown type {(ushort)h.Type}");
        }

        return h.Length <= MaxLength ? h : throw new FpcProtocolException($"a body of {h.Length} bytes (at most {MaxLength})");
    }
}
