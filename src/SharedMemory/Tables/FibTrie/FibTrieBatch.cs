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

    /// <summary>For the 6 bits v of a key: the places in a node's prefix bitmap of all prefixes that cover v.</summary>
    public static readonly ulong* Covering = MakeCovering();

    [SkipLocalsInit]
    public static void Lookup(byte* units, FibRoot* root, FibKey* keys, uint* entries, int count)
    {
        State s;
        Unsafe.InitBlockUnaligned(&s, 0, State.Cleared);
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
                s.At[i] = leaf ? 0 : top;
                s.Leaf[(2 * i) + 1] = leaf ? top : 0;
                s.Bits[i] = keys[i].High >> -FibTrieSegment.FirstLevel;
            }

            n = FirstNodes(units, keys, count, &s);
            for (int i = 0; i < count; i++)
            {
                s.Bits[i] = keys[i].High << (FibTrieSegment.FirstLevel + FibTrieSegment.Stride);
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

    /// <summary>The top array, and the second where there is one; where not, the key's slot of the top stands in for it.</summary>
    private static void Arrays(byte* units, uint top, FibKey* keys, int count, State* s)
    {
        FibArraySlot* slots = (FibArraySlot*)(units + (top & FibTrieSegment.OffsetMask));
        int bits = FibTrieSegment.ArrayBits(top, FibTrieSegment.FirstLevel), shift = 64 - bits;
        for (int i = 0; i < count; i++)
        {
            ulong high = keys[i].High, slot = Volatile.Read(ref *(ulong*)(slots + (high >> shift)));
            uint child = (uint)slot, entry = (uint)(slot >> 32);
            s->Entry[(2 * i) + One(entry != 0)] = entry;
            s->Slot[i] = slot;
            ulong isArray = 0 - ((ulong)(child >> 1) & 1);
            byte* here = (byte*)(s->Slot + i);
            byte* second = units + (child & FibTrieSegment.OffsetMask) + ((high << bits >> (64 - FibTrieSegment.SecondBits)) * 8);
            byte* next = here + ((ulong)(second - here) & isArray);
            Sse.Prefetch0(next);
            s->Next[i] = (ulong)next;
            s->Bits[i] = high << bits << (int)(isArray & FibTrieSegment.SecondBits);
        }

        for (int i = 0; i < count; i++)
        {
            ulong slot = Volatile.Read(ref *(ulong*)s->Next[i]);
            uint child = (uint)slot, entry = (uint)(slot >> 32), isLeaf = child & FibTrieSegment.LeafFlag;
            Sse.Prefetch0(units + child);
            s->Entry[(2 * i) + One(entry != 0)] = entry;
            s->Leaf[(2 * i) + (int)isLeaf] = child;
            s->At[i] = child & (isLeaf - 1);
        }
    }

    /// <summary>The first node of all keys; those without one look into unit 0, where nothing is.</summary>
    /// <returns>How many are at a further node.</returns>
    private static int FirstNodes(byte* units, FibKey* keys, int count, State* s)
    {
        int n = 0;
        for (int i = 0; i < count; i++)
        {
            uint goesOn = Step(units, keys, i, s);
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
            uint goesOn = Step(units, keys, i, s);
            s->List[n] = (byte)i;
            n += (int)goesOn;
        }

        return n;
    }

    /// <returns>1 if the key is at a further node then.</returns>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static uint Step(byte* units, FibKey* keys, int i, State* s)
    {
        uint at = s->At[i];
        byte* node = units + at;
        ulong children = ((ulong*)node)[0], prefixes = ((ulong*)node)[1], bits = s->Bits[i];
        if ((long)prefixes < 0)
        {
            bits = s->Windows[i]++ == 0 ? (keys[i].High << 61) | (keys[i].Low >> 3) : keys[i].Low << 57;
        }

        int v = (int)(bits >> (64 - FibTrieSegment.Stride));
        s->Bits[i] = bits << FibTrieSegment.Stride;
        s->Best[(2 * i) + One((prefixes & Covering[v]) != 0)] = (at << 2) | (uint)v;
        uint goesOn = (uint)(children >> v) & 1;
        uint child = Volatile.Read(ref FibTrieReader.ChildrenOf(node)[Below(children, v)]) & (0 - goesOn);
        Sse.Prefetch0(units + child);
        uint isLeaf = child & FibTrieSegment.LeafFlag;
        s->Leaf[(2 * i) + (int)isLeaf] = child;
        s->At[i] = child;
        return goesOn ^ isLeaf;
    }

    /// <summary>A leaf that covers its key is the answer: it is longer than whatever is above it.</summary>
    /// <returns>How many keys have no such leaf.</returns>
    private static int Leaves(byte* units, FibKey* keys, uint* entries, int count, State* s)
    {
        int n = 0;
        for (int i = 0; i < count; i++)
        {
            byte* leaf = units + (s->Leaf[(2 * i) + 1] & FibTrieSegment.OffsetMask);
            bool covers = FibTrieReader.LeafCovers(leaf, keys[i].High, keys[i].Low, out uint entry);
            int yes = One(covers) & One(entry != 0);
            uint above = s->Entry[(2 * i) + 1];
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
            uint best = s->Best[(2 * i) + 1];
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
    private static int Below(ulong bitmap, int v) =>
        BitOperations.PopCount(Bmi2.X64.IsSupported ? Bmi2.X64.ZeroHighBits(bitmap, (ulong)v) : bitmap & ((1ul << v) - 1));

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

    /// <summary>What is known of each key of the batch.</summary>
    private struct State
    {
        public const uint Cleared = (3 * 8 * Size) + Size;

        // Pairs, of which the second counts: the entry that the arrays have for it, the leaf that it came to, and
        // the last node (its offset × 4, + the digit) that had a prefix over it.
        public fixed uint Entry[2 * Size];
        public fixed uint Leaf[2 * Size];
        public fixed uint Best[2 * Size];
        public fixed byte Windows[Size];  // how often the digits have gone on to the next 64 bits
        public fixed uint At[Size];       // the node that it is at
        public fixed ulong Bits[Size];    // what is left of the key, the next digit first
        public fixed ulong Slot[Size];    // its slot of the top array
        public fixed ulong Next[Size];    // where its slot of the second array is
        public fixed byte List[Size + 8]; // which keys are still under way
    }
}
