using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace FastPathSync.Packets;

/// <summary>
/// The Internet checksum (RFC 1071): the complement of the one's complement sum of 16-bit words. All words here are as
/// this machine loads them: the sum is independent of byte order (RFC 1071 §2 (B)) as long as one sticks to one.
/// </summary>
public static unsafe class InternetChecksum
{
    /// <summary>
    /// The sum of up to 64 KB, not folded; an odd last byte counts as if a zero followed. Reads nothing behind the end.
    /// </summary>
    public static uint Sum(byte* p, uint length)
    {
        ulong sum = 0;
        if (length >= 32)
        {
            // Each 32-bit lane takes two words per step: 64 KB are 2,048 steps of at most 2 * 65,535: no lane overflows.
            Vector256<uint> lanes = Vector256<uint>.Zero, low = Vector256.Create(0xffffu);
            for (; length >= 32; p += 32, length -= 32)
            {
                Vector256<uint> x = Vector256.Load((uint*)p);
                lanes += (x & low) + (x >>> 16);
            }

            (Vector256<ulong> a, Vector256<ulong> b) = Vector256.Widen(lanes);
            sum = Vector256.Sum(a + b);
        }

        for (; length >= 4; p += 4, length -= 4)
        {
            sum += *(uint*)p;
        }

        if ((length & 2) != 0)
        {
            sum += *(ushort*)p;
            p += 2;
        }

        if ((length & 1) != 0)
        {
            sum += *p; // the first of two bytes is the low one of a little-endian word
        }

        sum = (sum & 0xffff_ffff) + (sum >> 32);
        return (uint)((sum & 0xffff_ffff) + (sum >> 32));
    }

    /// <summary>End-around carries added until 16 bits are left. Only the sum 0 folds to 0.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ushort Fold(uint sum)
    {
        sum = (sum & 0xffff) + (sum >> 16);
        return (ushort)((sum & 0xffff) + (sum >> 16));
    }

    /// <summary>What goes into the checksum field when the bytes, that field being zero, sum up to this.</summary>
    public static Be16 Finish(uint sum) => Be16.FromWire((ushort)~Fold(sum));

    /// <summary>
    /// The pseudo header of TCP and UDP (RFC 9293 §3.1, RFC 768): source, destination, zero, protocol, length. Folded.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ushort PseudoHeader(Be32 source, Be32 destination, byte protocol, uint length)
    {
        uint s = source.Wire, d = destination.Wire;
        return Fold((s & 0xffff) + (s >> 16) + (d & 0xffff) + (d >> 16) + ((uint)protocol << 8) + Be16.From((int)length).Wire);
    }

    /// <summary>The pseudo header over IPv6 (RFC 8200 §8.1): source, destination, length, zero, protocol. Folded.</summary>
    public static ushort PseudoHeader(in Ipv6Address source, in Ipv6Address destination, byte protocol, uint length)
    {
        fixed (Ipv6Address* s = &source, d = &destination)
        {
            return Fold((uint)Fold(Sum((byte*)s, 16)) + Fold(Sum((byte*)d, 16)) + ((uint)protocol << 8) + Be16.From((int)length).Wire);
        }
    }

    /// <summary>
    /// Takes one from the TTL and mends the header checksum as Linux does (ip_decrease_ttl, include/net/ip.h; RFC 1624
    /// §3 eqn. 3): check += htons(0x0100), plus one when that reached 0xffff.
    /// </summary>
    /// <param name="ttlProtocolCheck">The four header bytes TTL, protocol, checksum, as loaded.</param>
    /// <returns>The same four bytes, rewritten. A TTL of 0 is not allowed: it would borrow from the protocol.</returns>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static uint DecrementTtl(uint ttlProtocolCheck)
    {
        uint check = (ttlProtocolCheck >> 16) + 1;
        check += (check + 1) >> 16;
        return (check << 16) | ((ttlProtocolCheck - 1) & 0xffff);
    }
}
