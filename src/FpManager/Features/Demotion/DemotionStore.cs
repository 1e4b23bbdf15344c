using FastPathSync.FpManager.Features.Interface;
using FastPathSync.Linux;
using FastPathSync.SharedMemory;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FpManager.Features.Demotion;

/// <summary>
/// What the fast path must leave to Linux. Demotions come from cmgrd (through FPC) and from fpmd itself (full tables,
/// MTUs that don't fit); fpmd's own have generation ulong.MaxValue and no synchronization sweeps them.
/// </summary>
public sealed unsafe class DemotionStore
{
    public const ulong Own = ulong.MaxValue;

    private readonly RecordTableWriter<DemotionRecord> _records;
    private readonly Dictionary<string, int> _slots = [];
    private readonly Dictionary<string, ulong> _withoutRoom = []; // object, generation
    private readonly VrfState* _vrf;
    private readonly InterfaceStore _interfaces;

    public DemotionStore(Segment segment, InterfaceStore interfaces)
    {
        _records = new RecordTableWriter<DemotionRecord>(VrfSegment.Demotions(segment), segment.Capacity);
        _vrf = VrfSegment.State(segment);
        _interfaces = interfaces;
        foreach ((int slot, DemotionRecord r) in _records.Reader.All())
        {
            _slots[r.Object.ToString()] = slot;
        }
    }

    /// <returns>False when the table is full; the whole VRF is then left to Linux.</returns>
    public bool TryRaise(string @object, string reason, DemotionEffect effect, uint ifindex, Families families, ulong generation)
    {
        ulong since = MonotonicClock.Nanoseconds;
        if (_slots.TryGetValue(@object, out int slot))
        {
            since = _records[slot].Since;
        }
        else if ((slot = _records.Allocate()) < 0)
        {
            // It can't be listed; it is obeyed all the same, and more: everything is Linux's.
            _withoutRoom[@object] = generation;
            Publish();
            return false;
        }

        _slots[@object] = slot;
        _records.Write(slot, new DemotionRecord
        {
            Effect = effect,
            IfIndex = ifindex,
            Families = families,
            Generation = generation,
            Since = since,
            Object = Text256.From(@object),
            Reason = Text256.From(reason),
        });
        Publish();
        return true;
    }

    public void End(string @object)
    {
        bool hidden = _withoutRoom.Remove(@object);
        if (_slots.Remove(@object, out int slot))
        {
            _records.Free(slot);
            hidden = true;
        }

        if (hidden)
        {
            Publish();
        }
    }

    public int Sweep(ulong generation)
    {
        List<string> stale = [.. _slots.Where(s => _records[s.Value].Generation != generation && _records[s.Value].Generation != Own).Select(s => s.Key)];
        stale.ForEach(End);
        foreach (string hidden in _withoutRoom.Where(w => w.Value != generation && w.Value != Own).Select(w => w.Key).ToList())
        {
            End(hidden);
        }

        return stale.Count;
    }

    public bool IsEgressDemoted(uint ifindex) =>
        _slots.Values.Any(s => _records[s].Effect == DemotionEffect.Egress && _records[s].IfIndex == ifindex);

    /// <summary>Makes VrfState say what the demotions and ports amount to.</summary>
    public void Publish()
    {
        Families passAll = _withoutRoom.Count > 0 ? Families.Both : Families.None;
        uint[] ingress = new uint[Capacities.Ports];
        foreach (int s in _slots.Values)
        {
            DemotionRecord d = _records[s];
            passAll |= d.Effect == DemotionEffect.Vrf ? d.Families : Families.None;
            if (d.Effect == DemotionEffect.Ingress && _interfaces.TryGet(d.IfIndex, out InterfaceRecord i) && i.PortId < Capacities.Ports)
            {
                ingress[i.PortId] |= (uint)d.Families;
            }
        }

        // No demotion, but what the user wants: IPv6 that isn't forwarded is none of ours.
        foreach (InterfaceRecord i in _interfaces.All.Where(i => i.PortId < Capacities.Ports && !i.ForwardsIpv6))
        {
            ingress[i.PortId] |= (uint)Families.Ipv6;
        }

        bool changed = _vrf->PassAll != passAll;
        Volatile.Write(ref *(uint*)&_vrf->PassAll, (uint)passAll);
        for (int p = 0; p < Capacities.Ports; p++)
        {
            uint ifindex = p < _interfaces.PortNames.Count ? _interfaces.PortIfIndex(p) : 0;
            changed |= _vrf->IngressPass[p] != ingress[p] || _vrf->PortIfIndex[p] != ifindex;
            Volatile.Write(ref _vrf->IngressPass[p], ingress[p]);
            Volatile.Write(ref _vrf->PortIfIndex[p], ifindex);
        }

        _vrf->PortCount = (uint)_interfaces.PortNames.Count;
        if (changed)
        {
            Volatile.Write(ref _vrf->Change, _vrf->Change + 1);
        }
    }
}
