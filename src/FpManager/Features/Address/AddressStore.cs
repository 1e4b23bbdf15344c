using System.Buffers.Binary;
using FastPathSync.SharedMemory;
using FastPathSync.SharedMemory.Tables;
using Wire = FastPathSync.Fpc.Protocol;

namespace FastPathSync.FpManager.Features.Address;

/// <summary>IPv4 addresses, and the filter that lets workers rule out that a source is our own.</summary>
public sealed class AddressStore
{
    private readonly record struct Key(uint IfIndex, uint Local, uint Peer, byte PrefixLength);

    private readonly RecordTableWriter<AddressRecord> _records;
    private readonly LocalAddressFilter _filter;
    private readonly Dictionary<Key, int> _slots = [];

    public unsafe AddressStore(Segment segment)
    {
        _records = new RecordTableWriter<AddressRecord>(AddressSegment.Records(segment), Capacities.Addresses);
        _filter = AddressSegment.Filter(segment);
        foreach ((int slot, AddressRecord r) in _records.Reader.All())
        {
            _slots[KeyOf(r)] = slot;
        }

        RebuildFilter();
    }

    /// <returns>False when the table is full.</returns>
    public bool TryUpsert(Wire.Address wire, ulong generation)
    {
        AddressRecord r = new()
        {
            IfIndex = wire.Ifindex,
            Local = Ipv4(wire.Local),
            Peer = Ipv4(wire.Address_),
            Broadcast = Ipv4(wire.Broadcast),
            Flags = wire.Flags,
            PrefixLength = (byte)wire.PrefixLength,
            Scope = (byte)wire.Scope,
            Label = Name16.From(wire.Label),
            Generation = generation,
        };
        _filter.Set(r.Local);
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
        Remove(new Key(wire.Ifindex, Ipv4(wire.Local), Ipv4(wire.Address_), (byte)wire.PrefixLength));

    public int Sweep(ulong generation)
    {
        List<Key> stale = [.. _slots.Where(s => _records[s.Value].Generation != generation).Select(s => s.Key)];
        stale.ForEach(k => Remove(k));
        return stale.Count;
    }

    /// <summary>Four bytes in network order, 0 for anything else.</summary>
    public static uint Ipv4(Google.Protobuf.ByteString bytes) =>
        bytes.Length == 4 ? BinaryPrimitives.ReadUInt32BigEndian(bytes.Span) : 0;

    private static Key KeyOf(in AddressRecord r) => new(r.IfIndex, r.Local, r.Peer, r.PrefixLength);

    private bool Remove(Key key)
    {
        if (!_slots.Remove(key, out int slot))
        {
            return false;
        }

        _records.Free(slot);
        RebuildFilter();
        return true;
    }

    private void RebuildFilter()
    {
        ulong[] words = new ulong[LocalAddressFilter.Bytes / 8];
        foreach (Key k in _slots.Keys)
        {
            uint h = LocalAddressFilter.Hash(k.Local);
            words[h >> 6] |= 1ul << (int)(h & 63);
        }

        _filter.Replace(words);
    }
}
