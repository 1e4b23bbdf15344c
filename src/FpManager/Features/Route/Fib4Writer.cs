using System.Runtime.Intrinsics;
using FastPathSync.FpManager.Memory;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FpManager.Features.Route;

/// <summary>
/// Compiles prefixes into DIR-24-8 (layout and publication rule: SharedMemory/Tables/Fib4/Fib4Table.cs). Knows nothing of
/// routes: a prefix has one nexthop index. 0.0.0.0/0 never comes here: entry 0 means nexthop 0, the default.
/// </summary>
public sealed unsafe class Fib4Writer
{
    private readonly uint* _table24;
    private readonly uint* _groups;
    private readonly uint* _groupUse;
    private readonly int _groupCapacity;
    private readonly Reclaimer _reclaimer;
    private readonly Stack<int> _freeGroups = new();
    private readonly Action<ulong> _freeGroup;
    private int _groupHighWater;

    public Fib4Writer(uint* table24, uint* groups, uint* groupUse, int groupCapacity, Reclaimer reclaimer)
    {
        _table24 = table24;
        _groups = groups;
        _groupUse = groupUse;
        _groupCapacity = groupCapacity;
        _reclaimer = reclaimer;
        _freeGroup = group => _freeGroups.Push((int)group);
    }

    public static uint Entry(int depth, int nexthop) => ((uint)depth << Fib4Reader.DepthShift) | (uint)nexthop;

    /// <summary>Puts or replaces the nexthop of a prefix. False when there is no group left for a prefix longer than /24.</summary>
    /// <param name="added">True when the prefix was not there before.</param>
    public bool TrySet(uint prefix, int length, int nexthop, bool added)
    {
        uint entry = Entry(length, nexthop);
        if (length <= 24)
        {
            uint first = prefix >> 8, count = 1u << (24 - length);
            uint deeper = (uint)(length + 1) << Fib4Reader.DepthShift; // the least entry of a longer prefix; those of groups are greater
            for (uint i = first; i < first + count; i++)
            {
                // Each entry of a vector is stored whole: the table begins at a page, and no entry crosses a cache line.
                while (i % 8 == 0 && i + 8 <= first + count && Vector256.LessThanAll(Vector256.Load(_table24 + i), Vector256.Create(deeper)))
                {
                    Vector256.Store(Vector256.Create(entry), _table24 + i);
                    i += 8;
                }

                if (i == first + count)
                {
                    break;
                }

                uint e = _table24[i];
                if ((e & Fib4Reader.GroupFlag) != 0)
                {
                    uint* g = Group(e);
                    for (int k = 0; k < 256; k++)
                    {
                        if (Depth(g[k]) <= length)
                        {
                            Volatile.Write(ref g[k], entry);
                        }
                    }
                }
                else if (Depth(e) <= length)
                {
                    Volatile.Write(ref _table24[i], entry);
                }
            }

            return true;
        }

        ref uint slot = ref _table24[prefix >> 8];
        if ((slot & Fib4Reader.GroupFlag) == 0)
        {
            int group = AllocateGroup();
            if (group < 0)
            {
                return false;
            }

            uint* g = _groups + ((nint)group << 8);
            new Span<uint>(g, 256).Fill(slot);
            Fill(g, prefix, length, entry);
            _groupUse[group] = 1;
            Volatile.Write(ref slot, Fib4Reader.GroupFlag | (uint)group);
            return true;
        }

        Fill(Group(slot), prefix, length, entry);
        if (added)
        {
            _groupUse[slot & Fib4Reader.IndexMask]++;
        }

        return true;
    }

    /// <summary>The first address of a prefix is answered by it, or by a longer one.</summary>
    public bool Holds(uint prefix, int length, int nexthop)
    {
        uint e = _table24[prefix >> 8];
        if ((e & Fib4Reader.GroupFlag) != 0)
        {
            e = (e & Fib4Reader.IndexMask) < (uint)_groupHighWater ? Group(e)[prefix & 0xff] : 0;
        }

        return Depth(e) > length || e == Entry(length, nexthop);
    }

    /// <summary>Takes a prefix away; <paramref name="parent"/> is the entry of the longest shorter prefix over it, or 0.</summary>
    public void Remove(uint prefix, int length, uint parent)
    {
        if (length <= 24)
        {
            uint first = prefix >> 8, count = 1u << (24 - length);
            for (uint i = first; i < first + count; i++)
            {
                uint e = _table24[i];
                if ((e & Fib4Reader.GroupFlag) != 0)
                {
                    uint* g = Group(e);
                    for (int k = 0; k < 256; k++)
                    {
                        if (Depth(g[k]) == length)
                        {
                            Volatile.Write(ref g[k], parent);
                        }
                    }
                }
                else if (Depth(e) == length)
                {
                    Volatile.Write(ref _table24[i], parent);
                }
            }

            return;
        }

        ref uint slot = ref _table24[prefix >> 8];
        if ((slot & Fib4Reader.GroupFlag) == 0)
        {
            return;
        }

        uint* group = Group(slot);
        int from = (int)(prefix & 0xff), n = 1 << (32 - length);
        for (int k = from; k < from + n; k++)
        {
            if (Depth(group[k]) == length)
            {
                Volatile.Write(ref group[k], parent);
            }
        }

        int index = (int)(slot & Fib4Reader.IndexMask);
        if (--_groupUse[index] == 0)
        {
            // No prefix longer than 24 is left: all 256 entries are the same one.
            Volatile.Write(ref slot, group[0]);
            _reclaimer.Retire(_freeGroup, (ulong)index);
        }
    }

    /// <summary>After a restart: the groups that the table names are in use, the others free.</summary>
    public void TakeUpGroups()
    {
        HashSet<int> live = [];
        for (int i = 0; i < 1 << 24; i++)
        {
            if ((_table24[i] & Fib4Reader.GroupFlag) != 0)
            {
                live.Add((int)(_table24[i] & Fib4Reader.IndexMask));
            }
        }

        _groupHighWater = live.Count == 0 ? 0 : live.Max() + 1;
        for (int g = _groupHighWater - 1; g >= 0; g--)
        {
            if (!live.Contains(g))
            {
                _freeGroups.Push(g);
            }
        }
    }

    /// <summary>
    /// Makes the table equal to <paramref name="desired"/>, storing only entries that differ, so that traffic to prefixes
    /// that were right is never disturbed.
    /// </summary>
    /// <returns>How many entries had to be mended.</returns>
    /// <param name="complete">False when a group was missing.</param>
    public int PatchFrom(Fib4Reader desired, Func<int, uint> desiredGroupUse, out bool complete)
    {
        int mended = 0;
        complete = true;
        for (int i = 0; i < 1 << 24; i++)
        {
            uint want = desired.Table24[i], have = _table24[i];
            if ((want & Fib4Reader.GroupFlag) == 0)
            {
                if (have != want)
                {
                    Volatile.Write(ref _table24[i], want);
                    mended++;
                    if ((have & Fib4Reader.GroupFlag) != 0)
                    {
                        int old = (int)(have & Fib4Reader.IndexMask);
                        _reclaimer.Retire(_freeGroup, (ulong)old);
                    }
                }

                continue;
            }

            uint* wanted = desired.Groups + ((nint)(want & Fib4Reader.IndexMask) << 8);
            int group;
            if ((have & Fib4Reader.GroupFlag) != 0)
            {
                group = (int)(have & Fib4Reader.IndexMask);
                uint* g = _groups + ((nint)group << 8);
                for (int k = 0; k < 256; k++)
                {
                    if (g[k] != wanted[k])
                    {
                        Volatile.Write(ref g[k], wanted[k]);
                        mended++;
                    }
                }
            }
            else
            {
                group = AllocateGroup();
                if (group < 0)
                {
                    complete = false;
                    continue;
                }

                new Span<uint>(wanted, 256).CopyTo(new Span<uint>(_groups + ((nint)group << 8), 256));
                Volatile.Write(ref _table24[i], Fib4Reader.GroupFlag | (uint)group);
                mended++;
            }

            _groupUse[group] = desiredGroupUse((int)(want & Fib4Reader.IndexMask));
        }

        return mended;
    }

    private static int Depth(uint entry) => (int)(entry >> Fib4Reader.DepthShift) & 0x3f;

    private static void Fill(uint* group, uint prefix, int length, uint entry)
    {
        int from = (int)(prefix & 0xff), n = 1 << (32 - length);
        for (int k = from; k < from + n; k++)
        {
            if (Depth(group[k]) <= length)
            {
                Volatile.Write(ref group[k], entry);
            }
        }
    }

    private uint* Group(uint entry) => _groups + ((nint)(entry & Fib4Reader.IndexMask) << 8);

    private int AllocateGroup() =>
        _freeGroups.TryPop(out int g) ? g : _groupHighWater < _groupCapacity ? _groupHighWater++ : -1;
}
