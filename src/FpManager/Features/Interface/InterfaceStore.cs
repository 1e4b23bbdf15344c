using FastPathSync.SharedMemory;
using FastPathSync.SharedMemory.Tables;
using Wire = FastPathSync.Fpc.Protocol;

namespace FastPathSync.FpManager.Features.Interface;

/// <summary>The interface table, and which of its interfaces are ports.</summary>
public sealed class InterfaceStore
{
    private readonly RecordTableWriter<InterfaceRecord> _records;
    private readonly Dictionary<uint, int> _slots = [];
    private readonly string[] _portNames;

    public unsafe InterfaceStore(Segment segment, IReadOnlyList<string> portNames)
    {
        _records = new RecordTableWriter<InterfaceRecord>(segment.Body, Capacities.Interfaces);
        _portNames = [.. portNames];
        foreach ((int slot, InterfaceRecord r) in _records.Reader.All())
        {
            _slots[r.IfIndex] = slot;
        }
    }

    public IReadOnlyList<string> PortNames => _portNames;

    public IEnumerable<InterfaceRecord> All => _slots.Values.Select(slot => _records[slot]);

    public bool TryGet(uint ifindex, out InterfaceRecord record)
    {
        if (_slots.TryGetValue(ifindex, out int slot))
        {
            record = _records[slot];
            return true;
        }

        record = default;
        return false;
    }

    /// <summary>ifindex of a port, 0 while its interface is missing.</summary>
    public uint PortIfIndex(int port)
    {
        foreach (int slot in _slots.Values)
        {
            if (_records[slot].PortId == port)
            {
                return _records[slot].IfIndex;
            }
        }

        return 0;
    }

    /// <returns>False when the table is full.</returns>
    public unsafe bool TryUpsert(Wire.Interface wire, ulong generation, out InterfaceRecord before, out InterfaceRecord after)
    {
        before = default;
        if (_slots.TryGetValue(wire.Ifindex, out int slot))
        {
            before = _records[slot];
        }

        int port = Array.IndexOf(_portNames, wire.Name);
        after = new InterfaceRecord
        {
            IfIndex = wire.Ifindex,
            Mtu = wire.Mtu,
            Flags = wire.Flags,
            Master = wire.Master,
            Link = wire.Link,
            Type = (ushort)wire.Type,
            PortId = port < 0 ? InterfaceRecord.NoPort : (ushort)port,
            OperState = (byte)wire.OperState,
            Forwarding = wire.Forwarding ? (byte)1 : (byte)0,
            RpFilter = (byte)wire.RpFilter,
            IgnoreRoutesWithLinkdown = wire.IgnoreRoutesWithLinkdown ? (byte)1 : (byte)0,
            ProxyArp = wire.ProxyArp ? (byte)1 : (byte)0,
            Forwarding6 = wire.Forwarding6 ? (byte)1 : (byte)0,
            IgnoreRoutesWithLinkdown6 = wire.IgnoreRoutesWithLinkdown6 ? (byte)1 : (byte)0,
            ProxyNdp = wire.ProxyNdp ? (byte)1 : (byte)0,
            Ipv6Disabled = wire.Ipv6Disabled ? (byte)1 : (byte)0,
            Mtu6 = wire.Mtu6,
            AddressLength = (byte)Math.Min(6, wire.Address.Length),
            Name = Name16.From(wire.Name),
            Kind = Name16.From(wire.Kind),
            Generation = generation,
        };
        for (int i = 0; i < after.AddressLength; i++)
        {
            after.Address[i] = wire.Address[i];
        }

        if (before.IfIndex == 0)
        {
            slot = _records.Allocate();
            if (slot < 0)
            {
                return false;
            }

            _slots[wire.Ifindex] = slot;
        }

        _records.Write(slot, after);
        return true;
    }

    public bool Remove(uint ifindex)
    {
        if (!_slots.Remove(ifindex, out int slot))
        {
            return false;
        }

        _records.Free(slot);
        return true;
    }

    public List<uint> Stale(ulong generation) =>
        [.. _slots.Where(s => _records[s.Value].Generation != generation).Select(s => s.Key)];
}
