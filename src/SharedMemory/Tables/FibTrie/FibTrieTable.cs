using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace FastPathSync.SharedMemory.Tables;

/// <summary>How far the segment was ever used, so that nobody makes resident what never was.</summary>
[StructLayout(LayoutKind.Sequential, Size = 64)]
public struct FibTrieHeader
{
    public uint Roots;   // root slots at and above this were never used
    public uint Units;   // units at and above this were never used
}

/// <summary>One table of prefixes in the arena: the root slot that workers start from, and whose it is.</summary>
/// <remarks>Child and Default change by one store each; the rest is fpmd's and fpctl's.</remarks>
[StructLayout(LayoutKind.Sequential)]
public struct FibRoot
{
    /// <summary>RT_TABLE_MAIN (IPv6: with table local merged in), RT_TABLE_LOCAL.</summary>
    public const uint MainTable = 254, LocalTable = 255;

    /// <summary>Reference to the top of the trie; 0: no prefix but, perhaps, the one of length 0.</summary>
    public uint Child;

    /// <summary>The entry of the prefix of length 0; 0: there is none.</summary>
    public uint Default;

    public FibFamily Family;   // None: the slot is free
    public uint TableId;       // RT_TABLE_*
    public uint Prefixes;
    public uint Reserved0, Reserved1, Reserved2;
}

/// <summary>
/// The tries of one VRF: a tree bitmap (Eatherton, Varghese, Dittia 2004) with strides of 6 bits. A node holds its
/// prefixes itself, nothing is pushed down, so that a change touches one node; a subtree of one prefix is a leaf that
/// carries the prefix; a big table has arrays in place of its upper nodes.
/// </summary>
/// <remarks>
/// Body: a header, the roots, then units of 16 bytes (unit 0 is never used). A reference is one word: the offset of a block from
/// the first unit, and in its lowest bits what the block is.
///
///   node of level l   {children u64, prefixes u64, then one word per child, one entry per prefix}
///                     covers bits l..l+5 of the key. Bit v of children: there is a subtree for these 6 bits being v.
///                     Bit 2^r - 1 + p of prefixes: there is a prefix of length l + r (r 0..5) with these r bits being p.
///                     Bit 63 of prefixes: the level is 61 or 121, where the next 64 bits of the key have to be taken.
///   leaf              {key high u64, entry u32, 0, and if longer than 64: key low u64, 0}
///   array of level l  {FibArraySlot × 2^n, own entries u32 × 2^n}: at the top l is 0 and n 13 or, wide, 19; below that n is 12.
///                     A slot has the entry of the longest prefix of the array's lengths (l..l+n-1) over it, pushed down within
///                     the array only, and a subtree of level l + n. Own entry 2^r + p: the prefix of length l + r with bits p.
///                     Own entry 0 counts what the array holds.
///
/// Levels: the first node is of level -5 (one bit), so that the others are 1, 7, 13, 19, 25, 31, ... 127: the lengths 24, 32, 48,
/// 64 and 128 then end inside a node and not at the top of one more.
/// Writer: fpmd. Readers: workers, fpctl. Publication: a block is never changed once it can be found, but for its words
/// (a reference or an entry), each by one aligned store; what was replaced is reused after a grace period.
/// </remarks>
public static unsafe class FibTrieSegment
{
    public const int Roots = 1024, UnitBytes = 16;
    public const int FirstLevel = -5, Stride = 6, NodeHeaderWords = 4;
    public const int TopBits = 13, WideTopBits = 19, SecondBits = 12;

    /// <summary>The lowest bits of a reference; none of them: a node. Wide goes with Array.</summary>
    public const uint LeafFlag = 1, ArrayFlag = 2, WideFlag = 4, OffsetMask = ~15u;

    /// <summary>So that an offset and 6 bits fit in a word.</summary>
    public const int MaxUnits = 1 << 26;

    /// <summary>In a node's prefix bitmap: from here on the digits come from the next 64 bits of the key.</summary>
    public const ulong NextWindow = 1ul << 63;

    /// <summary>Behind the last unit: a lookup may read a word of a node that the node doesn't have, and ignores it.</summary>
    private const nuint Slack = 4096;

    public static nuint BodyLength(int units) =>
        (nuint)sizeof(FibTrieHeader) + ((nuint)Roots * (nuint)sizeof(FibRoot)) + ((nuint)units * UnitBytes) + Slack;

    public static FibTrieReader Reader(Segment s) => new(s.Body);

    /// <summary>The 6 bits of a key from <paramref name="level"/> on; what is beyond either end is 0.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int Digit(ulong high, ulong low, int level)
    {
        int end = level + Stride;
        ulong v = end <= 64 ? high >> (64 - end)
            : level >= 64 ? (end <= 128 ? low >> (128 - end) : low << (end - 128))
            : (high << (end - 64)) | (low >> (128 - end));
        return (int)v & 63;
    }

    /// <summary>The reverse of Digit: these 6 bits at their place in a key.</summary>
    public static FibKey AtLevel(int digit, int level)
    {
        ulong v = (ulong)digit;
        int end = level + Stride;
        return end <= 64 ? new FibKey(v << (64 - end), 0)
            : level >= 64 ? new FibKey(0, end <= 128 ? v << (128 - end) : v >> (end - 128))
            : new FibKey(v >> (end - 64), v << (128 - end));
    }

    public static bool IsWindowLevel(int level) => level is 61 or 121;

    /// <summary>The level of an array where a node would be of this level.</summary>
    public static int ArrayLevel(int level) => level == FirstLevel ? 0 : level;

    public static int ArrayBits(uint reference, int level) =>
        level != FirstLevel ? SecondBits : (reference & WideFlag) != 0 ? WideTopBits : TopBits;

    /// <summary>Which slot of an array a key falls into.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int ArrayIndex(ulong high, int arrayLevel, int bits) => (int)(high << arrayLevel >> (64 - bits));
}

/// <summary>Entry and Child change by one store each.</summary>
[StructLayout(LayoutKind.Sequential)]
public struct FibArraySlot
{
    public uint Child;
    public uint Entry;
}
