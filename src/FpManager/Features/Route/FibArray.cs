using System.Numerics;
using System.Runtime.InteropServices;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FpManager.Features.Route;

/// <summary>An array in place of the upper nodes of a trie, as its writer sees it (layout: SharedMemory/Tables/FibTrie/FibTrieTable.cs).</summary>
internal readonly unsafe struct FibArray
{
    private readonly int _bits, _level;

    /// <param name="level">The level that a node in its place would have.</param>
    public FibArray(byte* block, uint reference, int level)
    {
        _bits = FibTrieSegment.ArrayBits(reference, level);
        _level = FibTrieSegment.ArrayLevel(level);
        Slots = (FibArraySlot*)block;
    }

    public FibArraySlot* Slots { get; }

    public int Size => 1 << _bits;

    public int Units => UnitsFor(_bits);

    /// <summary>The level of what is below; prefixes of this length and longer are there.</summary>
    public int End => _level + _bits;

    /// <summary>2^r + p: the prefix that has the r bits p in this array.</summary>
    public uint* OwnEntries => (uint*)(Slots + Size);

    /// <summary>How many own entries and subtrees it holds.</summary>
    public uint* Holds => OwnEntries;

    public static int UnitsFor(int bits) => ((sizeof(FibArraySlot) + sizeof(uint)) << bits) / FibTrieSegment.UnitBytes;

    public FibArraySlot* SlotOf(FibKey key) => Slots + Index(key);

    public uint* Own(FibKey key, int length) => OwnEntries + (1 << (length - _level)) + (Index(key) >> (End - length));

    public FibKey KeyOfSlot(FibKey above, int index) => above with { High = above.High | ((ulong)index << (64 - End)) };

    public FibKey KeyOfOwn(FibKey above, int own)
    {
        int r = BitOperations.Log2((uint)own);
        return KeyOfSlot(above, (own - (1 << r)) << (_bits - r));
    }

    /// <summary>A prefix of its own that it didn't have.</summary>
    public void Put(FibKey key, int length, uint entry)
    {
        *Own(key, length) = entry;
        ++*Holds;
        Push(key, length, entry, onlyThis: false);
    }

    /// <returns>True when the array holds nothing any more.</returns>
    public bool Take(FibKey key, int length)
    {
        *Own(key, length) = 0;
        Push(key, length, Covering(Index(key), length - _level), onlyThis: true);
        return --*Holds == 0;
    }

    /// <summary>Writes an entry into the slots under a prefix: those that have a shorter one, or only those that have this.</summary>
    public void Push(FibKey key, int length, uint entry, bool onlyThis)
    {
        int first = Index(key), count = 1 << (End - length);
        for (int i = first; i < first + count; i++)
        {
            int depth = FibEntry.Depth(Slots[i].Entry);
            if (onlyThis ? depth == length : depth <= length)
            {
                Volatile.Write(ref Slots[i].Entry, entry);
            }
        }
    }

    /// <summary>Counts again what it holds and pushes again what isn't pushed, after a writer that died inside.</summary>
    public void Mend()
    {
        uint holds = 0;
        for (int i = 0; i < Size; i++)
        {
            holds += (Slots[i].Child != 0 ? 1u : 0) + (i > 0 && OwnEntries[i] != 0 ? 1u : 0);
            uint entry = Covering(i, _bits);
            if (Slots[i].Entry != entry)
            {
                Volatile.Write(ref Slots[i].Entry, entry);
            }
        }

        *Holds = holds;
    }

    private int Index(FibKey key) => FibTrieSegment.ArrayIndex(key.High, _level, _bits);

    /// <summary>The own entry of the longest prefix over a slot that has fewer than <paramref name="r"/> bits in the array.</summary>
    private uint Covering(int index, int r)
    {
        while (--r >= 0)
        {
            uint entry = OwnEntries[(1 << r) + (index >> (_bits - r))];
            if (entry != 0)
            {
                return entry;
            }
        }

        return 0;
    }
}
