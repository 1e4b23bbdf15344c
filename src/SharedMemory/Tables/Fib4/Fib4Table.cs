using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace FastPathSync.SharedMemory.Tables;

/// <summary>
/// Longest prefix match for IPv4: DIR-24-8 (Gupta, Lin, McKeown 1998). 2^24 entries of 4 bytes, and groups of 256 for the
/// /24s that hold longer prefixes. An entry is one aligned word: bit 31 set: bits 0-23 number a group; else a FibEntry:
/// bits 0-23 are a nexthop index and bits 24-29 the length of the prefix that put it there. 0 is nexthop 0, the default.
/// </summary>
/// <remarks>
/// Writer: fpmd. Readers: workers, fpctl. Publication: each entry is one store; a new group is filled before the entry
/// that names it is stored; a group given up is reused after a grace period. Memory: 64 MB of address space, of which
/// only touched pages count, and 1 KB per group.
/// </remarks>
public readonly unsafe struct Fib4Reader(uint* table24, uint* groups)
{
    public const uint GroupFlag = 0x8000_0000, IndexMask = FibEntry.NexthopMask;
    public const int DepthShift = FibEntry.DepthShift;

    public uint* Table24 => table24;

    public uint* Groups => groups;

    /// <summary>The entry (see FibEntry) for an address (host byte order).</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public uint LookupEntry(uint address)
    {
        uint e = Volatile.Read(ref table24[address >> 8]);
        return (e & GroupFlag) == 0 ? e : Volatile.Read(ref groups[((e & IndexMask) << 8) | (address & 0xff)]);
    }

    /// <summary>The nexthop index for an address (host byte order).</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public uint Lookup(uint address) => LookupEntry(address) & IndexMask;

    /// <summary>Fetches what looking these addresses up will read first (host byte order): to be called a burst ahead.</summary>
    /// <remarks>
    /// Into L2: the buffers for misses of L1 are too few for a burst, those of L2 are not (`bench pipeline`, a million routes and
    /// destinations: 62 cycles a packet became 51).
    /// </remarks>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Prefetch(uint* addresses, int count)
    {
        for (int i = 0; i < count; i++)
        {
            Sse.Prefetch1(table24 + (addresses[i] >> 8));
        }
    }

    /// <summary>The entries (see FibEntry) for so many addresses (host byte order) at once, that their cache misses overlap.</summary>
    public void Lookup(uint* addresses, uint* entries, int count)
    {
        const int Most = 64; // bits of a mask
        for (; count > Most; count -= Most, addresses += Most, entries += Most)
        {
            LookupFew(addresses, entries, Most);
        }

        LookupFew(addresses, entries, count);
    }

    /// <summary>First all first levels, without a branch between them; then the few that lead to a group.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private void LookupFew(uint* addresses, uint* entries, int count)
    {
        ulong grouped = 0;
        int i = 0;
        if (Avx2.IsSupported)
        {
            for (; i + 8 <= count; i += 8)
            {
                Vector256<uint> e = Avx2.GatherVector256(table24, (Vector256.Load(addresses + i) >> 8).AsInt32(), 4);
                grouped |= (ulong)e.ExtractMostSignificantBits() << i;
                e.Store(entries + i);
            }
        }

        for (; i < count; i++)
        {
            entries[i] = Volatile.Read(ref table24[addresses[i] >> 8]);
            grouped |= (ulong)(entries[i] >> 31) << i;
        }

        for (; grouped != 0; grouped &= grouped - 1)
        {
            i = BitOperations.TrailingZeroCount(grouped);
            entries[i] = Volatile.Read(ref groups[((entries[i] & IndexMask) << 8) | (addresses[i] & 0xff)]);
        }
    }
}

/// <summary>The FIB segment: the 2^24 entries, then the groups, then one in-use word per group.</summary>
public static unsafe class Fib4Segment
{
    private const nuint Table24Bytes = 4 << 24;

    public static nuint BodyLength => Table24Bytes + ((nuint)Capacities.Fib4Groups * 1024) + ((nuint)Capacities.Fib4Groups * 4);

    public static uint* Table24(Segment s) => (uint*)s.Body;

    public static uint* Groups(Segment s) => (uint*)(s.Body + Table24Bytes);

    /// <summary>How many prefixes longer than 24 a group holds; 0: free.</summary>
    public static uint* GroupUse(Segment s) => (uint*)(s.Body + Table24Bytes + ((nuint)Capacities.Fib4Groups * 1024));

    public static Fib4Reader Reader(Segment s) => new(Table24(s), Groups(s));
}
