using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics.X86;

namespace FastPathSync.SharedMemory.Tables;

/// <summary>Lookups in the tries of one VRF (layout and publication rule: FibTrieTable.cs).</summary>
public readonly unsafe struct FibTrieReader
{
    /// <summary>The most addresses that one call looks up.</summary>
    public const int BatchSize = 64;

    private readonly FibRoot* _roots;
    private readonly byte* _units;

    public FibTrieReader(byte* body)
    {
        _roots = (FibRoot*)(body + sizeof(FibTrieHeader));
        _units = (byte*)(_roots + FibTrieSegment.Roots);
    }

    public FibTrieHeader* Header => (FibTrieHeader*)_roots - 1;

    public FibRoot* Roots => _roots;

    public byte* Units => _units;

    /// <summary>The root slot of a table, or -1. Not for the packet path: it searches.</summary>
    public int Find(FibFamily family, uint tableId)
    {
        for (int slot = 0; slot < Header->Roots; slot++)
        {
            if (_roots[slot].Family == family && _roots[slot].TableId == tableId)
            {
                return slot;
            }
        }

        return -1;
    }

    /// <summary>The entry (see FibEntry) of the longest prefix over a key; 0: nothing covers it.</summary>
    public uint Lookup(int slot, FibKey key)
    {
        FibRoot* root = _roots + slot;
        uint best = root->Default;
        uint reference = Volatile.Read(ref root->Child);
        int level = FibTrieSegment.FirstLevel;
        while ((reference & FibTrieSegment.ArrayFlag) != 0)
        {
            int bits = FibTrieSegment.ArrayBits(reference, level);
            level = FibTrieSegment.ArrayLevel(level);
            FibArraySlot* slotOfKey = (FibArraySlot*)Block(reference) + FibTrieSegment.ArrayIndex(key.High, level, bits);
            reference = Volatile.Read(ref slotOfKey->Child);
            best = slotOfKey->Entry != 0 ? slotOfKey->Entry : best;
            level += bits;
        }

        for (; reference != 0; level += FibTrieSegment.Stride)
        {
            byte* block = Block(reference);
            if ((reference & FibTrieSegment.LeafFlag) != 0)
            {
                return LeafCovers(block, key.High, key.Low, out uint entry) ? entry : best;
            }

            ulong children = ((ulong*)block)[0], prefixes = ((ulong*)block)[1];
            int v = FibTrieSegment.Digit(key.High, key.Low, level);
            if ((prefixes & FibTrieBatch.Covering[v]) != 0)
            {
                best = Volatile.Read(ref *EntryOf(block, children, prefixes, v));
            }

            if (((children >> v) & 1) == 0)
            {
                return best;
            }

            reference = Volatile.Read(ref ChildrenOf(block)[BitOperations.PopCount(children & ((1ul << v) - 1))]);
        }

        return best;
    }

    public uint Lookup(int slot, uint ipv4Address) => Lookup(slot, FibKey.Ipv4(ipv4Address));

    /// <summary>Fetches what the lookup of these keys will read first, where that is a big array: to be called a burst ahead.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Prefetch(int slot, FibKey* keys, int count)
    {
        uint top = Volatile.Read(ref _roots[slot].Child);
        if ((top & FibTrieSegment.WideFlag) != 0)
        {
            FibArraySlot* slots = (FibArraySlot*)Block(top);
            for (int i = 0; i < count; i++)
            {
                Sse.Prefetch1(slots + FibTrieSegment.ArrayIndex(keys[i].High, 0, FibTrieSegment.WideTopBits));
            }
        }
    }

    /// <summary>As Lookup, for up to BatchSize addresses at once: level by level, so that the cache misses of a batch overlap.</summary>
    public void Lookup(int slot, FibKey* keys, uint* entries, int count) =>
        FibTrieBatch.Lookup(_units, _roots + slot, keys, entries, count);

    /// <summary>As Lookup, for up to BatchSize IPv4 addresses (host byte order) at once.</summary>
    [SkipLocalsInit]
    public void Lookup(int slot, uint* ipv4Addresses, uint* entries, int count)
    {
        FibKey* keys = stackalloc FibKey[BatchSize];
        for (int i = 0; i < count; i++)
        {
            keys[i] = FibKey.Ipv4(ipv4Addresses[i]);
        }

        Lookup(slot, keys, entries, count);
    }

    /// <summary>Where a node keeps the references to its subtrees, in the order of their bits.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static uint* ChildrenOf(byte* node) => (uint*)node + FibTrieSegment.NodeHeaderWords;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool LeafCovers(byte* leaf, ulong high, ulong low, out uint entry)
    {
        entry = Volatile.Read(ref *(uint*)(leaf + 8));
        int depth = FibEntry.Depth(entry);
        ulong x = high ^ *(ulong*)leaf;
        return depth <= 64 ? x >> (64 - depth) == 0 : x == 0 && (low ^ *(ulong*)(leaf + 16)) >> (128 - depth) == 0;
    }

    /// <summary>The entry of the longest of a node's prefixes over v; there must be one.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static uint* EntryOf(byte* node, ulong children, ulong prefixes, int v)
    {
        int longest = 63 - BitOperations.LeadingZeroCount(prefixes & FibTrieBatch.Covering[v]);
        int before = BitOperations.PopCount(prefixes & ((1ul << longest) - 1));
        return ChildrenOf(node) + BitOperations.PopCount(children) + before;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private byte* Block(uint reference) => _units + (reference & FibTrieSegment.OffsetMask);
}
