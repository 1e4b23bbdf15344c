using System.Buffers.Binary;
using System.Runtime.InteropServices;
using FastPathSync.FpManager.Features.Interface;
using FastPathSync.FpManager.Memory;
using FastPathSync.SharedMemory;
using FastPathSync.SharedMemory.Tables;
using Wire = FastPathSync.Fpc.Protocol;

namespace FastPathSync.FpManager.Features.Rule;

/// <summary>The policy rules of both families, and the lists that workers walk. What was changed is compiled by Publish.</summary>
public sealed unsafe class RuleStore
{
    private readonly RecordTableWriter<RuleRecord> _records;
    private readonly Dictionary<UInt128, int> _slots = [];
    private readonly RuleArena _arena;
    private readonly InterfaceStore _interfaces;
    private readonly Reclaimer _reclaimer;
    private readonly RuleGaps _gaps;
    private readonly FamilyRules[] _families;
    private readonly VrfState* _vrf;
    private Dictionary<string, ushort> _ports = [];

    /// <param name="segment">The rule segment.</param>
    /// <param name="vrf">Whose words say which lists are in force.</param>
    /// <param name="interfaces">Rules name interfaces.</param>
    /// <param name="gaps">Told what of the rules is Linux's.</param>
    /// <param name="reclaimer">For lists that were replaced.</param>
    /// <param name="families">The families that the fast path forwards, and the routes of each.</param>
    internal RuleStore(
        Segment segment, VrfState* vrf, InterfaceStore interfaces, RuleGaps gaps, Reclaimer reclaimer, params ReadOnlySpan<(byte Family, IRuleTables Tables)> families)
    {
        _records = new RecordTableWriter<RuleRecord>(segment.Body, Capacities.Rules);
        _arena = new RuleArena(RuleSegment.Compiled(segment), Capacities.CompiledRules);
        (_interfaces, _gaps, _reclaimer) = (interfaces, gaps, reclaimer);
        _vrf = vrf;
        _families = new FamilyRules[families.Length];
        for (int i = 0; i < families.Length; i++)
        {
            (byte family, IRuleTables tables) = families[i];
            _families[i] = new FamilyRules(family, tables, family == RuleFamily.Ipv4 ? &vrf->Rules4 : &vrf->Rules6);
            _arena.Reserve(_families[i].List);
        }

        InterfacesChanged();
        foreach ((int slot, RuleRecord r) in _records.Reader.All().ToList())
        {
            if (!_slots.TryAdd(IdOf(in r), slot))
            {
                _records.Free(slot);
            }
        }

        Publish(); // until cmgrd has told the rules there are none, and nothing is forwarded
    }

    /// <summary>One family: its word, what the word's list needs, and whether it is to be compiled again.</summary>
    private sealed class FamilyRules(byte family, IRuleTables tables, ulong* word)
    {
        public byte Family => family;

        public IRuleTables Tables => tables;

        public RuleList List
        {
            get => new(*word);
            set => Volatile.Write(ref *word, value.Value);
        }

        public IReadOnlyList<uint> Required { get; set; } = [];

        public uint Occupancy { get; set; }

        public bool Stale { get; set; } = true;
    }

    public int Count => _slots.Count;

    /// <summary>IPv4 has, or had, other rules than the three it is born with: Linux then validates every source by a full lookup.</summary>
    public bool HadCustomRules { get; private set; }

    /// <returns>False when the table is full.</returns>
    public bool TryUpsert(Wire.Rule wire, ulong generation)
    {
        RuleRecord r = RuleWire.RecordOf(wire, generation);
        if (!_slots.TryGetValue(IdOf(in r), out int slot))
        {
            slot = _records.Allocate();
            if (slot < 0)
            {
                return false;
            }

            _slots[IdOf(in r)] = slot;
        }
        else if (_records[slot].Order == r.Order)
        {
            _records.Write(slot, r); // renewed
            return true;
        }

        _records.Write(slot, r);
        MarkStale(r.Family);
        return true;
    }

    public void Remove(Wire.RuleKey key)
    {
        if (_slots.Remove(BinaryPrimitives.ReadUInt128BigEndian(key.Id.Span), out int slot))
        {
            byte family = _records[slot].Family;
            _records.Free(slot);
            MarkStale(family);
        }
    }

    public int Sweep(ulong generation)
    {
        List<KeyValuePair<UInt128, int>> stale = [.. _slots.Where(s => _records[s.Value].Generation != generation)];
        foreach ((UInt128 id, int slot) in stale)
        {
            byte family = _records[slot].Family;
            _slots.Remove(id);
            _records.Free(slot);
            MarkStale(family);
        }

        return stale.Count;
    }

    /// <summary>The ports that rules may name may have changed.</summary>
    public void InterfacesChanged()
    {
        // While names are exchanged (a→t, b→a, t→b) two interfaces may have one name for a moment, and its PortId.
        Dictionary<string, ushort> ports = [];
        foreach (InterfaceRecord i in _interfaces.All.Where(i => i.PortId != InterfaceRecord.NoPort))
        {
            ports[i.Name.ToString()] = i.PortId;
        }

        if (ports.Count != _ports.Count || ports.Any(p => _ports.GetValueOrDefault(p.Key, CompiledRule.AnyPort) != p.Value))
        {
            _ports = ports;
            Array.ForEach(_families, f => f.Stale = true);
        }
    }

    /// <summary>Compiles what has become stale, and puts it in force.</summary>
    public void Publish()
    {
        foreach (FamilyRules f in _families)
        {
            if (f.Stale || f.Occupancy != f.Tables.Occupancy)
            {
                Publish(f);
            }
        }
    }

    private static UInt128 IdOf(in RuleRecord r) => new(r.IdHigh, r.IdLow);

    private void MarkStale(byte family)
    {
        foreach (FamilyRules f in _families)
        {
            f.Stale |= f.Family == family;
        }
    }

    private void Publish(FamilyRules f)
    {
        List<RuleRecord> rules = [.. _slots.Values.Select(s => _records[s]).Where(r => r.Family == f.Family).OrderBy(r => r.Priority).ThenBy(r => r.Order)];
        HadCustomRules |= f.Family == RuleFamily.Ipv4 && rules.Count > 0 && !RuleFamily.IsBorn(rules);
        if (f.Family == RuleFamily.Ipv6)
        {
            Volatile.Write(ref _vrf->RulesDissect6, rules.Exists(RequiresDissection) ? 1u : 0u);
        }

        f.Occupancy = f.Tables.Occupancy;
        RuleProgram program = new RuleCompiler(f.Family, f.Tables, name => _ports.GetValueOrDefault(name, CompiledRule.AnyPort)).Compile(rules);
        IReadOnlyList<uint> before = f.Required;
        f.Required = program.Tables;
        f.Stale = !TryPutInForce(f, program);
        foreach (uint table in before)
        {
            f.Tables.Release(table);
        }

        _gaps.Tell(f.Family, program.Gaps);
    }

    /// <summary>fib_rule_requires_fldissect (include/net/fib_rules.h).</summary>
    private static bool RequiresDissection(RuleRecord r) =>
        r.InputInterface.ToString() != "lo" && (r.IpProtocol != 0 || IsSet(r.SourcePorts) || IsSet(r.DestinationPorts));

    private static bool IsSet(RulePortRange p) => p.First != 0 && p.Last != 0;

    /// <returns>False when lists that workers may still be walking take all the room: until they are gone, all is Linux's.</returns>
    private bool TryPutInForce(FamilyRules f, RuleProgram program)
    {
        RuleList old = f.List;
        if (program.IsDefault)
        {
            f.List = default;
        }
        else if (!old.IsDefault && old != RuleArena.PuntAll && MemoryMarshal.AsBytes(_arena[old]).SequenceEqual(MemoryMarshal.AsBytes<CompiledRule>(program.Rules.ToArray())))
        {
            return true;
        }
        else if (_arena.TryWrite(program.Rules, program.NeedsTransport, out RuleList list))
        {
            f.List = list;
        }
        else
        {
            f.List = RuleArena.PuntAll;
        }

        if (!old.IsDefault && old != f.List && old != RuleArena.PuntAll)
        {
            _reclaimer.Retire(() => _arena.Free(old));
        }

        return f.List != RuleArena.PuntAll;
    }
}
