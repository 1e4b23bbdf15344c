using System.Collections;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FpManager.Features.Route;

/// <summary>When a table, or a part of one, has become worth an array in place of its nodes; and what a restart takes up.</summary>
public sealed unsafe partial class FibTrieWriter
{
    /// <summary>A table of so many prefixes gets an array at the top (96 KB), of so many a wide one (6 MB, of which touched pages count).</summary>
    private const int BigTable = 4096, WideTable = 32768;

    /// <summary>So many prefixes under one slot of the top get an array of their own (48 KB).</summary>
    private const int DenseUnderTop = 1024, DenseUnderWideTop = 128;

    /// <summary>After a prefix more. Without room for an array everything stays as it is, and is tried again at the next multiple.</summary>
    private void Grow(int slot, FibKey prefix, int length)
    {
        FibRoot* root = _reader.Roots + slot;
        bool array = (root->Child & FibTrieSegment.ArrayFlag) != 0, wide = array && (root->Child & FibTrieSegment.WideFlag) != 0;
        if (!wide && root->Prefixes % WideTable == 0)
        {
            Rebuild(slot, FibTrieSegment.ArrayFlag | FibTrieSegment.WideFlag, FibTrieSegment.WideTopBits);
        }
        else if (!array && root->Prefixes % BigTable == 0)
        {
            Rebuild(slot, FibTrieSegment.ArrayFlag, FibTrieSegment.TopBits);
        }
        else if (array && CountUnderTop(slot, prefix, length, +1) is int n && n % (wide ? DenseUnderWideTop : DenseUnderTop) == 0)
        {
            Densify(slot, prefix);
        }
    }

    private void Rebuild(int slot, uint flags, int bits)
    {
        FibRoot* root = _reader.Roots + slot;
        if (!ToArray(&root->Child, FibTrieSegment.FirstLevel, default, flags, bits))
        {
            return;
        }

        _underTop[slot] = new ushort[1 << bits];
        CountAllUnderTop(slot);
        FibArray top = ArrayAt(root->Child, FibTrieSegment.FirstLevel);
        for (int i = 0; i < top.Size; i++)
        {
            if (_underTop[slot][i] >= (bits == FibTrieSegment.WideTopBits ? DenseUnderWideTop : DenseUnderTop))
            {
                Densify(slot, top.KeyOfSlot(default, i));
            }
        }
    }

    /// <summary>An array for what is under one slot of the top.</summary>
    private void Densify(int slot, FibKey key)
    {
        FibArray top = ArrayAt(_reader.Roots[slot].Child, FibTrieSegment.FirstLevel);
        uint* where = &top.SlotOf(key)->Child;
        if (*where != 0 && (*where & FibTrieSegment.ArrayFlag) == 0)
        {
            ToArray(where, top.End, key.Prefix(top.End), FibTrieSegment.ArrayFlag, FibTrieSegment.SecondBits);
        }
    }

    /// <summary>Builds what is here anew with an array at its top, where no worker can see it, and publishes it by one store.</summary>
    private bool ToArray(uint* where, int level, FibKey key, uint flags, int bits)
    {
        uint old = *where;
        _removing = false;
        uint made = Make(FibArray.UnitsFor(bits));
        _made.Clear();
        if (made == 0)
        {
            return false;
        }

        _arena.Zero(UnitOf(made), FibArray.UnitsFor(bits));
        *_scratch = made | flags;
        _unseen = true;
        bool complete = true;
        EachPrefix(old, level, key, (prefix, entry) =>
        {
            if (complete)
            {
                Find(_scratch, level, prefix, FibEntry.Depth(entry), out int last);
                complete = Insert(prefix, FibEntry.Depth(entry), last, entry);
                if (complete)
                {
                    Commit();
                }
                else
                {
                    Rollback();
                }
            }
        });
        _unseen = false;
        if (!complete)
        {
            EachBlock(*_scratch, level, _arena.Release);
            return false;
        }

        Volatile.Write(ref *where, *_scratch);
        EachBlock(old, level, _arena.Retire);
        return true;
    }

    /// <summary>How many prefixes are under a slot of the top, as far as a ushort can count (it stays at its end then); null without a top.</summary>
    private int? CountUnderTop(int slot, FibKey prefix, int length, int by)
    {
        if (!_underTop.TryGetValue(slot, out ushort[]? under))
        {
            return null;
        }

        FibArray top = ArrayAt(_reader.Roots[slot].Child, FibTrieSegment.FirstLevel);
        if (length < top.End)
        {
            return null;
        }

        ref ushort n = ref under[top.SlotOf(prefix) - top.Slots];
        n += n == ushort.MaxValue ? (ushort)0 : (ushort)by;
        return n;
    }

    private void CountAllUnderTop(int slot) => EachPrefix(
        _reader.Roots[slot].Child, FibTrieSegment.FirstLevel, default, (key, entry) => CountUnderTop(slot, key, FibEntry.Depth(entry), +1));

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
                _underTop[slot] = new ushort[ArrayAt(root->Child, FibTrieSegment.FirstLevel).Size];
                CountAllUnderTop(slot);
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

        FibArray array = ArrayAt(*where, level);
        if (level == FibTrieSegment.FirstLevel)
        {
            for (int i = 0; i < array.Size; i++)
            {
                MendArrays(&array.Slots[i].Child, array.End);
            }
        }

        array.Mend();
        if (*array.Holds == 0)
        {
            Volatile.Write(ref *where, 0);
        }
    }
}
