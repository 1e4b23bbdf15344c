using System.Runtime.InteropServices;
using FastPathSync.FpManager.Features.Nexthop;
using FastPathSync.FpManager.Features.Rule;
using FastPathSync.FpManager.Memory;
using FastPathSync.SharedMemory;
using FastPathSync.SharedMemory.Tables;
using Wire = FastPathSync.Fpc.Protocol;

namespace FastPathSync.FpManager.Features.Route;

/// <summary>
/// IPv4 routes, and what is compiled from them: local and main as one table, for packets whose rules are the default ones
/// (they are one trie in the kernel too, until fib_unmerge in net/ipv4/fib_frontend.c), and any table by itself that a
/// policy rule asks for.
/// </summary>
public sealed class RouteStore : IRuleTables
{
    public const uint TableDefault = 253, TableMain = 254, TableLocal = 255;

    /// <summary>RT_TABLE_UNSPEC, which no route has: the root of main all by itself, without local.</summary>
    private const uint MainAlone = 0;

    private const byte ProtocolKernel = 2;

    private readonly RecordTableWriter<RouteRecord> _records;
    private readonly Dictionary<RouteKey, int> _slots = [];
    private readonly Dictionary<uint, int> _counts = [];
    private readonly Dictionary<uint, int> _suspects = [];
    private bool _suspectsChanged;
    private int _shortLocal;
    private readonly NexthopStore _nexthops;
    private readonly FibTrieWriter _tries;
    private readonly Reclaimer _reclaimer;
    private readonly RoutePunts _punts;
    private readonly RouteChains _ownChains = new();
    private readonly PrefixTable _merged;
    private readonly int _mergedTrie;
    private readonly Dictionary<uint, OwnTable> _own = [];

    /// <param name="fib">Where local and main are merged; null: in a trie, which in a VRF without ports is enough.</param>
    public unsafe RouteStore(Segment segment, NexthopStore nexthops, Fib4Writer? fib, FibTrieWriter tries, Reclaimer reclaimer)
    {
        _records = new RecordTableWriter<RouteRecord>(segment.Body, segment.Capacity);
        _nexthops = nexthops;
        _tries = tries;
        _reclaimer = reclaimer;
        _punts = new RoutePunts(nexthops);
        _mergedTrie = fib is null ? tries.Open(FibFamily.Ipv4, TableMain) : -1;
        IPrefixFib merged = fib is null ? new SmallFib(tries, _mergedTrie, nexthops) : new MergedFib(fib, nexthops);
        _merged = new PrefixTable(_records, new RouteChains(), nexthops, _punts, merged, merged: true);
        Restore(fib);
    }

    /// <summary>The identity of a route; Destination in host byte order.</summary>
    public readonly record struct RouteKey(uint Table, uint Destination, byte Length, byte Tos, uint Metric);

    /// <summary>A table compiled by itself, while References are held or workers may still follow its root.</summary>
    private sealed class OwnTable(PrefixTable prefixes, int root)
    {
        public PrefixTable Prefixes => prefixes;

        public int Root => root;

        public int References { get; set; }
    }

    public int Count => _slots.Count;

    public uint Occupancy { get; private set; }

    /// <summary>
    /// What table local calls local or broadcast address by address: as sources they may be martians, by what the namespace has
    /// been through (fib_validate_source), which nobody tells.
    /// </summary>
    public IReadOnlyCollection<uint> SuspectSources => _suspects.Keys;

    /// <summary>Table local has such prefixes shorter than an address: every source may be a suspect, and is looked up.</summary>
    public bool SuspectsAllSources => _shortLocal > 0;

    public int MergedRoot => -1;

    /// <summary>Local routes of any table that a person added: Linux then validates sources by a full lookup (fib_has_custom_local_routes).</summary>
    public int CustomLocalRoutes { get; private set; }

    public int CountOf(uint table) => _counts.GetValueOrDefault(table);

    public int Require(uint table)
    {
        if (!_own.TryGetValue(table, out OwnTable? own))
        {
            int root = _tries.Open(FibFamily.Ipv4, table == TableMain ? MainAlone : table);
            if (root < 0)
            {
                return -1;
            }

            own = new OwnTable(new PrefixTable(_records, _ownChains, _nexthops, _punts, new TrieFib(_tries, root), merged: false), root);
            foreach ((RouteKey key, int slot) in CountOf(table) > 0 ? _slots : [])
            {
                if (key.Table == table)
                {
                    own.Prefixes.Link(_records[slot], slot);
                }
            }

            _own[table] = own;
            if (!own.Prefixes.Mend(out _))
            {
                own.References++;
                Release(table);
                return -1;
            }
        }

        own.References++;
        return own.Root;
    }

    public void Release(uint table)
    {
        OwnTable own = _own[table];
        if (--own.References == 0)
        {
            _reclaimer.Retire(() =>
            {
                if (own.References == 0 && _own.Remove(table))
                {
                    _tries.Close(own.Root);
                }
            });
        }
    }

    /// <summary>Once the rules have required theirs: roots that only an earlier fpmd needed.</summary>
    public unsafe void CloseUnrequired()
    {
        FibTrieReader reader = _tries.Reader;
        for (int root = 0; root < reader.Header->Roots; root++)
        {
            int stale = root;
            if (reader.Roots[root].Family == FibFamily.Ipv4 && root != _mergedTrie && _own.Values.All(o => o.Root != stale))
            {
                _reclaimer.Retire(() => _tries.Close(stale));
            }
        }
    }

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
        _records.Write(slot, r);
        if (exists)
        {
            CountSpecial(in old, -1);
            CountSpecial(in r, +1);
        }
        else
        {
            _slots[key] = slot;
            Link(in r, slot);
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

    /// <summary>Compiles all routes anew and mends what workers read where it differs.</summary>
    /// <returns>How many entries were wrong.</returns>
    public int Repair()
    {
        IsIncomplete = !_merged.Mend(out int mended);
        foreach (OwnTable own in _own.Values)
        {
            IsIncomplete |= !own.Prefixes.Mend(out int more);
            mended += more;
        }

        return mended;
    }

    private static RouteKey KeyOf(Wire.RouteKey k) => new(k.Table, k.Destination, (byte)Math.Min(k.PrefixLength, 32), (byte)k.Tos, k.Metric);

    private static RouteKey KeyOf(in RouteRecord r) => new(r.Table, r.Destination, r.PrefixLength, r.Tos, r.Metric);

    private void Remove(RouteKey key)
    {
        if (!_slots.Remove(key, out int slot))
        {
            return;
        }

        RouteRecord r = _records[slot];
        Unlink(in r, slot);
        Compile(key);
        _nexthops.Release(r.Nexthop);
        _records.Free(slot); // workers never look at route records
    }

    private void CountSpecial(in RouteRecord r, int by)
    {
        const uint Loopback = 127; // such sources are martians without a lookup
        CustomLocalRoutes += r.Type == RouteTypes.Local && r.Protocol != ProtocolKernel ? by : 0;
        if (r.Table != TableLocal || (r.Type != RouteTypes.Local && r.Type != RouteTypes.Broadcast) || r.Destination >> 24 == Loopback)
        {
            return;
        }

        if (r.PrefixLength < 32)
        {
            _shortLocal += by;
            return;
        }

        int count = _suspects[r.Destination] = _suspects.GetValueOrDefault(r.Destination) + by;
        if (count == 0)
        {
            _suspects.Remove(r.Destination);
        }

        _suspectsChanged = true;
    }

    /// <summary>Whether SuspectSources has changed since the last call.</summary>
    public bool TakeSuspectsChanged()
    {
        bool changed = _suspectsChanged;
        _suspectsChanged = false;
        return changed;
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

    private void CountRoute(uint table, int by)
    {
        ref int count = ref CollectionsMarshal.GetValueRefOrAddDefault(_counts, table, out _);
        count += by;
        Occupancy += count == 0 || count == by ? 1u : 0;
    }

    private static bool IsMerged(uint table) => table is TableMain or TableLocal;

    private PrefixTable? Own(uint table) => _own.Count > 0 && _own.TryGetValue(table, out OwnTable? own) ? own.Prefixes : null;

    private void Link(in RouteRecord r, int slot)
    {
        if (IsMerged(r.Table))
        {
            _merged.Link(in r, slot);
        }

        Own(r.Table)?.Link(in r, slot);
        CountSpecial(in r, +1);
        CountRoute(r.Table, +1);
    }

    private void Unlink(in RouteRecord r, int slot)
    {
        if (IsMerged(r.Table))
        {
            _merged.Unlink(in r, slot);
        }

        Own(r.Table)?.Unlink(in r, slot);
        CountSpecial(in r, -1);
        CountRoute(r.Table, -1);
    }

    private bool Compile(RouteKey key) =>
        (!IsMerged(key.Table) || _merged.Compile(key.Destination, key.Length)) & (Own(key.Table)?.Compile(key.Destination, key.Length) ?? true);

    /// <summary>After a restart: takes the references that the records hold, and mends what is compiled from them.</summary>
    private void Restore(Fib4Writer? fib)
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
            Link(in r, slot);
        }

        if (_records.Reader.HighWater == 0)
        {
            return; // never a route: reading the empty FIB would make it resident
        }

        fib?.TakeUpGroups();
        Repair();
    }
}
