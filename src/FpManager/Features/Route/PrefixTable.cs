using FastPathSync.FpManager.Features.Nexthop;
using FastPathSync.Linux.Collections;
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
    private readonly CompactMap<PrefixKey, Prefix> _prefixes = new();
    private readonly int[] _ofLength = new int[33];
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
    }

    private readonly record struct PrefixKey : ICompactKey<PrefixKey>
    {
        private readonly uint _lengthAndOne;

        public PrefixKey(uint destination, int length)
        {
            Destination = destination;
            _lengthAndOne = (uint)length + 1;
        }

        public uint Destination { get; }

        public int Length => (int)_lengthAndOne - 1;

        public bool IsUsed => _lengthAndOne != 0;

        public uint Hash
        {
            get
            {
                ulong h = (((ulong)Destination << 8) | _lengthAndOne) * 0x9e3779b97f4a7c15;
                return (uint)((h ^ (h >> 29)) * 0xbf58476d1ce4e5b9 >> 32);
            }
        }
    }

    /// <summary>Head starts the chain of the prefix's routes, in no order; Nexthop is in the FIB.</summary>
    private struct Prefix
    {
        public int Head;      // record slot + 1
        public int Nexthop;   // NexthopStore.None: not in the FIB
    }

    public int PuntFull => _punts.TableFull;

    /// <summary>The slot of the route of this identity, or -1.</summary>
    public int Find(uint table, uint destination, int length, byte tos, uint metric)
    {
        int at = _prefixes.Find(new PrefixKey(destination, length));
        for (int s = at < 0 ? 0 : _prefixes.Value(at).Head; s != 0; s = _chains.After(s))
        {
            ref RouteRecord r = ref _records[s - 1];
            if (r.Table == table && r.Metric == metric && r.Tos == tos)
            {
                return s - 1;
            }
        }

        return -1;
    }

    public void Link(in RouteRecord r, int slot)
    {
        int before = _prefixes.Count, at = _prefixes.FindOrAdd(new PrefixKey(r.Destination, r.PrefixLength));
        _ofLength[r.PrefixLength] += _prefixes.Count - before;
        _chains.Link(slot, ref _prefixes.Value(at).Head);
    }

    public void Unlink(in RouteRecord r, int slot) =>
        _chains.Unlink(slot, ref _prefixes.Value(_prefixes.Find(new PrefixKey(r.Destination, r.PrefixLength))).Head);

    /// <summary>Puts the best route of a prefix into the FIB, or takes the prefix out when none is left.</summary>
    public bool Compile(uint destination, byte length)
    {
        int at = _prefixes.Find(new PrefixKey(destination, length));
        ref Prefix p = ref _prefixes.Value(at);
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
            _prefixes.RemoveAt(at);
            _ofLength[length]--;
        }

        return room & Shadow(destination, length, local);
    }

    /// <summary>Puts a prefix into the FIB again if it isn't there as it should be.</summary>
    /// <returns>True when all was right.</returns>
    public bool TryMend(uint destination, byte length)
    {
        int nexthop = NexthopOf(destination, length);
        if (nexthop == NexthopStore.None || _fib.Holds(destination, length, nexthop))
        {
            return true;
        }

        _fib.TrySet(destination, length, nexthop, added: false);
        return false;
    }

    /// <summary>Gives back memory that a withdrawn table took.</summary>
    public void Trim() => _prefixes.Trim();

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
            for (int i = 0; _ofLength[length] > 0 && i < _prefixes.Capacity; i++)
            {
                if (!_prefixes.IsUsed(i) || _prefixes.Key(i).Length != length)
                {
                    continue;
                }

                uint destination = _prefixes.Key(i).Destination;
                ref Prefix p = ref _prefixes.Value(i);
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
    public IEnumerable<(FibKey Prefix, int Length)> Compiled()
    {
        for (int i = 0; i < _prefixes.Capacity; i++)
        {
            if (_prefixes.IsUsed(i) && _prefixes.Value(i).Nexthop != NexthopStore.None)
            {
                yield return (FibKey.Ipv4(_prefixes.Key(i).Destination), _prefixes.Key(i).Length);
            }
        }
    }

    public int NexthopOf(uint destination, int length)
    {
        int at = _prefixes.Find(new PrefixKey(destination, length));
        return at < 0 ? NexthopStore.None : _prefixes.Value(at).Nexthop;
    }

    /// <summary>The FIB entry of the longest shorter prefix over this one; 0: only the default is.</summary>
    public uint ParentEntry(uint destination, int length)
    {
        for (int l = length - 1; l > 0; l--)
        {
            int nexthop = _ofLength[l] == 0 ? NexthopStore.None : NexthopOf(destination & Mask(l), l);
            if (nexthop != NexthopStore.None)
            {
                return FibEntry.Make(l, nexthop);
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
            ref RouteRecord r = ref _records[s - 1];
            tos |= r.Tos != 0;
            if (r.Tos == 0 && !_nexthops.IsDead(r.Nexthop) && (best < 0 || IsBetter(in r, in _records[best])))
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
        List<PrefixKey> below = [];
        for (int i = 0; i < _prefixes.Capacity; i++)
        {
            PrefixKey k = _prefixes.Key(i);
            if (k.IsUsed && k.Length > length && ((k.Destination ^ destination) & Mask(length)) == 0)
            {
                below.Add(k);
            }
        }

        foreach (PrefixKey k in below.OrderBy(k => k.Length))
        {
            room &= Compile(k.Destination, (byte)k.Length);
        }

        return room;
    }
}

/// <summary>Nexthops that hand what Linux must judge to Linux.</summary>
internal sealed class RoutePunts(NexthopStore nexthops)
{
    public int TosRoute { get; } = nexthops.Acquire(NexthopSpec.Punt(PuntReason.TosRoute));

    public int Local { get; } = nexthops.Acquire(NexthopSpec.Punt(PuntReason.Local));

    public int TableFull { get; } = nexthops.Acquire(NexthopSpec.Punt(PuntReason.TableFull));
}
