using System.Collections;
using System.Numerics;
using System.Runtime.InteropServices;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FpManager.Features.Route;

/// <summary>The arrays that stand in place of the upper nodes of a big table, and what a restart takes up.</summary>
public sealed unsafe partial class FibTrieWriter
{
    /// <summary>A table of so many prefixes gets an array at the top (96 KB); again at each multiple, if there was no room for it.</summary>
    private const int BigTable = 4096;

    /// <summary>So many prefixes under one slot of it get an array of their own (48 KB).</summary>
    private const int DenseSubtree = 1024;

    private static int ArrayLevel(int level) => level == FibTrieSegment.FirstLevel ? FibTrieSegment.TopLevel : FibTrieSegment.SecondLevel;

    private static uint* OwnEntry(FibArraySlot* array, int level, FibKey key, int length)
    {
        int bits = FibTrieSegment.ArrayBits(level), r = length - level;
        return FibTrieSegment.OwnEntries(array, level) + (1 << r) + (FibTrieSegment.ArrayIndex(key.High, level) >> (bits - r));
    }

    private static void PutOwn(FibArraySlot* array, int level, FibKey key, int length, uint entry)
    {
        *OwnEntry(array, level, key, length) = entry;
        FibTrieSegment.OwnEntries(array, level)[0]++;
        Push(array, level, key, length, entry, onlyThis: false);
    }

    /// <returns>True when the array holds nothing any more.</returns>
    private static bool TakeOwn(FibArraySlot* array, int level, FibKey key, int length)
    {
        int bits = FibTrieSegment.ArrayBits(level);
        uint* own = FibTrieSegment.OwnEntries(array, level);
        *OwnEntry(array, level, key, length) = 0;
        Push(array, level, key, length, Covering(own, bits, FibTrieSegment.ArrayIndex(key.High, level), length - level), onlyThis: true);
        return --own[0] == 0;
    }

    /// <summary>The own entry of the longest prefix over a slot that has fewer than <paramref name="r"/> bits in the array.</summary>
    private static uint Covering(uint* own, int bits, int index, int r)
    {
        while (--r >= 0)
        {
            uint entry = own[(1 << r) + (index >> (bits - r))];
            if (entry != 0)
            {
                return entry;
            }
        }

        return 0;
    }

    /// <summary>Writes an entry into the slots under a prefix where no longer prefix is: those that have a shorter one, or only those that have this.</summary>
    private static void Push(FibArraySlot* array, int level, FibKey key, int length, uint entry, bool onlyThis)
    {
        int first = FibTrieSegment.ArrayIndex(key.High, level), count = 1 << (FibTrieSegment.ArrayBits(level) - (length - level));
        for (int i = first; i < first + count; i++)
        {
            int depth = FibEntry.Depth(array[i].Entry);
            if (onlyThis ? depth == length : depth <= length)
            {
                Volatile.Write(ref array[i].Entry, entry);
            }
        }
    }

    private static void EachOwn(FibArraySlot* array, int level, FibKey key, Action<FibKey, uint> prefix)
    {
        int bits = FibTrieSegment.ArrayBits(level);
        uint* own = FibTrieSegment.OwnEntries(array, level);
        for (int k = 1; k < 1 << bits; k++)
        {
            if (own[k] != 0)
            {
                int r = BitOperations.Log2((uint)k);
                prefix(SlotKey(key, level, (k - (1 << r)) << (bits - r)), own[k]);
            }
        }
    }

    private static FibKey SlotKey(FibKey key, int level, int index) =>
        new(key.High | ((ulong)index << (64 - level - FibTrieSegment.ArrayBits(level))), 0);

    private void EachInArray(FibArraySlot* array, int level, FibKey key, Action<FibKey, uint> prefix)
    {
        EachOwn(array, level, key, prefix);
        int bits = FibTrieSegment.ArrayBits(level);
        for (int i = 0; i < 1 << bits; i++)
        {
            EachPrefix(array[i].Child, level + bits, SlotKey(key, level, i), prefix);
        }
    }

    /// <summary>After a prefix more: whether the table, or a part of it, has become worth an array.</summary>
    private void Grow(int slot, FibKey prefix, int length)
    {
        FibRoot* root = _reader.Roots + slot;
        if ((root->Child & FibTrieSegment.ArrayFlag) == 0)
        {
            if (root->Prefixes % BigTable == 0 && ToArray(&root->Child, FibTrieSegment.FirstLevel, default))
            {
                CountUnderTop(slot);
            }

            return;
        }

        if (length < FibTrieSegment.TopBits)
        {
            return;
        }

        int i = FibTrieSegment.ArrayIndex(prefix.High, FibTrieSegment.TopLevel);
        if (++_underTop[slot][i] % DenseSubtree == 0)
        {
            FibArraySlot* top = (FibArraySlot*)Block(root->Child);
            if ((top[i].Child & FibTrieSegment.ArrayFlag) == 0)
            {
                ToArray(&top[i].Child, FibTrieSegment.SecondLevel, prefix.Prefix(FibTrieSegment.TopBits));
            }
        }
    }

    /// <summary>Puts an array in place of the nodes of its levels. Without room for one, nothing changes.</summary>
    private bool ToArray(uint* where, int level, FibKey key)
    {
        int arrayLevel = ArrayLevel(level);
        _removing = false;
        uint unit = Make(ArrayUnits(arrayLevel));
        if (unit == 0)
        {
            return false;
        }

        FibArraySlot* array = (FibArraySlot*)Block(unit);
        NativeMemory.Clear(array, (nuint)ArrayUnits(arrayLevel) * FibTrieSegment.UnitBytes);
        Absorb(array, arrayLevel, *where, level, key);
        Volatile.Write(ref *where, unit | FibTrieSegment.ArrayFlag);
        Commit();
        return true;
    }

    private void Absorb(FibArraySlot* array, int arrayLevel, uint reference, int level, FibKey key)
    {
        int end = arrayLevel + FibTrieSegment.ArrayBits(arrayLevel);
        byte* b = Block(reference);
        bool leaf = (reference & FibTrieSegment.LeafFlag) != 0;
        if (leaf && FibEntry.Depth(*(uint*)(b + 8)) < end)
        {
            PutOwn(array, arrayLevel, KeyOf(b), FibEntry.Depth(*(uint*)(b + 8)), *(uint*)(b + 8));
            Drop(reference, level);
            return;
        }

        if (leaf || level == end)
        {
            array[FibTrieSegment.ArrayIndex(leaf ? KeyOf(b).High : key.High, arrayLevel)].Child = reference;
            FibTrieSegment.OwnEntries(array, arrayLevel)[0]++;
            return;
        }

        (ulong children, ulong prefixes) = (((ulong*)b)[0], ((ulong*)b)[1]);
        for (; prefixes != 0; prefixes &= prefixes - 1)
        {
            int bit = BitOperations.TrailingZeroCount(prefixes);
            (FibKey prefix, int length) = PrefixAt(key, level, bit);
            PutOwn(array, arrayLevel, prefix, length, *PrefixWord(b, bit));
        }

        for (; children != 0; children &= children - 1)
        {
            int v = BitOperations.TrailingZeroCount(children);
            FibKey own = FibTrieSegment.AtLevel(v, level);
            Absorb(array, arrayLevel, *ChildWord(b, v), level + FibTrieSegment.Stride, new FibKey(key.High | own.High, key.Low | own.Low));
        }

        Drop(reference, level);
    }

    private void CountUnderTop(int slot)
    {
        int[] under = new int[1 << FibTrieSegment.TopBits];
        EachPrefix(_reader.Roots[slot].Child, FibTrieSegment.FirstLevel, default, (key, entry) =>
        {
            if (FibEntry.Depth(entry) >= FibTrieSegment.TopBits)
            {
                under[FibTrieSegment.ArrayIndex(key.High, FibTrieSegment.TopLevel)]++;
            }
        });
        _underTop[slot] = under;
    }

    /// <summary>After a restart: counts again, mends arrays, and finds the free units: those that no block has.</summary>
    private void TakeUp()
    {
        BitArray used = new((int)Math.Max(1, _reader.Header->Units));
        for (int slot = 0; slot < _reader.Header->Roots; slot++)
        {
            FibRoot* root = _reader.Roots + slot;
            if (root->Family == FibFamily.None)
            {
                Volatile.Write(ref root->Child, 0); // its writer died while it closed the table
                continue;
            }

            MendArrays(&root->Child, FibTrieSegment.FirstLevel);
            uint prefixes = root->Default == 0 ? 0u : 1;
            EachPrefix(root->Child, FibTrieSegment.FirstLevel, default, (_, _) => prefixes++);
            root->Prefixes = prefixes;
            EachBlock(root->Child, FibTrieSegment.FirstLevel, (unit, size) =>
            {
                for (int i = 0; i < size; i++)
                {
                    used[(int)unit + i] = true;
                }
            });
            if ((root->Child & FibTrieSegment.ArrayFlag) != 0)
            {
                CountUnderTop(slot);
            }
        }

        _arena.TakeUp(unit => used[(int)unit]);
    }

    private void MendArrays(uint* where, int level)
    {
        if ((*where & FibTrieSegment.ArrayFlag) == 0)
        {
            return;
        }

        int arrayLevel = ArrayLevel(level), bits = FibTrieSegment.ArrayBits(arrayLevel);
        FibArraySlot* array = (FibArraySlot*)Block(*where);
        uint* own = FibTrieSegment.OwnEntries(array, arrayLevel);
        uint held = 0;
        for (int i = 0; i < 1 << bits; i++)
        {
            if (arrayLevel == FibTrieSegment.TopLevel)
            {
                MendArrays(&array[i].Child, FibTrieSegment.SecondLevel);
            }

            held += (array[i].Child != 0 ? 1u : 0) + (i > 0 && own[i] != 0 ? 1u : 0);
            uint entry = Covering(own, bits, i, bits);
            if (array[i].Entry != entry)
            {
                Volatile.Write(ref array[i].Entry, entry);
            }
        }

        own[0] = held;
        if (held == 0)
        {
            Volatile.Write(ref *where, 0);
        }
    }
}
