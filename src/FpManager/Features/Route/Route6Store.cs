using System.Numerics;
using System.Runtime.InteropServices;
using FastPathSync.FpManager.Features.Nexthop;
using FastPathSync.FpManager.Features.Rule;
using FastPathSync.Linux.Collections;
using FastPathSync.SharedMemory;
using FastPathSync.SharedMemory.Tables;
using Wire = FastPathSync.Fpc.Protocol;

namespace FastPathSync.FpManager.Features.Route;

/// <summary>
/// IPv6 routes, and what is compiled from them: a trie for each table, and into main's the local table as well (local first
/// within a prefix), which is what a lookup in local and then in main finds as long as local holds /128s only.
/// </summary>
public sealed class Route6Store : IRuleTables
{
    /// <summary>RT_TABLE_UNSPEC, which no route has: the root of main all by itself, without local, once a policy rule has asked for it.</summary>
    private const uint MainAlone = 0;

    private readonly RecordTableWriter<Route6Record> _records;
    private readonly Dictionary<uint, int> _counts = [];
    private readonly CompactMap<PrefixKey, int> _prefixes = new();
    private readonly RouteChains _chains;
    private readonly Dictionary<uint, int> _roots = [];
    private readonly NexthopStore _nexthops;
    private readonly FibTrieWriter _tries;
    private readonly Route6Choice _choice;

    public unsafe Route6Store(Segment segment, NexthopStore nexthops, FibTrieWriter tries)
    {
        _records = new RecordTableWriter<Route6Record>(segment.Body, segment.Capacity);
        _chains = new RouteChains(segment.Capacity);
        _nexthops = nexthops;
        _tries = tries;
        _choice = new Route6Choice(nexthops);
        Root(RouteStore.TableMain);
        Root(RouteStore.TableLocal);
        if (tries.Reader.Find(FibFamily.Ipv6, MainAlone) >= 0)
        {
            Root(MainAlone); // an earlier fpmd's: workers may be walking rules that name it
        }

        Restore();
    }

    /// <summary>A prefix of a lookup: local and main are one. The value is the first record's slot + 1, where its chain begins.</summary>
    [StructLayout(LayoutKind.Sequential, Pack = 4)]
    private readonly record struct PrefixKey : ICompactKey<PrefixKey>
    {
        private readonly uint _lengthAndOne;

        public PrefixKey(ulong high, ulong low, uint table, byte length)
        {
            (High, Low, Table) = (high, low, table);
            _lengthAndOne = (uint)length + 1;
        }

        public ulong High { get; }

        public ulong Low { get; }

        public uint Table { get; }

        public byte Length => (byte)(_lengthAndOne - 1);

        public bool IsUsed => _lengthAndOne != 0;

        public uint Hash
        {
            get
            {
                ulong h = (High ^ BitOperations.RotateLeft(Low, 23) ^ BitOperations.RotateLeft((ulong)Table << 8 | _lengthAndOne, 13)) * 0xbf58476d1ce4e5b9;
                return (uint)((h ^ (h >> 31)) * 0x94d049bb133111eb >> 32);
            }
        }

        public FibKey Fib => new(High, Low);

        public static PrefixKey Of(in Route6Record r) =>
            new(r.Destination.High, r.Destination.Low, r.Table == RouteStore.TableLocal ? RouteStore.TableMain : r.Table, r.PrefixLength);
    }

    /// <summary>Set while a synchronization is an audit.</summary>
    public AuditCount? Audit { get; set; }

    public int Count => _records.Reader.Count;

    public uint Occupancy { get; private set; }

    public int MergedRoot => Root(RouteStore.TableMain);

    /// <summary>The last Repair found no room for some prefix.</summary>
    public bool IsIncomplete { get; private set; }

    /// <summary>
    /// Prefixes of table local shorter than /128: then a longer one in main must not win, and local is looked up first.
    /// ff00::/8 doesn't count: what is sent to multicast addresses is never forwarded by these tables.
    /// </summary>
    public int ShortLocalRoutes { get; private set; }

    public int CountOf(uint table) => _counts.GetValueOrDefault(table);

    /// <summary>Every table has its root, but for main, whose root holds local too.</summary>
    public int Require(uint table)
    {
        if (table != RouteStore.TableMain)
        {
            return Root(table);
        }

        bool made = !_roots.ContainsKey(MainAlone);
        int root = Root(MainAlone);
        if (made && root >= 0)
        {
            Mend(MainAlone, root, Prefixes().Where(p => p.Table == RouteStore.TableMain), out bool complete);
            IsIncomplete |= !complete;
        }

        return root;
    }

    /// <summary>Main by itself stays compiled: who moves his rules once may do so again.</summary>
    public void Release(uint table)
    {
    }

    /// <returns>False when a table is full.</returns>
    public bool TryUpsert(Wire.Route6 wire, ulong generation)
    {
        Route6Record r = RecordOf(wire, generation);
        r.Nexthop = AcquireNexthop(wire);
        bool room = r.Nexthop != NexthopStore.None && TryPut(in r);
        _nexthops.Release(r.Nexthop);
        return room;
    }

    /// <returns>False when a table is full; what found room is there.</returns>
    public bool TryUpsert(Wire.Route6Columns wire, ulong generation)
    {
        Route6Record[] bodies = [.. wire.Bodies.Select(b => RecordOf(b, generation) with { Nexthop = AcquireNexthop(b) })];
        ReadOnlySpan<byte> lengths = wire.PrefixLengths.Span;
        bool room = true;
        for (int i = 0; i < lengths.Length; i++)
        {
            ref Route6Record r = ref bodies[wire.Body[i]];
            r.Destination = DestinationOf(wire, i);
            r.PrefixLength = lengths[i];
            room &= r.Nexthop != NexthopStore.None && TryPut(in r);
        }

        foreach (Route6Record r in bodies)
        {
            _nexthops.Release(r.Nexthop);
        }

        return room;
    }

    public bool Remove(Wire.Route6Key wire) => Remove(IdentityOf(wire));

    public bool Remove(Wire.Route6Columns wire)
    {
        Route6Record[] bodies = [.. wire.Bodies.Select(b => IdentityOf(b.Key))];
        ReadOnlySpan<byte> lengths = wire.PrefixLengths.Span;
        bool room = true;
        for (int i = 0; i < lengths.Length; i++)
        {
            ref Route6Record r = ref bodies[wire.Body[i]];
            r.Destination = DestinationOf(wire, i);
            r.PrefixLength = lengths[i];
            room &= Remove(in r);
        }

        _prefixes.Trim();
        return room;
    }

    public int Sweep(ulong generation)
    {
        List<int> stale = [.. _records.Reader.All().Where(r => r.Value.Generation != generation).Select(r => r.Slot)];
        stale.ForEach(s => Remove(s));
        return stale.Count;
    }

    /// <summary>Mends the tries where they differ from what the routes say; what is right is not touched.</summary>
    /// <returns>How many entries were wrong.</returns>
    public int Repair()
    {
        int mended = 0;
        IsIncomplete = false;
        foreach (uint table in Prefixes().Select(p => p.Table).Distinct().ToList())
        {
            Root(table);
        }

        ILookup<uint, PrefixKey> byTable = Prefixes().ToLookup(p => p.Table);
        foreach ((uint table, int root) in _roots)
        {
            bool complete = root >= 0;
            if (complete)
            {
                mended += Mend(table, root, byTable[PrefixTableOf(table)], out complete);
            }

            IsIncomplete |= !complete;
        }

        return mended;
    }

    private int Mend(uint table, int root, IEnumerable<PrefixKey> prefixes, out bool complete) => _tries.Mend(
        root,
        prefixes.Where(p => Best(p, table) != NexthopStore.None).Select(p => (p.Fib, (int)p.Length)),
        (key, length) => Best(new PrefixKey(key.High, key.Low, PrefixTableOf(table), (byte)length), table),
        out complete);

    private static IpAddress DestinationOf(Wire.Route6Columns wire, int row) =>
        new(wire.DestinationsHigh[row], wire.DestinationsLow.Count == 0 ? 0 : wire.DestinationsLow[row]);

    /// <summary>Takes a reference of its own to the nexthop.</summary>
    private bool TryPut(in Route6Record r)
    {
        PrefixKey prefix = PrefixKey.Of(in r);
        int slot = Find(prefix, in r);
        bool exists = slot >= 0;
        if (!exists && (slot = _records.Allocate()) < 0)
        {
            return false;
        }

        if (Audit is not null && !(exists && IsRight(prefix, in r, _records[slot])))
        {
            Audit.Mended++; // Compile, below, looks into the tries in any case
        }

        int old = exists ? _records[slot].Nexthop : NexthopStore.None;
        _records.Write(slot, r);
        _nexthops.AddReference(r.Nexthop);
        if (!exists)
        {
            Link(prefix, slot);
            CountSpecial(in r, +1);
        }

        bool room = Compile(prefix);
        _nexthops.Release(old);
        return room;
    }

    private bool IsRight(PrefixKey prefix, in Route6Record wanted, Route6Record have)
    {
        have.Generation = wanted.Generation;
        int best = Best(prefix, prefix.Table), root = Root(prefix.Table);
        return MemoryMarshal.AsBytes(new ReadOnlySpan<Route6Record>(in wanted)).SequenceEqual(MemoryMarshal.AsBytes(new ReadOnlySpan<Route6Record>(in have)))
            && (best == NexthopStore.None || root < 0 || _tries.Get(root, prefix.Fib, prefix.Length) == best);
    }

    private bool Remove(in Route6Record wanted)
    {
        int slot = Find(PrefixKey.Of(in wanted), in wanted);
        return slot < 0 || Remove(slot);
    }

    private static uint PrefixTableOf(uint table) => table is RouteStore.TableLocal or MainAlone ? RouteStore.TableMain : table;

    private static Route6Record IdentityOf(Wire.Route6Key k) => new()
    {
        Table = k.Table,
        Destination = new IpAddress(k.DestinationHigh, k.DestinationLow),
        PrefixLength = (byte)k.PrefixLength,
        Source = new IpAddress(k.SourceHigh, k.SourceLow),
        SourceLength = (byte)k.SourceLength,
        Metric = k.Metric,
    };

    private static Route6Record RecordOf(Wire.Route6 wire, ulong generation) => IdentityOf(wire.Key) with
    {
        PreferredSource = IpAddress.FromBytes(wire.PreferredSource.Span),
        Type = (byte)wire.Type,
        Protocol = (byte)wire.Protocol,
        Preference = (byte)wire.Preference,
        State = (byte)((wire.Ambiguous ? Route6Record.Ambiguous : 0) | (wire.Expired ? Route6Record.Expired : 0) | (wire.MtuLocked ? Route6Record.MtuLocked : 0)),
        Mtu = (ushort)Math.Min(wire.Mtu, 0xffff),
        NexthopObject = wire.NexthopId,
        Flags = wire.Flags,
        Generation = generation,
    };

    private static NexthopSpec SpecOf(Wire.RouteNexthop n, uint mtu) =>
        n.Encap ? NexthopSpec.Punt(PuntReason.Encapsulation, n.Ifindex)
        : NexthopSpec.Single(n.Ifindex, IpAddress.FromBytes(n.Gateway.Span), mtu, n.Flags, NexthopSpec.Ipv6);

    private int AcquireNexthop(Wire.Route6 wire)
    {
        switch (wire.Type)
        {
            case not 0 when wire.NexthopId != 0: // a blackhole object makes Linux call the route a blackhole
                return _nexthops.AcquireObject(wire.NexthopId, wire.Mtu, NexthopSpec.Ipv6);
            case RouteTypes.Unicast when wire.Nexthops.Count == 1:
                return _nexthops.Acquire(SpecOf(wire.Nexthops[0], wire.Mtu));
            case RouteTypes.Unicast when wire.Nexthops.Count > 1:
                List<(int, uint)> members = [.. wire.Nexthops.Select(n => (_nexthops.Acquire(SpecOf(n, wire.Mtu)), n.Weight))];
                return _nexthops.AcquireGroup(members);
            case RouteTypes.Anycast: // the subnet-router address and its like are our own
                return _nexthops.Acquire(NexthopSpec.Punt(PuntReason.Local, wire.Nexthops.Count > 0 ? wire.Nexthops[0].Ifindex : 0));
            default:
                return _nexthops.Acquire(NexthopSpec.Punt(RouteTypes.PuntFor(wire.Type), wire.Nexthops.Count > 0 ? wire.Nexthops[0].Ifindex : 0));
        }
    }

    private bool Remove(int slot)
    {
        Route6Record r = _records[slot];
        PrefixKey prefix = PrefixKey.Of(in r);
        Unlink(prefix, slot);
        CountSpecial(in r, -1);
        bool room = Compile(prefix);
        _nexthops.Release(r.Nexthop);
        _records.Free(slot); // workers never look at route records
        return room;
    }

    private void CountSpecial(in Route6Record r, int by)
    {
        ref int count = ref CollectionsMarshal.GetValueRefOrAddDefault(_counts, r.Table, out _);
        count += by;
        Occupancy += count == 0 || count == by ? 1u : 0;
        ShortLocalRoutes += r.Table == RouteStore.TableLocal && r.PrefixLength < 128 && r.Destination.High >> 56 != 0xff ? by : 0;
    }

    private int Find(PrefixKey prefix, in Route6Record wanted)
    {
        for (int s = Head(prefix); s != 0; s = _chains.After(s))
        {
            ref Route6Record r = ref _records[s - 1];
            if (r.Table == wanted.Table && r.Metric == wanted.Metric && r.SourceLength == wanted.SourceLength && r.Source == wanted.Source)
            {
                return s - 1;
            }
        }

        return -1;
    }

    private int Head(PrefixKey prefix)
    {
        int at = _prefixes.Find(prefix);
        return at < 0 ? 0 : _prefixes.Value(at);
    }

    private IEnumerable<PrefixKey> Prefixes()
    {
        for (int i = 0; i < _prefixes.Capacity; i++)
        {
            if (_prefixes.IsUsed(i))
            {
                yield return _prefixes.Key(i);
            }
        }
    }

    private void Link(PrefixKey prefix, int slot) => _chains.Link(slot, ref _prefixes.Value(_prefixes.FindOrAdd(prefix)));

    private void Unlink(PrefixKey prefix, int slot)
    {
        int at = _prefixes.Find(prefix);
        ref int head = ref _prefixes.Value(at);
        _chains.Unlink(slot, ref head);
        if (head == 0)
        {
            _prefixes.RemoveAt(at);
        }
    }

    /// <summary>Puts what Linux would take for the prefix into the tables in which it is looked up, or takes the prefix out.</summary>
    private bool Compile(PrefixKey prefix)
    {
        bool room = Compile(prefix, prefix.Table);
        if (prefix.Table == RouteStore.TableMain)
        {
            room &= Compile(prefix, RouteStore.TableLocal) && (!_roots.ContainsKey(MainAlone) || Compile(prefix, MainAlone));
        }

        return room;
    }

    private bool Compile(PrefixKey prefix, uint table)
    {
        int root = Root(table), best = Best(prefix, table);
        return best == NexthopStore.None
            ? root < 0 || _tries.TryRemove(root, prefix.Fib, prefix.Length)
            : root >= 0 && (_tries.Get(root, prefix.Fib, prefix.Length) == best || _tries.TrySet(root, prefix.Fib, prefix.Length, best));
    }

    /// <summary>The nexthop for a prefix of a table; main's is local's, if that has one.</summary>
    private int Best(PrefixKey prefix, uint table)
    {
        int head = Head(prefix);
        int best = table == RouteStore.TableMain ? Best(head, RouteStore.TableLocal) : NexthopStore.None;
        return best != NexthopStore.None ? best : Best(head, table == MainAlone ? RouteStore.TableMain : table);
    }

    private int Best(int head, uint table)
    {
        _choice.Begin();
        for (int s = head; s != 0; s = _chains.After(s))
        {
            ref Route6Record r = ref _records[s - 1];
            if (r.Table == table)
            {
                _choice.Add(in r);
            }
        }

        return _choice.End();
    }

    /// <summary>The root slot of a table, -1 when there are too many tables.</summary>
    private int Root(uint table)
    {
        if (!_roots.TryGetValue(table, out int root) || root < 0)
        {
            _roots[table] = root = _tries.Open(FibFamily.Ipv6, table);
        }

        return root;
    }

    /// <summary>After a restart: takes the references that the records hold, and mends what is compiled from them.</summary>
    private void Restore()
    {
        foreach ((int slot, Route6Record r) in _records.Reader.All().ToList())
        {
            PrefixKey prefix = PrefixKey.Of(in r);
            if (!_nexthops.IsUsed(r.Nexthop) || Find(prefix, in r) >= 0)
            {
                _records.Free(slot); // its writer died in the middle; the resync brings it again
                continue;
            }

            _nexthops.AddReference(r.Nexthop);
            Link(prefix, slot);
            CountSpecial(in r, +1);
        }

        if (_records.Reader.HighWater > 0)
        {
            Repair();
        }
    }
}
