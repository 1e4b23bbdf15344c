using FastPathSync.FpManager.Features.Address;
using FastPathSync.FpManager.Features.Interface;
using FastPathSync.FpManager.Memory;
using FastPathSync.SharedMemory;
using FastPathSync.SharedMemory.Tables;
using Wire = FastPathSync.Fpc.Protocol;

namespace FastPathSync.FpManager.Features.Neighbour;

/// <summary>Who a neighbour is.</summary>
public readonly record struct NeighbourKey(uint IfIndex, IpAddress Address);

/// <summary>Neighbours of both families, and the adjacencies that workers rewrite by. An adjacency is never edited: a change makes a new one.</summary>
public sealed unsafe class NeighbourStore
{
    /// <summary>NUD_VALID of include/net/neighbour.h: the link address may be used.</summary>
    private const uint NudValid = 0x80 | 0x40 | 0x02 | 0x10 | 0x04 | 0x08;

    /// <summary>The generation of a record that only waits for its grace period.</summary>
    private const ulong Removed = 0;

    private readonly RecordTableWriter<NeighbourRecord> _records;

    /// <summary>With room from the start: packets wait for the first neighbour, and making room is code that isn't compiled yet.</summary>
    private readonly Dictionary<NeighbourKey, int> _slots = new(64);

    private readonly NeighbourHashWriter _hash;
    private readonly Adjacency* _adjacencies;
    private readonly int _adjacencyCapacity;
    private readonly Stack<int> _freeAdjacencies = new();
    private readonly InterfaceStore _interfaces;
    private readonly Reclaimer _reclaimer;
    private int _adjacencyHighWater;

    public NeighbourStore(ConfigurationSegments segments, InterfaceStore interfaces, Reclaimer reclaimer)
    {
        _records = new RecordTableWriter<NeighbourRecord>(NeighbourSegment.Records(segments.Neighbour), segments.Neighbour.Capacity);
        _adjacencies = AdjacencySegment.Table(segments.Adjacency);
        _adjacencyCapacity = segments.Adjacency.Capacity;
        _interfaces = interfaces;
        _reclaimer = reclaimer;
        _hash = new NeighbourHashWriter(segments.Neighbour, reclaimer);
        Restore();
    }

    /// <summary>Told that what a neighbour resolves to has changed.</summary>
    public Action<NeighbourKey> Changed { get; set; } = _ => { };

    /// <summary>Adjacency index of a neighbour, -1 when workers can't use it now.</summary>
    public int AdjacencyOf(NeighbourKey key) => _slots.TryGetValue(key, out int slot) ? _records[slot].Adjacency : -1;

    /// <summary>Linux knows it, and can't reach it: nud_state without NUD_VALID.</summary>
    public bool HasFailed(NeighbourKey key) => _slots.TryGetValue(key, out int slot) && (_records[slot].State & NudValid) == 0;

    /// <returns>False when a table is full; the neighbour's packets are then punted.</returns>
    public bool TryUpsert(Wire.Neighbour wire, ulong generation)
    {
        NeighbourKey key = new(wire.Ifindex, IpAddress.FromBytes(wire.Destination.Span));
        bool failedBefore = HasFailed(key);
        NeighbourRecord r = new()
        {
            IfIndex = key.IfIndex,
            Address = key.Address,
            State = (ushort)wire.State,
            Flags = (byte)wire.Flags,
            AddressLength = (byte)Math.Min(6, wire.Lladdr.Length),
            Adjacency = -1,
            Generation = generation,
        };
        for (int i = 0; i < r.AddressLength; i++)
        {
            r.LinkAddress[i] = wire.Lladdr[i];
        }

        if (!_slots.TryGetValue(key, out int slot))
        {
            slot = _records.Allocate();
            if (slot < 0)
            {
                return false;
            }

            _slots[key] = slot;
        }
        else
        {
            r.Adjacency = _records[slot].Adjacency;
        }

        _records.Write(slot, r);
        bool room = Resolve(slot);
        if (HasFailed(key) != failedBefore)
        {
            Changed(key);
        }

        return room;
    }

    public void Remove(NeighbourKey key)
    {
        bool failed = HasFailed(key);
        if (!_slots.Remove(key, out int slot))
        {
            return;
        }

        int adjacency = _records[slot].Adjacency;
        if (adjacency >= 0)
        {
            _hash.TrySet(key, -1);
        }

        if (adjacency >= 0 || failed)
        {
            Changed(key);
        }

        // Its use stamp has the slot's number: reuse waits until no worker can write the stamp any more.
        _records.Write(slot, new NeighbourRecord { IfIndex = key.IfIndex, Address = key.Address, Adjacency = -1, Generation = Removed });
        _reclaimer.Retire(() =>
        {
            FreeAdjacency(adjacency);
            _records.Free(slot);
        });
    }

    /// <summary>The interface changed (address, MTU, up, port): its adjacencies are made anew.</summary>
    public void InterfaceChanged(uint ifindex)
    {
        foreach (int slot in _slots.Where(s => s.Key.IfIndex == ifindex).Select(s => s.Value).ToList())
        {
            Resolve(slot);
        }
    }

    public int Sweep(ulong generation)
    {
        List<NeighbourKey> stale = [.. _slots.Where(s => _records[s.Value].Generation != generation).Select(s => s.Key)];
        stale.ForEach(Remove);
        return stale.Count;
    }

    /// <summary>Sees to it that the neighbour has the adjacency that it should have.</summary>
    private bool Resolve(int slot)
    {
        NeighbourRecord r = _records[slot];
        bool usable = (r.State & NudValid) != 0 && r.AddressLength == 6
            && _interfaces.TryGet(r.IfIndex, out InterfaceRecord i) && i.PortId != InterfaceRecord.NoPort && i.IsUp && i.AddressLength == 6;
        Adjacency wanted = default;
        if (usable)
        {
            _interfaces.TryGet(r.IfIndex, out i);
            wanted = Make(slot, r, i);
            if (r.Adjacency >= 0 && Same(_adjacencies[r.Adjacency], wanted))
            {
                return true;
            }
        }
        else if (r.Adjacency < 0)
        {
            return true;
        }

        int old = r.Adjacency;
        bool room = true;
        r.Adjacency = -1;
        if (usable)
        {
            r.Adjacency = AllocateAdjacency();
            room = r.Adjacency >= 0;
            if (room)
            {
                _adjacencies[r.Adjacency] = wanted;
                Interlocked.MemoryBarrier(); // whole before its index is seen
            }
        }

        _records.Write(slot, r);
        NeighbourKey key = new(r.IfIndex, r.Address);
        room &= _hash.TrySet(key, r.Adjacency);
        Changed(key);
        if (old >= 0)
        {
            _reclaimer.Retire(() => FreeAdjacency(old));
        }

        return room;
    }

    private static Adjacency Make(int slot, NeighbourRecord r, InterfaceRecord i)
    {
        Adjacency a = new()
        {
            PortId = i.PortId,
            Mtu = (ushort)Math.Min(i.Mtu, 0xffff),
            Neighbour = slot,
            IfIndex = r.IfIndex,
            Address = r.Address,
        };
        byte* mac = (byte*)&a;
        for (int k = 0; k < 6; k++)
        {
            mac[k] = r.LinkAddress[k];
            mac[6 + k] = i.Address[k];
        }

        return a;
    }

    private static bool Same(in Adjacency x, in Adjacency y) =>
        x.MacLow == y.MacLow && x.MacHigh == y.MacHigh && x.PortId == y.PortId && x.Mtu == y.Mtu && x.Neighbour == y.Neighbour;

    private int AllocateAdjacency() =>
        _freeAdjacencies.TryPop(out int a) ? a : _adjacencyHighWater < _adjacencyCapacity ? _adjacencyHighWater++ : -1;

    private void FreeAdjacency(int adjacency)
    {
        if (adjacency >= 0)
        {
            _freeAdjacencies.Push(adjacency);
        }
    }

    /// <summary>
    /// After a restart the records are the truth: what the hash says otherwise is mended, and adjacencies that nothing
    /// names are free (after a grace period: a worker may still hold one).
    /// </summary>
    private void Restore()
    {
        HashSet<int> live = [];
        foreach ((int slot, NeighbourRecord r) in _records.Reader.All().ToList())
        {
            if (r.Generation == Removed || !_slots.TryAdd(new NeighbourKey(r.IfIndex, r.Address), slot))
            {
                _records.Free(slot);
                continue;
            }

            if (r.Adjacency >= 0)
            {
                live.Add(r.Adjacency);
            }
        }

        foreach ((NeighbourKey key, int adjacency) in _hash.All().ToList())
        {
            int right = AdjacencyOf(key);
            if (right != adjacency)
            {
                live.Add(adjacency);
                _hash.TrySet(key, right);
                _reclaimer.Retire(() => FreeAdjacency(adjacency));
            }
        }

        foreach ((NeighbourKey key, int slot) in _slots)
        {
            if (_records[slot].Adjacency >= 0)
            {
                _hash.TrySet(key, _records[slot].Adjacency);
            }
        }

        _adjacencyHighWater = live.Count == 0 ? 0 : live.Max() + 1;
        for (int a = 0; a < _adjacencyHighWater; a++)
        {
            if (!live.Contains(a))
            {
                int free = a;
                _reclaimer.Retire(() => FreeAdjacency(free));
            }
        }

        foreach (int slot in _slots.Values.ToList())
        {
            Resolve(slot);
        }
    }
}
