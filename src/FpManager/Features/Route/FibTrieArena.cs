using System.Runtime.InteropServices;
using FastPathSync.FpManager.Memory;
using FastPathSync.Linux;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FpManager.Features.Route;

/// <summary>
/// Blocks of 16-byte units out of the arena of a FIB trie segment. A freed block is kept for the next of its size; only when the
/// arena is used up are neighbours joined and cut anew, so that no order of sizes can use it up for good.
/// </summary>
/// <remarks>Its books are private: after a restart they are made from the blocks that can still be found (TakeUp).</remarks>
internal sealed unsafe class FibTrieArena
{
    /// <summary>The largest node, in units; what is larger is an array.</summary>
    private const int Small = 33;

    private readonly FibTrieHeader* _header;
    private readonly byte* _units;
    private readonly Reclaimer _reclaimer;
    private readonly int _capacity;
    private readonly int _reserve;
    private readonly Stack<uint>[] _freeBySize = new Stack<uint>[Small + 1];
    private readonly List<(uint Unit, int Size)> _runs = [];
    private readonly Action<ulong> _reuse;
    private uint _next = 1, _end;
    private int _freedSinceJoin;

    public FibTrieArena(FibTrieReader reader, int capacity, Reclaimer reclaimer)
    {
        _header = reader.Header;
        _units = reader.Units;
        _capacity = capacity;
        _reserve = Math.Min(capacity / 32, 1 << 16);
        _reclaimer = reclaimer;
        _end = (uint)capacity;
        Free = capacity - 1;
        _reuse = what => Release((uint)what, (int)(what >> 32));
        for (int i = 0; i < _freeBySize.Length; i++)
        {
            _freeBySize[i] = new Stack<uint>();
        }
    }

    /// <summary>Units that nothing occupies and no worker may still be reading.</summary>
    public int Free { get; private set; }

    /// <summary>Units that are in use, or wait for a grace period.</summary>
    public int Used => _capacity - 1 - Free;

    /// <summary>A block, or 0 when there is none. A part of the arena is kept for removals, which need a little to give more.</summary>
    public uint Allocate(int size, bool removal)
    {
        if (Free - size < (removal ? 0 : _reserve))
        {
            return 0;
        }

        uint unit = Take(size);
        if (unit == 0 && _freedSinceJoin > Math.Max(size, _capacity / 64))
        {
            Join();
            unit = Take(size);
        }

        if (unit != 0)
        {
            Free -= size;
        }

        return unit;
    }

    /// <summary>Gives back what no worker can see.</summary>
    public void Release(uint unit, int size)
    {
        if (size > Small)
        {
            GiveBackPages(unit, size, out _);
        }

        Free += size;
        _freedSinceJoin += size;
        Keep(unit, size);
    }

    /// <summary>Makes a block all zero, which makes a large one sparse again.</summary>
    public void Zero(uint unit, int size)
    {
        byte* from = GiveBackPages(unit, size, out byte* to);
        byte* start = At(unit), end = At(unit + (uint)size);
        NativeMemory.Clear(start, (nuint)(from - start));
        NativeMemory.Clear(to, (nuint)(end - to));
    }

    /// <summary>Gives back what was published once: after a grace period.</summary>
    public void Retire(uint unit, int size) => _reclaimer.Retire(_reuse, ((ulong)size << 32) | unit);

    /// <summary>After a restart: everything but the marked units is free, at once where nothing ever was, else after a grace period.</summary>
    public void TakeUp(Func<uint, bool> isUsed)
    {
        _next = Math.Max(1, _header->Units);
        Free = (int)(_end - _next);
        for (uint i = 1, from = 1; i <= _next; i++)
        {
            if (i == _next || isUsed(i))
            {
                if (i > from)
                {
                    Retire(from, (int)(i - from));
                }

                from = i + 1;
            }
        }
    }

    private byte* At(uint unit) => _units + ((nuint)unit * FibTrieSegment.UnitBytes);

    /// <summary>The whole pages of a block become holes: zero, and without memory.</summary>
    private byte* GiveBackPages(uint unit, int size, out byte* to)
    {
        const nuint Page = 4096;
        byte* from = (byte*)(((nuint)At(unit) + Page - 1) / Page * Page);
        to = (byte*)((nuint)At(unit + (uint)size) / Page * Page);
        return from < to && Libc.madvise(from, (nuint)(to - from), Libc.MADV_REMOVE) == 0 ? from : to = At(unit);
    }

    private uint Take(int size)
    {
        if (size <= Small && _freeBySize[size].TryPop(out uint unit))
        {
            return unit;
        }

        while (_end - _next < size)
        {
            // The rest of this run is for smaller blocks; on with another run that is large enough.
            int i = _runs.FindLastIndex(r => r.Size >= size);
            if (i < 0)
            {
                return TakeLarger(size);
            }

            Keep(_next, (int)(_end - _next));
            (_next, _end) = (_runs[i].Unit, _runs[i].Unit + (uint)_runs[i].Size);
            _runs.RemoveAt(i);
        }

        unit = _next;
        _next += (uint)size;
        if (_next > _header->Units)
        {
            _header->Units = _next;
        }

        return unit;
    }

    private uint TakeLarger(int size)
    {
        for (int s = size + 1; s <= Small; s++)
        {
            if (_freeBySize[s].TryPop(out uint unit))
            {
                Keep(unit + (uint)size, s - size);
                return unit;
            }
        }

        return 0;
    }

    private void Keep(uint unit, int size)
    {
        if (size > Small)
        {
            _runs.Add((unit, size));
        }
        else if (size > 0)
        {
            _freeBySize[size].Push(unit);
        }
    }

    private void Join()
    {
        Keep(_next, (int)(_end - _next));
        List<(uint Unit, int Size)> all = [.. _runs];
        for (int s = 1; s <= Small; s++)
        {
            all.AddRange(_freeBySize[s].Select(u => (u, s)));
            _freeBySize[s].Clear();
        }

        _runs.Clear();
        (_next, _end) = (0, 0);
        all.Sort();
        for (int i = 0; i < all.Count;)
        {
            (uint unit, int size) = all[i++];
            while (i < all.Count && all[i].Unit == unit + size)
            {
                size += all[i++].Size;
            }

            Keep(unit, size);
        }

        _freedSinceJoin = 0;
    }
}
