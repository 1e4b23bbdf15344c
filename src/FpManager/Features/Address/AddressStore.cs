using FastPathSync.SharedMemory;
using FastPathSync.SharedMemory.Tables;
using Wire = FastPathSync.Fpc.Protocol;

namespace FastPathSync.FpManager.Features.Address;

/// <summary>Our own addresses, and the filters that let workers rule out that a source is one of them.</summary>
public sealed class AddressStore
{
    private readonly record struct Key(uint IfIndex, IpAddress Local, IpAddress Peer, byte PrefixLength);

    private readonly RecordTableWriter<AddressRecord> _records;
    private readonly LocalAddressFilter _filter4;
    private readonly LocalAddressFilter _filter6;
    private readonly Dictionary<Key, int> _slots = [];
    private IReadOnlyCollection<uint> _suspects = [];

    public unsafe AddressStore(Segment segment)
    {
        _records = new RecordTableWriter<AddressRecord>(AddressSegment.Records(segment), segment.Capacity);
        _filter4 = AddressSegment.Filter4(segment);
        _filter6 = AddressSegment.Filter6(segment);
        foreach ((int slot, AddressRecord r) in _records.Reader.All())
        {
            _slots[KeyOf(r)] = slot;
        }

        RebuildFilters();
    }

    /// <returns>False when the table is full.</returns>
    public bool TryUpsert(Wire.Address wire, ulong generation)
    {
        AddressRecord r = new()
        {
            IfIndex = wire.Ifindex,
            Local = IpAddress.FromBytes(wire.Local.Span),
            Peer = IpAddress.FromBytes(wire.Address_.Span),
            Broadcast = IpAddress.FromBytes(wire.Broadcast.Span).V4,
            Flags = wire.Flags,
            PrefixLength = (byte)wire.PrefixLength,
            Scope = (byte)wire.Scope,
            Label = Name16.From(wire.Label),
            Generation = generation,
        };
        (r.Local.IsV4 ? _filter4 : _filter6).Set(r.Local);
        if (!_slots.TryGetValue(KeyOf(r), out int slot))
        {
            slot = _records.Allocate();
            if (slot < 0)
            {
                return false;
            }

            _slots[KeyOf(r)] = slot;
        }

        _records.Write(slot, r);
        return true;
    }

    public bool Remove(Wire.Address wire) =>
        Remove(new Key(wire.Ifindex, IpAddress.FromBytes(wire.Local.Span), IpAddress.FromBytes(wire.Address_.Span), (byte)wire.PrefixLength));

    /// <summary>Further addresses that are suspects as sources; the FIB has the exact answer.</summary>
    public void SetSuspects(IReadOnlyCollection<uint> addresses)
    {
        _suspects = addresses;
        RebuildFilters();
    }

    public bool HasIpv4(uint ifindex) => _slots.Keys.Any(k => k.IfIndex == ifindex && k.Local.IsV4);

    public int Sweep(ulong generation)
    {
        List<Key> stale = [.. _slots.Where(s => _records[s.Value].Generation != generation).Select(s => s.Key)];
        stale.ForEach(k => Remove(k));
        return stale.Count;
    }

    private static Key KeyOf(in AddressRecord r) => new(r.IfIndex, r.Local, r.Peer, r.PrefixLength);

    private bool Remove(Key key)
    {
        if (!_slots.Remove(key, out int slot))
        {
            return false;
        }

        _records.Free(slot);
        RebuildFilters();
        return true;
    }

    private void RebuildFilters()
    {
        _filter4.Replace(Words(ofV4: true));
        _filter6.Replace(Words(ofV4: false));
    }

    private ulong[] Words(bool ofV4)
    {
        ulong[] words = new ulong[LocalAddressFilter.Bytes / 8];
        foreach (Key k in _slots.Keys.Where(k => k.Local.IsV4 == ofV4))
        {
            Set(LocalAddressFilter.Hash(k.Local));
        }

        foreach (uint address in ofV4 ? _suspects : [])
        {
            Set(LocalAddressFilter.Hash(address));
        }

        return words;

        void Set(uint h) => words[h >> 6] |= 1ul << (int)(h & 63);
    }
}
