using System.Buffers.Binary;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FastPath.Exceptions;

/// <summary>The last 16 bytes of a frame on the carrier, big-endian. C side: bpf/fptun_def.h (a test compares them).</summary>
internal static class FptunTrailer
{
    public const int Size = 16;
    public const uint Magic = 0x46505431; // "FPT1"
    public const byte Version = 1;

    /// <summary>The target runs generic XDP, which sees the packet again: bpf/fptun.bpf.c leaves the cookie for it.</summary>
    public const ushort FlagCookie = 1;

    /// <summary>What stands at the end of a frame, which must be long enough for it.</summary>
    /// <param name="magic">What stands for Magic.</param>
    public static bool TryRead(ReadOnlySpan<byte> frame, uint magic, out FptunCommand command, out uint ifindex, out uint mark)
    {
        ReadOnlySpan<byte> trailer = frame[^Size..];
        command = (FptunCommand)trailer[5];
        ifindex = BinaryPrimitives.ReadUInt32BigEndian(trailer[8..]);
        mark = BinaryPrimitives.ReadUInt32BigEndian(trailer[12..]);
        return BinaryPrimitives.ReadUInt32BigEndian(trailer) == magic && trailer[4] == Version;
    }

    public static void Write(Span<byte> trailer, FptunCommand command, ushort flags, uint ifindex, uint mark)
    {
        BinaryPrimitives.WriteUInt32BigEndian(trailer, Magic);
        trailer[4] = Version;
        trailer[5] = (byte)command;
        BinaryPrimitives.WriteUInt16BigEndian(trailer[6..], flags);
        BinaryPrimitives.WriteUInt32BigEndian(trailer[8..], ifindex);
        BinaryPrimitives.WriteUInt32BigEndian(trailer[12..], mark);
    }
}
