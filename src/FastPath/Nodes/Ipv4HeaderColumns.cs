using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using FastPathSync.Packets;

namespace FastPathSync.FastPath.Nodes;

/// <summary>
/// The headers of eight IPv4 packets side by side: word w of packet i is lane i of column w, so that ipv4-input asks its questions
/// of eight at once. It asks the same ones as of a single packet.
/// </summary>
internal readonly unsafe struct Ipv4HeaderColumns
{
    /// <summary>Words 0 to 4, as a little-endian load sees them.</summary>
    private readonly Vector256<uint> _versionLength, _identification, _ttlProtocolCheck, _source, _destination;

    /// <param name="frames">Eight Ethernet frames, of at least 34 bytes each.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public Ipv4HeaderColumns(byte** frames)
    {
        // Four 16-byte rows in each half, turned into columns: a transposition of 4 by 4, twice in one instruction.
        Vector256<uint> a = Rows(frames[0], frames[4]), b = Rows(frames[1], frames[5]), c = Rows(frames[2], frames[6]), d = Rows(frames[3], frames[7]);
        Vector256<ulong> ab01 = Avx2.UnpackLow(a, b).AsUInt64(), cd01 = Avx2.UnpackLow(c, d).AsUInt64();
        Vector256<ulong> ab23 = Avx2.UnpackHigh(a, b).AsUInt64(), cd23 = Avx2.UnpackHigh(c, d).AsUInt64();
        _versionLength = Avx2.UnpackLow(ab01, cd01).AsUInt32();
        _identification = Avx2.UnpackHigh(ab01, cd01).AsUInt32();
        _ttlProtocolCheck = Avx2.UnpackLow(ab23, cd23).AsUInt32();
        _source = Avx2.UnpackHigh(ab23, cd23).AsUInt32();
        _destination = Vector256.Create(
            LastWord(frames[0]), LastWord(frames[1]), LastWord(frames[2]), LastWord(frames[3]),
            LastWord(frames[4]), LastWord(frames[5]), LastWord(frames[6]), LastWord(frames[7]));
    }

    public static bool IsSupported => Avx2.IsSupported;

    /// <summary>Host byte order.</summary>
    public Vector256<uint> Source => Swap(_source);

    /// <summary>Host byte order.</summary>
    public Vector256<uint> Destination => Swap(_destination);

    public Vector256<uint> TotalLength => Swap(_versionLength) & Vector256.Create(0xffffu);

    /// <param name="frameLengths">Bytes of the frames.</param>
    /// <returns>Not zero: no plain packet of sound lengths, with the right checksum, from and to ordinary addresses.</returns>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public Vector256<uint> Faults(Vector256<uint> frameLengths)
    {
        Vector256<uint> total = TotalLength;
        return ((_versionLength & Vector256.Create(0xffu)) ^ Vector256.Create((uint)Ipv4Header.Plain))
            | ChecksumFaults
            | (((total - Vector256.Create((uint)Ipv4Header.Size)) | (frameLengths - Vector256.Create((uint)EthernetHeader.Size) - total)) >>> 31)
            | Special(_source) | Special(_destination);
    }

    /// <summary>0 where the sum over the header is right.</summary>
    private Vector256<uint> ChecksumFaults
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get
        {
            Vector256<uint> low = Vector256.Create(0xffffu);
            Vector256<uint> sum = (_versionLength & low) + (_versionLength >>> 16) + (_identification & low) + (_identification >>> 16)
                + (_ttlProtocolCheck & low) + (_ttlProtocolCheck >>> 16) + (_source & low) + (_source >>> 16)
                + (_destination & low) + (_destination >>> 16);

            // One fold is enough: ten words sum to less than 10 * 0x10000, so a multiple of 0xffff folds to 0xffff at once.
            return ((sum & low) + (sum >>> 16)) ^ low;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<uint> Rows(byte* low, byte* high) =>
        Vector256.Create(Vector128.Load((uint*)(low + EthernetHeader.Size)), Vector128.Load((uint*)(high + EthernetHeader.Size)));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static uint LastWord(byte* frame) => *(uint*)(frame + EthernetHeader.Size + Ipv4Header.DestinationOffset);

    /// <summary>Not zero for first bytes of 0, 127, and from 224 on (of those the cold path lets class E pass again).</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<uint> Special(Vector256<uint> address)
    {
        Vector256<uint> first = address & Vector256.Create(0xffu);
        return Vector256.Equals(first, Vector256<uint>.Zero) | Vector256.Equals(first, Vector256.Create(127u))
            | Vector256.GreaterThan(first.AsInt32(), Vector256.Create(223)).AsUInt32();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<uint> Swap(Vector256<uint> words) => Avx2.Shuffle(words.AsByte(), Vector256.Create(
        (byte)3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12, 3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12)).AsUInt32();
}
