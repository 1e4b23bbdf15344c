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
    /// <summary>Of the tables that aren't merged; those that are find theirs by prefix.</summary>
    private readonly Dictionary<RouteKey, int> _slots = [];
    private readonly Dictionary<uint, int> _counts = [];
    private readonly Dictionary<uint, int> _suspects = [];
    private bool _suspectsChanged;
    private int _shortLocal;
    private readonly NexthopStore _nexthops;
    private readonly FibTrieWriter _tries;
    private readonly Reclaimer _reclaimer;
    private readonly RoutePunts _punts;
    private readonly RouteChains _ownChains;
    private readonly PrefixTable _merged;
    private readonly int _mergedTrie;
    private readonly Dictionary<uint, OwnTable> _own = [];

    /// <param name="fib">Where local and main are merged; null: in a trie, which in a VRF without ports is enough.</param>
    public unsafe RouteStore(Segment segment, NexthopStore nexthops, Fib4Writer? fib, FibTrieWriter tries, Reclaimer reclaimer)
    {
        _records = new RecordTableWriter<RouteRecord>(segment.Body, segment.Capacity);
        _ownChains = new RouteChains(segment.Capacity);
        _nexthops = nexthops;
        _tries = tries;
        _reclaimer = reclaimer;
        _punts = new RoutePunts(nexthops);
        _mergedTrie = fib is null ? tries.Open(FibFamily.Ipv4, TableMain) : -1;
        IPrefixFib merged = fib is null ? new SmallFib(tries, _mergedTrie, nexthops) : new MergedFib(fib, nexthops);
        _merged = new PrefixTable(_records, new RouteChains(segment.Capacity), nexthops, _punts, merged, merged: true);
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

    /// <summary>Set while a synchronization is an audit.</summary>
    public AuditCount? Audit { get; set; }

    public int Count => _records.Reader.Count;

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
            for (int slot = 0; CountOf(table) > 0 && slot < _records.Reader.HighWater; slot++)
            {
                if (_records.IsUsed(slot) && _records[slot].Table == table)
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
        RouteRecord r = BodyOf(wire, generation);
        r.Destination = wire.Key.Destination;
        r.PrefixLength = (byte)Math.Min(wire.Key.PrefixLength, 32);
        bool room = r.Nexthop != NexthopStore.None && TryPut(in r);
        _nexthops.Release(r.Nexthop);
        return room;
    }

    /// <returns>False when a table is full; what found room is there.</returns>
    public bool TryUpsert(Wire.RouteColumns wire, ulong generation)
    {
        RouteRecord[] bodies = [.. wire.Bodies.Select(b => BodyOf(b, generation))];
        ReadOnlySpan<byte> lengths = wire.PrefixLengths.Span;
        bool room = true;
        for (int i = 0; i < lengths.Length; i++)
        {
            ref RouteRecord r = ref bodies[wire.Body[i]];
            r.Destination = wire.Destinations[i];
            r.PrefixLength = lengths[i];
            room &= r.Nexthop != NexthopStore.None && TryPut(in r);
        }

        foreach (RouteRecord r in bodies)
        {
            _nexthops.Release(r.Nexthop);
        }

        return room;
    }

    public void Remove(Wire.RouteKey wire) => Remove(new RouteKey(wire.Table, wire.Destination, (byte)Math.Min(wire.PrefixLength, 32), (byte)wire.Tos, wire.Metric));

    public void Remove(Wire.RouteColumns wire)
    {
        ReadOnlySpan<byte> lengths = wire.PrefixLengths.Span;
        for (int i = 0; i < lengths.Length; i++)
        {
            Wire.RouteKey k = wire.Bodies[(int)wire.Body[i]].Key;
            Remove(new RouteKey(k.Table, wire.Destinations[i], lengths[i], (byte)k.Tos, k.Metric));
        }

        _merged.Trim();
    }

    public int Sweep(ulong generation)
    {
        int swept = 0;
        for (int slot = 0; slot < _records.Reader.HighWater; slot++)
        {
            if (_records.IsUsed(slot) && _records[slot].Generation != generation)
            {
                RemoveSlot(slot);
                swept++;
            }
        }

        return swept;
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

    private static RouteKey KeyOf(in RouteRecord r) => new(r.Table, r.Destination, r.PrefixLength, r.Tos, r.Metric);

    /// <summary>A record without prefix, and a reference to its nexthop (None: there was no room for it).</summary>
    private RouteRecord BodyOf(Wire.Route wire, ulong generation) => new()
    {
        Table = wire.Key.Table,
        Tos = (byte)wire.Key.Tos,
        Type = (byte)wire.Type,
        Protocol = (byte)wire.Protocol,
        Scope = (byte)wire.Scope,
        Mtu = (ushort)Math.Min(wire.Mtu, 0xffff),
        Metric = wire.Key.Metric,
        PreferredSource = wire.PreferredSource,
        NexthopObject = wire.NexthopId,
        Nexthop = AcquireNexthop(wire),
        Flags = wire.Flags,
        Generation = generation,
    };

    /// <summary>Takes a reference of its own to the nexthop.</summary>
    private bool TryPut(in RouteRecord r)
    {
        int slot = Find(r.Table, r.Destination, r.PrefixLength, r.Tos, r.Metric);
        if (Audit is not null && (slot < 0 || !IsRight(in r, _records[slot])))
        {
            Audit.Mended++;
        }

        if (slot < 0)
        {
            slot = _records.Allocate();
            if (slot < 0)
            {
                return false;
            }

            _records.Write(slot, r);
            _nexthops.AddReference(r.Nexthop);
            if (!IsMerged(r.Table))
            {
                _slots[KeyOf(in r)] = slot;
            }

            Link(in r, slot);
            return Compile(in r);
        }

        RouteRecord old = _records[slot];
        _records.Write(slot, r);
        _nexthops.AddReference(r.Nexthop);
        CountSpecial(in old, -1);
        CountSpecial(in r, +1);
        bool room = Compile(in r);
        _nexthops.Release(old.Nexthop);
        return room;
    }

    /// <summary>The record says what it should, and so does what is compiled from it; the latter is mended here.</summary>
    private bool IsRight(in RouteRecord wanted, RouteRecord have)
    {
        have.Generation = wanted.Generation;
        bool right = MemoryMarshal.AsBytes(new ReadOnlySpan<RouteRecord>(in wanted)).SequenceEqual(MemoryMarshal.AsBytes(new ReadOnlySpan<RouteRecord>(in have)));
        return (!IsMerged(wanted.Table) || _merged.TryMend(wanted.Destination, wanted.PrefixLength))
            & (Own(wanted.Table)?.TryMend(wanted.Destination, wanted.PrefixLength) ?? true) & right;
    }

    private int Find(uint table, uint destination, byte length, byte tos, uint metric) =>
        IsMerged(table) ? _merged.Find(table, destination, length, tos, metric)
        : _slots.TryGetValue(new RouteKey(table, destination, length, tos, metric), out int slot) ? slot
        : -1;

    private void Remove(RouteKey key)
    {
        int slot = Find(key.Table, key.Destination, key.Length, key.Tos, key.Metric);
        if (slot >= 0)
        {
            RemoveSlot(slot);
        }
    }

    private void RemoveSlot(int slot)
    {
        RouteRecord r = _records[slot];
        if (!IsMerged(r.Table))
        {
            _slots.Remove(KeyOf(in r));
        }

        Unlink(in r, slot);
        Compile(in r);
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

    private bool Compile(in RouteRecord r) =>
        (!IsMerged(r.Table) || _merged.Compile(r.Destination, r.PrefixLength)) & (Own(r.Table)?.Compile(r.Destination, r.PrefixLength) ?? true);

    /// <summary>After a restart: takes the references that the records hold, and mends what is compiled from them.</summary>
    private void Restore(Fib4Writer? fib)
    {
        for (int slot = 0; slot < _records.Reader.HighWater; slot++)
        {
            if (!_records.IsUsed(slot))
            {
                continue;
            }

            RouteRecord r = _records[slot];
            if (!_nexthops.IsUsed(r.Nexthop) || Find(r.Table, r.Destination, r.PrefixLength, r.Tos, r.Metric) >= 0)
            {
                _records.Free(slot); // its writer died in the middle; the resync brings it again
                continue;
            }

            if (!IsMerged(r.Table))
            {
                _slots[KeyOf(in r)] = slot;
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
