using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace FastPathSync.SharedMemory.Tables;

/// <summary>
/// The answer of every longest prefix match: bits 0-23 a nexthop index, bits 24-31 the length of the prefix that
/// matched. 0: nothing matched (in DIR-24-8: nothing but, perhaps, 0.0.0.0/0, which is nexthop 0 there).
/// </summary>
public static class FibEntry
{
    public const uint NexthopMask = 0x00ff_ffff;
    public const int DepthShift = 24;

    public static uint Make(int depth, int nexthop) => ((uint)depth << DepthShift) | (uint)nexthop;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int Nexthop(uint entry) => (int)(entry & NexthopMask);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int Depth(uint entry) => (int)(entry >> DepthShift);
}

/// <summary>
/// What is looked up, first bit of the address in bit 63 of High. An IPv4 address stands in the upper half of High, the
/// rest is zero, so that one structure serves both families.
/// </summary>
[StructLayout(LayoutKind.Sequential)]
public readonly record struct FibKey(ulong High, ulong Low)
{
    public static FibKey Ipv4(uint address) => new((ulong)address << 32, 0);

    /// <param name="address">16 bytes as they stand in a packet.</param>
    public static FibKey Ipv6(ReadOnlySpan<byte> address) =>
        new(BinaryPrimitives.ReadUInt64BigEndian(address), BinaryPrimitives.ReadUInt64BigEndian(address[8..]));

    /// <param name="address">16 bytes as they stand in a packet.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static unsafe FibKey Ipv6(byte* address)
    {
        Vector128<byte> key = Vector128.Shuffle(Vector128.Load(address), Vector128.Create((byte)7, 6, 5, 4, 3, 2, 1, 0, 15, 14, 13, 12, 11, 10, 9, 8));
        return Unsafe.BitCast<Vector128<byte>, FibKey>(key);
    }

    /// <summary>The first <paramref name="length"/> bits; the others zero.</summary>
    public FibKey Prefix(int length) => new(
        High & (length >= 64 ? ulong.MaxValue : length == 0 ? 0 : ulong.MaxValue << (64 - length)),
        Low & (length <= 64 ? 0 : ulong.MaxValue << (128 - length)));

    /// <summary>Whether the first <paramref name="length"/> bits are the same.</summary>
    public bool Covers(int length, FibKey address) => new FibKey(High ^ address.High, Low ^ address.Low).Prefix(length) == default;
}

/// <summary>Which family a table of prefixes is of. The numbers are AF_INET's and AF_INET6's.</summary>
public enum FibFamily : uint
{
    None = 0,
    Ipv4 = 2,
    Ipv6 = 10,
}
