using System.Runtime.InteropServices;
using FastPathSync.FpManager.Features.Nexthop;
using FastPathSync.SharedMemory;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FpManager.Features.Route;

/// <summary>
/// The IPv4 routes that one lookup sees, by prefix: those of local and main merged, or of one table alone. Says which of a
/// prefix's routes is in force, as fib_table_lookup (net/ipv4/fib_trie.c) walks them: local before main, then the lowest
/// metric that isn't dead.
/// </summary>
internal sealed class PrefixTable
{
    private readonly Dictionary<uint, Prefix>[] _prefixes = new Dictionary<uint, Prefix>[33];
    private readonly HashSet<(uint Destination, byte Length)> _shortLocal = [];
    private readonly RecordTableWriter<RouteRecord> _records;
    private readonly RouteChains _chains;
    private readonly NexthopStore _nexthops;
    private readonly IPrefixFib _fib;
    private readonly RoutePunts _punts;
    private readonly bool _merged;

    public PrefixTable(RecordTableWriter<RouteRecord> records, RouteChains chains, NexthopStore nexthops, RoutePunts punts, IPrefixFib fib, bool merged)
    {
        (_records, _chains, _nexthops, _punts, _fib, _merged) = (records, chains, nexthops, punts, fib, merged);
        for (int i = 0; i <= 32; i++)
        {
            _prefixes[i] = [];
        }
    }

    /// <summary>Head starts the chain of the prefix's routes, in no order; Nexthop is in the FIB.</summary>
    private struct Prefix
    {
        public int Head;      // record slot + 1
        public int Nexthop;   // NexthopStore.None: not in the FIB
    }

    public int PuntFull => _punts.TableFull;

    public void Link(in RouteRecord r, int slot)
    {
        ref Prefix p = ref CollectionsMarshal.GetValueRefOrAddDefault(_prefixes[r.PrefixLength], r.Destination, out _);
        _chains.Link(slot, ref p.Head);
    }

    public void Unlink(in RouteRecord r, int slot)
    {
        ref Prefix p = ref CollectionsMarshal.GetValueRefOrAddDefault(_prefixes[r.PrefixLength], r.Destination, out _);
        _chains.Unlink(slot, ref p.Head);
    }

    /// <summary>Puts the best route of a prefix into the FIB, or takes the prefix out when none is left.</summary>
    public bool Compile(uint destination, byte length)
    {
        ref Prefix p = ref CollectionsMarshal.GetValueRefOrNullRef(_prefixes[length], destination);
        int before = p.Nexthop, best = p.Nexthop = Best(p.Head, destination, length, out bool local);
        bool empty = p.Head == 0, room = true;
        if (best == NexthopStore.None && before != NexthopStore.None)
        {
            _fib.Remove(destination, length, this);
        }
        else if (best != before && !_fib.TrySet(destination, length, best, added: before == NexthopStore.None))
        {
            p.Nexthop = NexthopStore.None;
            room = false;
        }

        if (empty)
        {
            _prefixes[length].Remove(destination);
        }

        return room & Shadow(destination, length, local);
    }

    public bool Mend(out int mended)
    {
        mended = _fib.Mend(this, out bool complete);
        return complete;
    }

    /// <summary>Finds the best route of every prefix again and offers it; what is refused isn't in the FIB.</summary>
    public bool Recompile(Func<uint, int, int, bool> place)
    {
        bool complete = true;
        _shortLocal.Clear();
        for (byte length = 0; length <= 32; length++)
        {
            foreach (uint destination in _prefixes[length].Keys.ToList())
            {
                ref Prefix p = ref CollectionsMarshal.GetValueRefOrNullRef(_prefixes[length], destination);
                p.Nexthop = Best(p.Head, destination, length, out bool local);
                if (local && IsShort(destination, length))
                {
                    _shortLocal.Add((destination, length)); // seen before what is longer
                }

                if (p.Nexthop != NexthopStore.None && !place(destination, length, p.Nexthop))
                {
                    p.Nexthop = NexthopStore.None; // compiled again at its next renewal
                    complete = false;
                }
            }
        }

        return complete;
    }

    /// <summary>What is in the FIB.</summary>
    public IEnumerable<(FibKey Prefix, int Length)> Compiled() =>
        from length in Enumerable.Range(0, 33)
        from p in _prefixes[length]
        where p.Value.Nexthop != NexthopStore.None
        select (FibKey.Ipv4(p.Key), length);

    public int NexthopOf(uint destination, int length) =>
        _prefixes[length].TryGetValue(destination, out Prefix p) ? p.Nexthop : NexthopStore.None;

    /// <summary>The FIB entry of the longest shorter prefix over this one; 0: only the default is.</summary>
    public uint ParentEntry(uint destination, int length)
    {
        for (int l = length - 1; l > 0; l--)
        {
            if (_prefixes[l].TryGetValue(destination & Mask(l), out Prefix p) && p.Nexthop != NexthopStore.None)
            {
                return FibEntry.Make(l, p.Nexthop);
            }
        }

        return 0;
    }

    private static uint Mask(int length) => length == 0 ? 0 : uint.MaxValue << (32 - length);

    private int Best(int head, uint destination, byte length, out bool local)
    {
        int best = -1;
        bool tos = false;
        for (int s = head; s != 0; s = _chains.After(s))
        {
            RouteRecord r = _records[s - 1];
            tos |= r.Tos != 0;
            if (r.Tos == 0 && !_nexthops.IsDead(r.Nexthop) && (best < 0 || IsBetter(r, _records[best])))
            {
                best = s - 1;
            }
        }

        local = best >= 0 && _records[best].Table == RouteStore.TableLocal;
        return best < 0 && !tos ? NexthopStore.None
            : !local && IsShadowed(destination, length) ? _punts.Local
            : tos ? _punts.TosRoute // which packets take a route for one TOS is Linux's to say
            : _records[best].Nexthop;
    }

    private static bool IsBetter(in RouteRecord a, in RouteRecord b) =>
        a.Table != b.Table ? a.Table > b.Table : a.Metric < b.Metric;

    /// <summary>127/8 aside: no packet with such a destination is ever looked up.</summary>
    private bool IsShort(uint destination, byte length) => _merged && length < 32 && destination >> 24 != 127;

    /// <summary>
    /// A local-table prefix above a longer one of main: a kernel that once had rules of its own looks local up first and
    /// alone (fib_unmerge), another takes the longer one. It doesn't tell which it is, so that what both cover is Linux's.
    /// </summary>
    private bool IsShadowed(uint destination, byte length)
    {
        foreach ((uint d, byte l) in _shortLocal)
        {
            if (l < length && ((d ^ destination) & Mask(l)) == 0)
            {
                return true;
            }
        }

        return false;
    }

    /// <summary>A prefix of the local table came or went: what is below it is judged again.</summary>
    private bool Shadow(uint destination, byte length, bool local)
    {
        if (!IsShort(destination, length) || (local ? !_shortLocal.Add((destination, length)) : !_shortLocal.Remove((destination, length))))
        {
            return true;
        }

        bool room = true;
        for (byte l = (byte)(length + 1); l <= 32; l++)
        {
            foreach (uint below in _prefixes[l].Keys.Where(d => ((d ^ destination) & Mask(length)) == 0).ToList())
            {
                room &= Compile(below, l);
            }
        }

        return room;
    }
}

/// <summary>Lists of route records by slot: each record stands in at most one.</summary>
internal sealed class RouteChains
{
    private int[] _next = [];

    /// <summary>The slot + 1 that follows; 0: none.</summary>
    public int After(int slotPlusOne) => _next[slotPlusOne - 1];

    public void Link(int slot, ref int head)
    {
        if (slot >= _next.Length)
        {
            Array.Resize(ref _next, Math.Max(Math.Max(slot + 1, 64), _next.Length * 2));
        }

        _next[slot] = head;
        head = slot + 1;
    }

    public void Unlink(int slot, ref int head)
    {
        if (head == slot + 1)
        {
            head = _next[slot];
            return;
        }

        int s = head;
        while (_next[s - 1] != slot + 1)
        {
            s = _next[s - 1];
        }

        _next[s - 1] = _next[slot];
    }
}

/// <summary>Nexthops that hand what Linux must judge to Linux.</summary>
internal sealed class RoutePunts(NexthopStore nexthops)
{
    public int TosRoute { get; } = nexthops.Acquire(NexthopSpec.Punt(PuntReason.TosRoute));

    public int Local { get; } = nexthops.Acquire(NexthopSpec.Punt(PuntReason.Local));

    public int TableFull { get; } = nexthops.Acquire(NexthopSpec.Punt(PuntReason.TableFull));
}
