using System.Numerics;
using System.Runtime.InteropServices;
using FastPathSync.FpManager.Memory;
using FastPathSync.SharedMemory;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FpManager.Features.Route;

/// <summary>
/// Compiles prefixes of both families into the tries of one VRF (layout and publication rule:
/// SharedMemory/Tables/FibTrie/FibTrieTable.cs). Knows nothing of routes: a prefix of a table has one nexthop index, not 0.
/// </summary>
/// <remarks>
/// Canonical: a subtree of one prefix is a leaf, one of none isn't there; so what was removed leaves nothing behind.
/// Every change either makes all its blocks and then publishes them by one store, or gives them back and returns false.
/// </remarks>
public sealed unsafe partial class FibTrieWriter
{
    private readonly FibTrieReader _reader;
    private readonly FibTrieArena _arena;
    private readonly Reclaimer _reclaimer;
    private readonly HashSet<int> _closing = [];
    private readonly Dictionary<int, ushort[]> _underTop = [];
    private readonly uint* _scratch = (uint*)NativeMemory.AllocZeroed(sizeof(uint));
    private readonly List<(uint Unit, int Size)> _made = [];
    private readonly List<(uint Unit, int Size)> _dropped = [];
    private readonly Step[] _path = new Step[32];
    private bool _removing, _unseen;

    /// <summary>Attaches to the tries as they stand, and mends what a writer that died inside an array left half done.</summary>
    public FibTrieWriter(Segment segment, Reclaimer reclaimer)
    {
        _reader = FibTrieSegment.Reader(segment);
        _reclaimer = reclaimer;
        _arena = new FibTrieArena(_reader, (int)segment.Header.Capacity, reclaimer);
        if (_reader.Header->Roots != 0)
        {
            TakeUp();
        }
    }

    /// <summary>Where a reference was found on the way down, and of which level what it names is (a node's, unless it is an array).</summary>
    private struct Step
    {
        public uint* Where;
        public int Level;
    }

    public FibTrieReader Reader => _reader;

    /// <summary>Units of FibTrieSegment.UnitBytes in use, or waiting for a grace period.</summary>
    public int UsedUnits => _arena.Used;

    public int Count(int slot) => (int)_reader.Roots[slot].Prefixes;

    /// <summary>The root slot of a table, made if there is none. -1: all slots are taken.</summary>
    public int Open(FibFamily family, uint tableId)
    {
        int slot = _reader.Find(family, tableId);
        if (slot >= 0)
        {
            return slot;
        }

        for (slot = 0; slot < FibTrieSegment.Roots; slot++)
        {
            FibRoot* r = _reader.Roots + slot;
            if (slot == _reader.Header->Roots || (r->Family == FibFamily.None && !_closing.Contains(slot)))
            {
                _reader.Header->Roots = Math.Max(_reader.Header->Roots, (uint)slot + 1);
                *r = new FibRoot { TableId = tableId };
                Volatile.Write(ref *(uint*)&r->Family, (uint)family);
                return slot;
            }
        }

        return -1;
    }

    /// <summary>Empties a table and gives its root slot back. Nobody may name the slot to workers any more.</summary>
    public void Close(int slot)
    {
        FibRoot* r = _reader.Roots + slot;
        Clear(slot);
        Volatile.Write(ref *(uint*)&r->Family, (uint)FibFamily.None);
        _closing.Add(slot);
        _reclaimer.Retire(() => _closing.Remove(slot));
    }

    /// <summary>Takes all prefixes out, by two stores.</summary>
    public void Clear(int slot)
    {
        FibRoot* r = _reader.Roots + slot;
        uint top = r->Child;
        Volatile.Write(ref r->Child, 0);
        Volatile.Write(ref r->Default, 0);
        r->Prefixes = 0;
        _underTop.Remove(slot);
        EachBlock(top, FibTrieSegment.FirstLevel, _arena.Retire);
    }

    /// <summary>The nexthop of exactly this prefix, 0 when it isn't there.</summary>
    public int Get(int slot, FibKey prefix, int length)
    {
        if (length == 0)
        {
            return FibEntry.Nexthop(_reader.Roots[slot].Default);
        }

        uint* found = Find(&_reader.Roots[slot].Child, FibTrieSegment.FirstLevel, prefix, length, out _);
        return found == null ? 0 : FibEntry.Nexthop(*found);
    }

    /// <summary>Puts or replaces the nexthop of a prefix (bits behind its length are zero). False, and nothing done, when the arena is full.</summary>
    public bool TrySet(int slot, FibKey prefix, int length, int nexthop)
    {
        FibRoot* root = _reader.Roots + slot;
        uint entry = FibEntry.Make(length, nexthop);
        if (length == 0)
        {
            root->Prefixes += root->Default == 0 ? 1u : 0;
            Volatile.Write(ref root->Default, entry);
            return true;
        }

        uint* found = Find(&root->Child, FibTrieSegment.FirstLevel, prefix, length, out int last);
        if (found != null)
        {
            Replace(found, prefix, length, last, entry);
            return true;
        }

        _removing = false;
        if (!Insert(prefix, length, last, entry))
        {
            Rollback();
            return false;
        }

        Commit();
        root->Prefixes++;
        Grow(slot, prefix, length);
        return true;
    }

    /// <summary>Takes a prefix away; that it isn't there is no error. False, and nothing done, only when the arena's reserve is used up.</summary>
    public bool TryRemove(int slot, FibKey prefix, int length)
    {
        FibRoot* root = _reader.Roots + slot;
        if (length == 0)
        {
            root->Prefixes -= root->Default != 0 ? 1u : 0;
            Volatile.Write(ref root->Default, 0);
            return true;
        }

        if (Find(&root->Child, FibTrieSegment.FirstLevel, prefix, length, out int last) == null)
        {
            return true;
        }

        _removing = true;
        if (!Delete(prefix, length, last))
        {
            Rollback();
            return false;
        }

        Commit();
        root->Prefixes--;
        CountUnderTop(slot, prefix, length, -1);
        return true;
    }

    /// <summary>Every prefix of a table.</summary>
    public void Each(int slot, Action<FibKey, int, int> prefix)
    {
        FibRoot* root = _reader.Roots + slot;
        if (root->Default != 0)
        {
            prefix(default, 0, FibEntry.Nexthop(root->Default));
        }

        EachPrefix(root->Child, FibTrieSegment.FirstLevel, default, (key, entry) => prefix(key, FibEntry.Depth(entry), FibEntry.Nexthop(entry)));
    }

    /// <summary>
    /// Makes a table hold exactly what is wanted, changing only what differs, so that traffic to prefixes that were right
    /// is never disturbed.
    /// </summary>
    /// <param name="nexthopOf">The wanted nexthop of a prefix, 0 for none.</param>
    /// <returns>How many prefixes had to be changed.</returns>
    /// <param name="complete">False when there was no room for all.</param>
    public int Mend(int slot, IEnumerable<(FibKey Prefix, int Length)> wanted, Func<FibKey, int, int> nexthopOf, out bool complete)
    {
        List<(FibKey, int)> wrong = [];
        Each(slot, (prefix, length, nexthop) =>
        {
            if (nexthopOf(prefix, length) != nexthop)
            {
                wrong.Add((prefix, length));
            }
        });
        int mended = wrong.Count;
        complete = true;
        foreach ((FibKey prefix, int length) in wrong)
        {
            int nexthop = nexthopOf(prefix, length);
            complete &= nexthop == 0 ? TryRemove(slot, prefix, length) : TrySet(slot, prefix, length, nexthop);
        }

        foreach ((FibKey prefix, int length) in wanted)
        {
            int nexthop = nexthopOf(prefix, length);
            if (nexthop != 0 && Get(slot, prefix, length) == 0)
            {
                mended++;
                complete &= TrySet(slot, prefix, length, nexthop);
            }
        }

        return mended;
    }

    /// <summary>
    /// The word that holds the entry of exactly this prefix, or null; looked for from a reference of this level down. The way to
    /// it, or to where it would be, is in _path[0..last].
    /// </summary>
    private uint* Find(uint* where, int level, FibKey key, int length, out int last)
    {
        for (last = 0; ; last++)
        {
            _path[last] = new Step { Where = where, Level = level };
            uint reference = *where;
            if (reference == 0)
            {
                return null;
            }

            byte* block = Block(reference);
            if ((reference & FibTrieSegment.LeafFlag) != 0)
            {
                return LeafIs(block, key, length) ? (uint*)(block + 8) : null;
            }

            if ((reference & FibTrieSegment.ArrayFlag) != 0)
            {
                FibArray array = ArrayAt(reference, level);
                if (length < array.End)
                {
                    uint* own = array.Own(key, length);
                    return *own == 0 ? null : own;
                }

                where = &array.SlotOf(key)->Child;
                level = array.End;
                continue;
            }

            (ulong children, ulong prefixes) = Bitmaps(block);
            if (length < level + FibTrieSegment.Stride)
            {
                int bit = PrefixBit(key, length, level);
                return ((prefixes >> bit) & 1) == 0 ? null : PrefixWord(block, bit);
            }

            int v = FibTrieSegment.Digit(key.High, key.Low, level);
            if (((children >> v) & 1) == 0)
            {
                return null;
            }

            where = ChildWord(block, v);
            level += FibTrieSegment.Stride;
        }
    }

    private void Replace(uint* found, FibKey prefix, int length, int last, uint entry)
    {
        uint old = *found;
        if (old == entry)
        {
            return;
        }

        Volatile.Write(ref *found, entry);
        if ((*_path[last].Where & FibTrieSegment.ArrayFlag) != 0)
        {
            ArrayAt(*_path[last].Where, _path[last].Level).Push(prefix, length, entry, onlyThis: true);
        }
    }

    /// <summary>A prefix that isn't there, at the end of the path that Find left.</summary>
    private bool Insert(FibKey prefix, int length, int last, uint entry)
    {
        (uint reference, int level) = (*_path[last].Where, _path[last].Level);
        byte* block = Block(reference);
        uint changed;
        if (reference == 0)
        {
            changed = MakeLeaf(prefix, entry);
        }
        else if ((reference & FibTrieSegment.LeafFlag) != 0)
        {
            changed = Fork(level, reference, prefix, length, entry);
        }
        else if ((reference & FibTrieSegment.ArrayFlag) != 0)
        {
            ArrayAt(reference, level).Put(prefix, length, entry);
            return true;
        }
        else
        {
            (ulong children, ulong prefixes) = Bitmaps(block);
            if (length < level + FibTrieSegment.Stride)
            {
                changed = Clone(block, children, prefixes | (1ul << PrefixBit(prefix, length, level)), entry);
            }
            else
            {
                uint leaf = MakeLeaf(prefix, entry);
                changed = leaf == 0 ? 0 : Clone(block, children | (1ul << FibTrieSegment.Digit(prefix.High, prefix.Low, level)), prefixes, leaf);
            }

            Drop(reference, level);
        }

        if (changed == 0)
        {
            return false;
        }

        Publish(last, changed);
        return true;
    }

    /// <summary>The prefix that Find has just found.</summary>
    private bool Delete(FibKey prefix, int length, int last)
    {
        (uint reference, int level) = (*_path[last].Where, _path[last].Level);
        byte* block = Block(reference);
        if ((reference & FibTrieSegment.ArrayFlag) != 0)
        {
            if (ArrayAt(reference, level).Take(prefix, length))
            {
                Drop(reference, level);
                Publish(last, 0);
            }

            return true;
        }

        if ((reference & FibTrieSegment.LeafFlag) == 0)
        {
            (ulong children, ulong prefixes) = Bitmaps(block);
            return Shrink(last, children, prefixes & ~(1ul << PrefixBit(prefix, length, level)), prefix);
        }

        Drop(reference, level);
        if (last == 0 || (*_path[last - 1].Where & FibTrieSegment.ArrayFlag) != 0)
        {
            Publish(last, 0);
            return true;
        }

        (ulong others, ulong itsPrefixes) = Bitmaps(Block(*_path[last - 1].Where));
        return Shrink(last - 1, others & ~(1ul << FibTrieSegment.Digit(prefix.High, prefix.Low, _path[last - 1].Level)), itsPrefixes, prefix);
    }

    /// <summary>A node that loses a child or a prefix: a smaller node takes its place, or a leaf does, and perhaps its parents' too.</summary>
    private bool Shrink(int at, ulong children, ulong prefixes, FibKey key)
    {
        uint reference = *_path[at].Where;
        byte* block = Block(reference);
        uint left = 0;
        if (children == 0 && ulong.IsPow2(prefixes))
        {
            int bit = BitOperations.TrailingZeroCount(prefixes);
            left = MakeLeaf(PrefixAt(key, _path[at].Level, bit).Prefix, *PrefixWord(block, bit));
        }
        else
        {
            if (prefixes == 0 && ulong.IsPow2(children))
            {
                left = *ChildWord(block, BitOperations.TrailingZeroCount(children));
            }

            if ((left & FibTrieSegment.LeafFlag) == 0)
            {
                left = Clone(block, children, prefixes, 0);
            }
        }

        if (left == 0)
        {
            return false;
        }

        Drop(reference, _path[at].Level);
        while ((left & FibTrieSegment.LeafFlag) != 0 && at > 0 && IsChain(*_path[at - 1].Where))
        {
            at--; // its only content was this
            Drop(*_path[at].Where, _path[at].Level);
        }

        Publish(at, left);
        return true;
    }

    /// <summary>Makes a step of the path name another thing. An array that holds nothing any more goes.</summary>
    private void Publish(int at, uint reference)
    {
        uint old = *_path[at].Where;
        Volatile.Write(ref *_path[at].Where, reference);
        if (at == 0 || (*_path[at - 1].Where & FibTrieSegment.ArrayFlag) == 0 || (old == 0) == (reference == 0))
        {
            return;
        }

        uint* holds = ArrayAt(*_path[at - 1].Where, _path[at - 1].Level).Holds;
        *holds += old == 0 ? 1 : uint.MaxValue;
        if (*holds == 0)
        {
            Drop(*_path[at - 1].Where, _path[at - 1].Level);
            Publish(at - 1, 0);
        }
    }

    /// <summary>What was replaced is reused after a grace period, or at once if no worker can have seen it.</summary>
    private void Commit()
    {
        foreach ((uint unit, int size) in _dropped)
        {
            if (_unseen)
            {
                _arena.Release(unit, size);
            }
            else
            {
                _arena.Retire(unit, size);
            }
        }

        _made.Clear();
        _dropped.Clear();
    }

    private void Rollback()
    {
        foreach ((uint unit, int size) in _made)
        {
            _arena.Release(unit, size);
        }

        _made.Clear();
        _dropped.Clear();
    }
}
