using System.Runtime.InteropServices;
using FastPathSync.FpManager.Features.Nexthop;
using FastPathSync.SharedMemory;
using FastPathSync.SharedMemory.Tables;
using Wire = FastPathSync.Fpc.Protocol;

namespace FastPathSync.FpManager.Features.Route;

/// <summary>
/// IPv4 routes, and what is compiled from them. With the three default rules Linux looks local and main up as one trie
/// (fib_unmerge in net/ipv4/fib_frontend.c happens with the first rule of one's own, which demotes the VRF): the longest
/// prefix wins, then local before main, then the lowest metric whose nexthops aren't dead.
/// </summary>
public sealed class RouteStore
{
    public const uint TableDefault = 253, TableMain = 254, TableLocal = 255;

    private const byte ProtocolKernel = 2;

    private readonly RecordTableWriter<RouteRecord> _records;
    private readonly Dictionary<RouteKey, int> _slots = [];
    private readonly Dictionary<uint, Prefix>[] _prefixes = new Dictionary<uint, Prefix>[33];
    private readonly NexthopStore _nexthops;
    private readonly Fib4Writer _fib;
    private readonly int _puntTos;
    private int[] _next = new int[1024];

    public unsafe RouteStore(Segment segment, NexthopStore nexthops, Fib4Writer fib)
    {
        _records = new RecordTableWriter<RouteRecord>(segment.Body, Capacities.Routes);
        _nexthops = nexthops;
        _fib = fib;
        for (int i = 0; i <= 32; i++)
        {
            _prefixes[i] = [];
        }

        _puntTos = nexthops.Acquire(NexthopSpec.Punt(PuntReason.TosRoute));
        Restore();
    }

    /// <summary>The identity of a route; Destination in host byte order.</summary>
    public readonly record struct RouteKey(uint Table, uint Destination, byte Length, byte Tos, uint Metric);

    /// <summary>The routes of one prefix, best first only after Compile looked: Head starts the chain, Nexthop is in the FIB.</summary>
    private struct Prefix
    {
        public int Head;      // record slot + 1
        public int Nexthop;   // NexthopStore.None: not in the FIB
    }

    public int Count => _slots.Count;

    /// <summary>Local routes that a person added: Linux then validates sources by a full lookup (fib_validate_source).</summary>
    public int CustomLocalRoutes { get; private set; }

    /// <summary>Routes of table default other than 0.0.0.0/0: main must be missed first, which one table can't say.</summary>
    public int DefaultTablePrefixes { get; private set; }

    /// <returns>False when a table is full.</returns>
    public bool TryUpsert(Wire.Route wire, ulong generation)
    {
        RouteKey key = KeyOf(wire.Key);
        int nexthop = AcquireNexthop(wire);
        bool exists = _slots.TryGetValue(key, out int slot);
        if (nexthop == NexthopStore.None || (!exists && (slot = _records.Allocate()) < 0))
        {
            _nexthops.Release(nexthop);
            return false;
        }

        RouteRecord old = exists ? _records[slot] : default;
        RouteRecord r = new()
        {
            Table = key.Table,
            Destination = key.Destination,
            PrefixLength = key.Length,
            Tos = key.Tos,
            Type = (byte)wire.Type,
            Protocol = (byte)wire.Protocol,
            Scope = (byte)wire.Scope,
            Mtu = (ushort)Math.Min(wire.Mtu, 0xffff),
            Metric = key.Metric,
            PreferredSource = wire.PreferredSource,
            NexthopObject = wire.NexthopId,
            Nexthop = nexthop,
            Flags = wire.Flags,
            Generation = generation,
        };
        CountSpecial(old, -1);
        _records.Write(slot, r);
        CountSpecial(r, +1);
        if (!exists)
        {
            _slots[key] = slot;
            Link(key, slot);
        }

        bool room = Compile(key);
        if (exists)
        {
            _nexthops.Release(old.Nexthop);
        }

        return room;
    }

    public void Remove(Wire.RouteKey wire) => Remove(KeyOf(wire));

    public int Sweep(ulong generation)
    {
        List<RouteKey> stale = [.. _slots.Where(s => _records[s.Value].Generation != generation).Select(s => s.Key)];
        stale.ForEach(Remove);
        return stale.Count;
    }

    /// <summary>The last Repair found no room for some prefix.</summary>
    public bool IsIncomplete { get; private set; }

    /// <summary>Compiles all routes into a table of our own and mends the live one where it differs.</summary>
    /// <returns>How many entries were wrong.</returns>
    public unsafe int Repair()
    {
        using Linux.MemoryMapping scratch = Linux.MemoryMapping.Anonymous(Fib4Segment.BodyLength, 0, "fib scratch");
        uint* table24 = (uint*)scratch.Address;
        uint* groups = (uint*)(scratch.Address + (4 << 24));
        uint[] use = new uint[Capacities.Fib4Groups];
        int best = NexthopStore.None;
        IsIncomplete = false;
        fixed (uint* groupUse = use)
        {
            Fib4Writer desired = new(table24, groups, groupUse, Capacities.Fib4Groups, new Memory.Reclaimer(new NoWorkers()));
            for (int length = 0; length <= 32; length++)
            {
                foreach (uint destination in _prefixes[length].Keys.ToList())
                {
                    ref Prefix p = ref CollectionsMarshal.GetValueRefOrNullRef(_prefixes[length], destination);
                    p.Nexthop = Best(p.Head);
                    if (length == 0)
                    {
                        best = p.Nexthop;
                    }
                    else if (p.Nexthop != NexthopStore.None && !desired.TrySet(destination, length, p.Nexthop, added: true))
                    {
                        p.Nexthop = NexthopStore.None; // not in the FIB: compiled again at its next renewal
                        IsIncomplete = true;
                    }
                }
            }

            _nexthops.SetDefault(best);
            int mended = _fib.PatchFrom(new Fib4Reader(table24, groups), g => use[g], out bool complete);
            IsIncomplete |= !complete;
            return mended;
        }
    }

    private static RouteKey KeyOf(Wire.RouteKey k) => new(k.Table, k.Destination, (byte)Math.Min(k.PrefixLength, 32), (byte)k.Tos, k.Metric);

    private static RouteKey KeyOf(in RouteRecord r) => new(r.Table, r.Destination, r.PrefixLength, r.Tos, r.Metric);

    private static uint Mask(int length) => length == 0 ? 0 : uint.MaxValue << (32 - length);

    private static bool IsCompiled(uint table, int length) =>
        table is TableMain or TableLocal || (table == TableDefault && length == 0);

    private void Remove(RouteKey key)
    {
        if (!_slots.Remove(key, out int slot))
        {
            return;
        }

        int nexthop = _records[slot].Nexthop;
        CountSpecial(_records[slot], -1);
        Unlink(key, slot);
        Compile(key);
        _nexthops.Release(nexthop);
        _records.Free(slot); // workers never look at route records
    }

    private void CountSpecial(in RouteRecord r, int by)
    {
        CustomLocalRoutes += r.Type == RouteTypes.Local && r.Table == TableLocal && r.Protocol != ProtocolKernel ? by : 0;
        DefaultTablePrefixes += r.Table == TableDefault && r.PrefixLength > 0 ? by : 0;
    }

    private int AcquireNexthop(Wire.Route wire)
    {
        uint ifindex = wire.Nexthops.Count > 0 ? wire.Nexthops[0].Ifindex : 0;
        switch (wire.Type)
        {
            case not 0 when wire.NexthopId != 0: // a blackhole object makes Linux call the route a blackhole
                return _nexthops.AcquireObject(wire.NexthopId, wire.Mtu);
            case RouteTypes.Unicast when wire.Nexthops.Count == 1:
                return _nexthops.Acquire(SpecOf(wire.Nexthops[0], wire.Mtu));
            case RouteTypes.Unicast when wire.Nexthops.Count > 1:
                List<(int, uint)> members = [.. wire.Nexthops.Select(n => (_nexthops.Acquire(SpecOf(n, wire.Mtu)), n.Weight))];
                return _nexthops.AcquireGroup(members);
            default:
                return _nexthops.Acquire(NexthopSpec.Punt(RouteTypes.PuntFor(wire.Type), ifindex));
        }
    }

    private static NexthopSpec SpecOf(Wire.RouteNexthop n, uint mtu) =>
        n.Encap ? NexthopSpec.Punt(PuntReason.Encapsulation, n.Ifindex)
        : NexthopSpec.Single(n.Ifindex, IpAddress.FromBytes(n.Gateway.Span), mtu, n.Flags);

    private void Link(RouteKey key, int slot)
    {
        if (!IsCompiled(key.Table, key.Length))
        {
            return;
        }

        if (slot >= _next.Length)
        {
            Array.Resize(ref _next, Math.Max(slot + 1, _next.Length * 2));
        }

        ref Prefix p = ref CollectionsMarshal.GetValueRefOrAddDefault(_prefixes[key.Length], key.Destination, out _);
        _next[slot] = p.Head;
        p.Head = slot + 1;
    }

    private void Unlink(RouteKey key, int slot)
    {
        if (!IsCompiled(key.Table, key.Length))
        {
            return;
        }

        ref Prefix p = ref CollectionsMarshal.GetValueRefOrAddDefault(_prefixes[key.Length], key.Destination, out _);
        if (p.Head == slot + 1)
        {
            p.Head = _next[slot];
            return;
        }

        int s = p.Head;
        while (_next[s - 1] != slot + 1)
        {
            s = _next[s - 1];
        }

        _next[s - 1] = _next[slot];
    }

    /// <summary>Puts the best route of a prefix into the FIB, or takes the prefix out when none is left.</summary>
    private bool Compile(RouteKey key)
    {
        if (!IsCompiled(key.Table, key.Length))
        {
            return true;
        }

        ref Prefix p = ref CollectionsMarshal.GetValueRefOrNullRef(_prefixes[key.Length], key.Destination);
        int best = Best(p.Head);
        int before = p.Nexthop;
        p.Nexthop = best;
        bool empty = p.Head == 0;
        if (best != before)
        {
            if (key.Length == 0)
            {
                _nexthops.SetDefault(best);
            }
            else if (best == NexthopStore.None)
            {
                _fib.Remove(key.Destination, key.Length, ParentEntry(key.Destination, key.Length));
            }
            else if (!_fib.TrySet(key.Destination, key.Length, best, added: before == NexthopStore.None))
            {
                p.Nexthop = NexthopStore.None;
                return false;
            }
        }

        if (empty)
        {
            _prefixes[key.Length].Remove(key.Destination);
        }

        return true;
    }

    private int Best(int head)
    {
        int best = -1;
        bool tos = false;
        for (int s = head; s != 0; s = _next[s - 1])
        {
            RouteRecord r = _records[s - 1];
            tos |= r.Tos != 0;
            if (r.Tos == 0 && !_nexthops.IsDead(r.Nexthop) && (best < 0 || IsBetter(r, _records[best])))
            {
                best = s - 1;
            }
        }

        // A route for one TOS only: which packets take it is Linux's to say.
        return tos ? _puntTos : best < 0 ? NexthopStore.None : _records[best].Nexthop;
    }

    private static bool IsBetter(in RouteRecord a, in RouteRecord b) =>
        a.Table != b.Table ? a.Table > b.Table : a.Metric < b.Metric;

    /// <summary>The FIB entry of the longest shorter prefix over this one; 0: only the default is.</summary>
    private uint ParentEntry(uint destination, int length)
    {
        for (int l = length - 1; l > 0; l--)
        {
            if (_prefixes[l].TryGetValue(destination & Mask(l), out Prefix p) && p.Nexthop != NexthopStore.None)
            {
                return Fib4Writer.Entry(l, p.Nexthop);
            }
        }

        return 0;
    }

    /// <summary>After a restart: takes the references that the records hold, and mends what is compiled from them.</summary>
    private void Restore()
    {
        foreach ((int slot, RouteRecord r) in _records.Reader.All().ToList())
        {
            RouteKey key = KeyOf(r);
            if (!_nexthops.IsUsed(r.Nexthop) || !_slots.TryAdd(key, slot))
            {
                _records.Free(slot); // its writer died in the middle; the resync brings it again
                continue;
            }

            _nexthops.AddReference(r.Nexthop);
            CountSpecial(r, +1);
            Link(key, slot);
        }

        if (_records.Reader.HighWater == 0)
        {
            return; // never a route: reading the empty FIB would make it resident
        }

        _fib.TakeUpGroups();
        Repair();
    }

    /// <summary>Nobody reads a table of our own.</summary>
    private sealed class NoWorkers : Memory.IWorkerSet
    {
        public void Refresh()
        {
        }

        public void Snapshot(Dictionary<int, ulong> quiescent) => quiescent.Clear();
    }
}
