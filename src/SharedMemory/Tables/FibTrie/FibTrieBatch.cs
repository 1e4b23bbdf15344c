using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace FastPathSync.SharedMemory.Tables;

/// <summary>
/// The lookup of up to 64 keys at once. All keys go one step down before any goes the next, and the block that a key comes to
/// next is prefetched, so that the cache misses of a batch overlap. What differs from key to key (does it go on? to a
/// node or to a leaf? has the node a prefix over it?) is arithmetic, for as a branch it would be mispredicted: a value that
/// may be void is stored into a pair, at the place of the condition, so that the second of the pair has the last real one.
/// </summary>
internal static unsafe class FibTrieBatch
{
    private const int Size = FibTrieReader.BatchSize;

    /// <summary>From a block's address into the next cache line, unless the block begins a line: most nodes fit in there then.</summary>
    private const int NextLine = 56;

    /// <summary>For the 6 bits v of a key: the places in a node's prefix bitmap of all prefixes that cover v.</summary>
    public static readonly ulong* Covering = MakeCovering();

    [SkipLocalsInit]
    public static void Lookup(byte* units, FibRoot* root, FibKey* keys, uint* entries, int count)
    {
        State s;
        uint top = Volatile.Read(ref root->Child);
        int n;
        if ((top & FibTrieSegment.ArrayFlag) != 0)
        {
            Arrays(units, top, keys, count, &s);
            n = FirstNodes(units, keys, count, &s);
        }
        else
        {
            // One bit, at a block that is the same for all.
            bool leaf = (top & FibTrieSegment.LeafFlag) != 0;
            for (int i = 0; i < count; i++)
            {
                s.Row(i)->Begin(0, leaf ? top : 0, leaf ? 0 : top, keys[i].High >> -FibTrieSegment.FirstLevel);
            }

            n = FirstNodes(units, keys, count, &s);
            for (int i = 0; i < count; i++)
            {
                s.Row(i)->Bits = keys[i].High << (FibTrieSegment.FirstLevel + FibTrieSegment.Stride);
            }
        }

        while (n != 0)
        {
            n = Nodes(units, keys, n, &s);
        }

        n = Leaves(units, keys, entries, count, &s);
        Prefixes(units, entries, n, &s);
        Otherwise(entries, count, Volatile.Read(ref root->Default));
    }

    /// <summary>The top array, and the second where there is one.</summary>
    private static void Arrays(byte* units, uint top, FibKey* keys, int count, State* s)
    {
        ulong* slots = (ulong*)(units + (top & FibTrieSegment.OffsetMask));
        int bits = FibTrieSegment.ArrayBits(top, FibTrieSegment.FirstLevel), i = 0;
        if (Avx2.IsSupported)
        {
            int end = count & ~3;
            for (; i < end; i += 4)
            {
                FourInTop(units, slots, bits, keys + i, s->Row(i));
            }

            for (i = 0; i < end; i += 4)
            {
                FourInSecond(units, s->Row(i));
            }
        }

        for (; i < count; i++)
        {
            OneInArrays(units, slots, bits, keys[i].High, s->Row(i));
        }
    }

    private static void OneInArrays(byte* units, ulong* slots, int bits, ulong key, Row* row)
    {
        ulong slot = Volatile.Read(ref slots[key >> (64 - bits)]), above = slot;
        key <<= bits;
        if (((uint)slot & FibTrieSegment.ArrayFlag) != 0)
        {
            slot = Volatile.Read(ref ((ulong*)(units + ((uint)slot & FibTrieSegment.OffsetMask)))[key >> (64 - FibTrieSegment.SecondBits)]);
            key <<= FibTrieSegment.SecondBits;
        }

        bool leaf = ((uint)slot & FibTrieSegment.LeafFlag) != 0;
        row->Begin((uint)((slot >> 32 != 0 ? slot : above) >> 32), leaf ? (uint)slot : 0, leaf ? 0 : (uint)slot, key);
    }

    /// <summary>The same for four keys, in two passes: the first prefetches what the second reads.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void FourInTop(byte* units, ulong* slots, int bits, FibKey* keys, Row* row)
    {
        // {high, low} twice in each: the high ones come out as 0, 2, 1, 3.
        Vector256<ulong> two = Vector256.Load((ulong*)keys), other = Vector256.Load((ulong*)(keys + 2));
        Vector256<ulong> key = Avx2.Permute4x64(Avx2.UnpackLow(two, other), 0b11_01_10_00);
        Vector256<ulong> slot = Avx2.GatherVector256(slots, (key >>> (64 - bits)).AsInt64(), sizeof(ulong));
        key <<= bits;
        Vector256<ulong> second = (slot & Vector256.Create((ulong)FibTrieSegment.OffsetMask)) + ((key >>> (64 - FibTrieSegment.SecondBits)) << 3);
        slot.Store(&row->Slot);
        second.Store(&row->At);
        key.Store(&row->Bits);
        Prefetch(units, &row->At);
    }

    /// <summary>A slot is {child, entry}: what is wanted of it stays in the half where it stands.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void FourInSecond(byte* units, Row* row)
    {
        Vector256<ulong> slot = Vector256.Load(&row->Slot), above = slot, second = Vector256.Load(&row->At), key = Vector256.Load(&row->Bits);
        Vector256<ulong> array = Vector256<ulong>.Zero - ((slot >>> 1) & Vector256<ulong>.One);
        slot = Avx2.GatherMaskVector256(slot, (ulong*)units, second.AsInt64(), array, 1);
        key = Vector256.ConditionalSelect(array, key << FibTrieSegment.SecondBits, key);

        Vector256<ulong> entries = Vector256.Create(0xffff_ffff_0000_0000), leaf = Vector256<ulong>.Zero - (slot & Vector256<ulong>.One);
        Vector256<ulong> entry = slot & entries, child = slot & ~entries;
        entry |= above & entries & Vector256.Equals(entry, Vector256<ulong>.Zero);
        entry.Store((ulong*)&row->Entry);
        ((child & leaf) << 32).Store((ulong*)&row->Leaf);
        Vector256<ulong>.Zero.Store((ulong*)&row->Best);
        key.Store(&row->Bits);
        child.Store(&row->At);
        Prefetch(units, &row->At);
        Prefetch(units + NextLine, &row->At);
        (child & ~leaf).Store(&row->At);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Prefetch(byte* units, ulong* four)
    {
        Sse.Prefetch0(units + four[0]);
        Sse.Prefetch0(units + four[1]);
        Sse.Prefetch0(units + four[2]);
        Sse.Prefetch0(units + four[3]);
    }

    /// <summary>The first node of all keys; those without one look into unit 0, where nothing is.</summary>
    /// <returns>How many are at a further node.</returns>
    private static int FirstNodes(byte* units, FibKey* keys, int count, State* s)
    {
        int n = 0;
        for (int i = 0; i < count; i++)
        {
            uint goesOn = Step(units, keys + i, s->Row(i));
            s->List[n] = (byte)i;
            n += (int)goesOn;
        }

        return n;
    }

    private static int Nodes(byte* units, FibKey* keys, int count, State* s)
    {
        int n = 0;
        for (int j = 0; j < count; j++)
        {
            int i = s->List[j];
            uint goesOn = Step(units, keys + i, s->Row(i));
            s->List[n] = (byte)i;
            n += (int)goesOn;
        }

        return n;
    }

    /// <returns>1 if the key is at a further node then.</returns>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static uint Step(byte* units, FibKey* key, Row* row)
    {
        uint at = row->Node;
        byte* node = units + at;
        ulong children = ((ulong*)node)[0], prefixes = ((ulong*)node)[1], bits = row->Bits;
        if ((long)prefixes < 0)
        {
            bits = row->Window++ == 0 ? (key->High << 61) | (key->Low >> 3) : key->Low << 57;
        }

        ulong v = bits >> (64 - FibTrieSegment.Stride);
        row->Bits = bits << FibTrieSegment.Stride;
        row->Best.Set((prefixes & Covering[v]) != 0, (at << 2) | (uint)v);
        uint goesOn = (uint)(children >> (int)v) & 1;
        uint child = Volatile.Read(ref FibTrieReader.ChildrenOf(node)[Below(children, v)]) & (0 - goesOn);
        Sse.Prefetch0(units + child);
        uint isLeaf = child & FibTrieSegment.LeafFlag;
        row->Leaf.Set(isLeaf != 0, child);
        row->Node = child;
        return goesOn ^ isLeaf;
    }

    /// <summary>A leaf that covers its key is the answer: it is longer than whatever is above it.</summary>
    /// <returns>How many keys have no such leaf.</returns>
    private static int Leaves(byte* units, FibKey* keys, uint* entries, int count, State* s)
    {
        int n = 0;
        for (int i = 0; i < count; i++)
        {
            Row* row = s->Row(i);
            byte* leaf = units + (row->Leaf.Last & FibTrieSegment.OffsetMask);
            bool covers = FibTrieReader.LeafCovers(leaf, keys[i].High, keys[i].Low, out uint entry);
            int yes = One(covers) & One(entry != 0);
            uint above = row->Entry.Last;
            entries[i] = above ^ ((entry ^ above) & (uint)-yes);
            s->List[n] = (byte)i;
            n += yes ^ 1;
        }

        return n;
    }

    /// <summary>For the others, the entry of the last node on the way that had a prefix over the key, if there was one.</summary>
    private static void Prefixes(byte* units, uint* entries, int count, State* s)
    {
        for (int j = 0; j < count; j++)
        {
            int i = s->List[j];
            uint best = s->Row(i)->Best.Last;
            byte* node = units + ((best & ~63u) >> 2);
            uint entry = Volatile.Read(ref *FibTrieReader.EntryOf(node, ((ulong*)node)[0], ((ulong*)node)[1], (int)best & 63));
            entries[i] ^= (entry ^ entries[i]) & (uint)-One(best != 0);
        }
    }

    /// <summary>The prefix of length 0 for those that nothing else covers.</summary>
    private static void Otherwise(uint* entries, int count, uint otherwise)
    {
        int i = 0;
        Vector256<uint> all = Vector256.Create(otherwise);
        for (; i + 8 <= count; i += 8)
        {
            Vector256<uint> e = Vector256.Load(entries + i);
            (e | (all & Vector256.Equals(e, Vector256<uint>.Zero))).Store(entries + i);
        }

        for (; i < count; i++)
        {
            entries[i] = entries[i] == 0 ? otherwise : entries[i];
        }
    }

    /// <summary>How many bits below bit v are set.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static ulong Below(ulong bitmap, ulong v) =>
        (ulong)BitOperations.PopCount(Bmi2.X64.IsSupported ? Bmi2.X64.ZeroHighBits(bitmap, v) : bitmap & ((1ul << (int)v) - 1));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static int One(bool condition) => Unsafe.BitCast<bool, byte>(condition);

    private static ulong* MakeCovering()
    {
        ulong* covering = (ulong*)NativeMemory.AlignedAlloc(64 * sizeof(ulong), 64);
        for (int v = 0; v < 64; v++)
        {
            covering[v] = 0;
            for (int r = 0; r < FibTrieSegment.Stride; r++)
            {
                covering[v] |= 1ul << ((1 << r) - 1 + (v >> (FibTrieSegment.Stride - r)));
            }
        }

        return covering;
    }

    /// <summary>
    /// What is known of each key of the batch. A key's row begins 8 bytes behind the row before, and what it holds is a column apart: so
    /// what four neighbours hold is one vector, and what one holds stands at constant distances from one address.
    /// </summary>
    private struct State
    {
        private const int Columns = 5;

        public fixed ulong Rows[Columns * Size];
        public fixed byte List[Size + 8]; // which keys are still under way

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public Row* Row(int i) => (Row*)((ulong*)Unsafe.AsPointer(ref this) + i);
    }

    [StructLayout(LayoutKind.Explicit)]
    private struct Row
    {
        private const int Column = sizeof(ulong) * Size;

        [FieldOffset(0)]
        public ulong At;     // of the second array's slot, then of the node that the key is at

        [FieldOffset(0)]
        public uint Node;

        [FieldOffset(sizeof(uint))]
        public uint Window;  // how often the digits have gone on to the next 64 bits

        [FieldOffset(Column)]
        public ulong Bits;   // what is left of the key, the next digit first

        [FieldOffset(2 * Column)]
        public Pair Entry;   // the entry that the arrays have for it

        [FieldOffset(3 * Column)]
        public ulong Slot;   // its slot of the top array

        [FieldOffset(3 * Column)]
        public Pair Leaf;    // the leaf that it came to

        [FieldOffset(4 * Column)]
        public Pair Best;    // the last node (its offset × 4, + the digit) that had a prefix over it

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public void Begin(uint entry, uint leaf, uint node, ulong bits)
        {
            At = node;
            Bits = bits;
            Entry.Last = entry;
            Leaf.Last = leaf;
            Best.Last = 0;
        }
    }

    /// <summary>Void takes what doesn't count.</summary>
    private struct Pair
    {
        public uint Void, Last;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public void Set(bool counts, uint value) => ((uint*)Unsafe.AsPointer(ref this))[(nuint)One(counts)] = value;
    }
}
