using FastPathSync.FpManager.Features.Address;
using FastPathSync.FpManager.Features.Capture;
using FastPathSync.FpManager.Features.Demotion;
using FastPathSync.FpManager.Features.Interface;
using FastPathSync.FpManager.Features.Neighbour;
using FastPathSync.FpManager.Features.Nexthop;
using FastPathSync.FpManager.Features.Route;
using FastPathSync.FpManager.Features.Rule;
using FastPathSync.FpManager.Features.Settings;
using FastPathSync.FpManager.Memory;
using FastPathSync.Linux;
using FastPathSync.SharedMemory;
using FastPathSync.SharedMemory.Tables;
using Wire = FastPathSync.Fpc.Protocol;

namespace FastPathSync.FpManager;

/// <summary>
/// Everything that fpmd writes, behind one lock: the only writer of the configuration segments. Each Apply is one FPC
/// batch, and returns an error text when some of it found a table full (the rest is applied).
/// </summary>
public sealed unsafe class ForwardingState
{
    private const string FullObject = "fast path tables", NeighboursObject = "fast path neighbour table", NexthopsObject = "fast path nexthop table", SilenceObject = "cmgrd";

    /// <summary>cmgrd speaks once a second; killed, it is back within one or two.</summary>
    private const ulong SilenceLimit = 5_000_000_000;

    /// <summary>A synchronization that a person asked for (fpctl verify --repair): what is compiled is looked at too.</summary>
    private const string RepairReason = "request";
    private readonly Lock _lock;
    private readonly VrfState* _vrf;
    private readonly ConfigurationSegments _segments;
    private readonly HashSet<Wire.ObjectKind> _syncing = [];

    /// <summary>null: the VRF has no ports.</summary>
    private readonly CaptureStore? _captures;
    private ulong _generation;
    private ulong _lastHeard = MonotonicClock.Nanoseconds;

    /// <summary>Which of these tables were found full since the present synchronization began.</summary>
    private readonly HashSet<string> _full = [];

    /// <summary>The only VRF of its process.</summary>
    public ForwardingState(ConfigurationSegments segments, IReadOnlyList<string> ports, IWorkerSet workers)
        : this(segments, ports, new Reclaimer(workers), new Lock())
    {
    }

    /// <param name="segments">The tables, as an earlier fpmd left them or empty.</param>
    /// <param name="ports">Interface names by PortId; "" for those of other VRFs.</param>
    /// <param name="reclaimer">Of the process.</param>
    /// <param name="gate">Held for whatever touches the tables or the reclaimer; one for all VRFs.</param>
    internal ForwardingState(ConfigurationSegments segments, IReadOnlyList<string> ports, Reclaimer reclaimer, Lock gate)
    {
        _lock = gate;
        _segments = segments;
        _vrf = VrfSegment.State(segments.Vrf);
        _generation = Math.Max(1, segments.Vrf.Header.Generation);
        Reclaimer = reclaimer;
        Interfaces = new InterfaceStore(segments.Interface, ports);
        Demotions = new DemotionStore(segments.Vrf, Interfaces);
        Addresses = new AddressStore(segments.Address);
        Neighbours = new NeighbourStore(segments, Interfaces, Reclaimer);
        Settings = new SettingsStore(_vrf, Interfaces, Addresses);
        _captures = segments.HasCaptures ? new CaptureStore(segments.Capture, _vrf) : null;
        Nexthops = new NexthopStore(segments, Interfaces, Neighbours, Reclaimer, Demotions.IsEgressDemoted);
        Tries = new FibTrieWriter(segments.FibTrie, Reclaimer);
        Routes = new RouteStore(segments.Route, Nexthops, !segments.HasFib4 ? null : new Fib4Writer(
            Fib4Segment.Table24(segments.Fib4), Fib4Segment.Groups(segments.Fib4), Fib4Segment.GroupUse(segments.Fib4), Capacities.Fib4Groups, Reclaimer), Tries, Reclaimer);
        Routes6 = new Route6Store(segments.Route6, Nexthops, Tries);
        Rules = new RuleStore(segments.Rule, _vrf, Interfaces, new RuleGaps(Demotions), Reclaimer, (RuleFamily.Ipv4, Routes), (RuleFamily.Ipv6, Routes6));
        Routes.CloseUnrequired();
        Nexthops.FreeUnreferenced();
        SuspectSources();
        Settings.PublishPorts();
        Demotions.Publish();
        DemoteIncomplete();
    }

    public Reclaimer Reclaimer { get; }

    /// <summary>The tables of prefixes that aren't in DIR-24-8: IPv6, policy routing, small VRFs.</summary>
    public FibTrieWriter Tries { get; }

    public InterfaceStore Interfaces { get; }

    public AddressStore Addresses { get; }

    public NeighbourStore Neighbours { get; }

    public NexthopStore Nexthops { get; }

    public RouteStore Routes { get; }

    public RuleStore Rules { get; }

    public Route6Store Routes6 { get; }

    public DemotionStore Demotions { get; }

    public SettingsStore Settings { get; }

    /// <summary>Entries found wrong and mended on request, since this fpmd started.</summary>
    public int Repaired { get; private set; }

    public bool EverSynchronized => _vrf->EverSynchronized != 0;

    /// <summary>Kernel and tables agree.</summary>
    public bool IsSynchronized => Volatile.Read(ref _vrf->Synchronized) != 0;

    /// <summary>Called ten times a second.</summary>
    public void Beat()
    {
        lock (_lock)
        {
            _segments.Beat();
            Nexthops.Heal();
            DemoteSilence();
        }
    }

    public void ManagerConnected(bool connected)
    {
        lock (_lock)
        {
            _vrf->ManagerConnected = connected ? 1u : 0;
            Volatile.Write(ref _vrf->Synchronized, 0);
        }
    }

    public void BeginSync(Wire.BeginSync m)
    {
        lock (_lock)
        {
            _generation = Math.Max(m.Generation, 1);
            _full.Clear();
            Routes.Audit = Routes6.Audit = m.Audit ? new AuditCount() : null;
            _syncing.Clear();
            _syncing.UnionWith(m.Kinds.Count > 0 ? m.Kinds : Enum.GetValues<Wire.ObjectKind>());
        }
    }

    /// <returns>False when that generation was not begun.</returns>
    public bool TryEndSync(Wire.EndSync m, out int swept)
    {
        lock (_lock)
        {
            swept = 0;
            if (m.Generation != _generation || _syncing.Count == 0)
            {
                return false;
            }

            // Dependents first, as Linux would have announced their end.
            swept += Swept(Wire.ObjectKind.Rule, Rules.Sweep);
            swept += Swept(Wire.ObjectKind.Route, Routes.Sweep);
            swept += Swept(Wire.ObjectKind.Route6, Routes6.Sweep);
            swept += Swept(Wire.ObjectKind.Nexthop, Nexthops.SweepObjects);
            swept += Swept(Wire.ObjectKind.Neighbour, Neighbours.Sweep);
            swept += Swept(Wire.ObjectKind.Address, Addresses.Sweep);
            swept += Swept(Wire.ObjectKind.Interface, g =>
            {
                List<uint> stale = Interfaces.Stale(g);
                stale.ForEach(RemoveInterface);
                return stale.Count;
            });
            swept += Swept(Wire.ObjectKind.Demotion, Demotions.Sweep);
            LookLocalFirst();
            PublishRules();
            SuspectSources();
            RecomputePorts();
            if (_syncing.Contains(Wire.ObjectKind.Unspecified))
            {
                EndFull();
            }

            Heard();

            if (Routes.Audit is AuditCount audit)
            {
                Routes.Audit = Routes6.Audit = null;
                _vrf->AuditRuns++;
                _vrf->AuditChecked += m.Checked;
                _vrf->AuditRepaired += m.Repaired + (ulong)(swept + audit.Mended + Nexthops.Repair());
                _vrf->AuditLast = DateTimeOffset.UtcNow.ToUnixTimeSeconds();
            }
            else
            {
                _vrf->Resyncs++;
            }

            if (m.Reason == RepairReason)
            {
                Repaired += Nexthops.Repair() + Routes.Repair() + Routes6.Repair();
                DemoteIncomplete();
            }

            _syncing.Clear();
            _segments.Vrf.Header.Generation = _generation;
            Changed();
            Volatile.Write(ref _vrf->EverSynchronized, 1);
            return true;
        }
    }

    public void SyncState(Wire.SyncState m)
    {
        lock (_lock)
        {
            _vrf->Overruns = m.Overruns;
            _vrf->UnknownMessages = m.UnknownMessages;
            Heard();
            Volatile.Write(ref _vrf->Synchronized, m.Idle && _vrf->EverSynchronized != 0 ? 1u : 0);
        }
    }

    public string? Apply(Wire.InterfaceBatch batch) => Applying(batch.ObservedNs, () =>
    {
        bool room = true;
        foreach (Wire.InterfaceBatch.Types.Update u in batch.Updates)
        {
            if (u.ChangeCase == Wire.InterfaceBatch.Types.Update.ChangeOneofCase.Delete)
            {
                RemoveInterface(u.Delete.Ifindex);
            }
            else if (u.ChangeCase == Wire.InterfaceBatch.Types.Update.ChangeOneofCase.Upsert)
            {
                room &= Interfaces.TryUpsert(u.Upsert, _generation, out InterfaceRecord before, out InterfaceRecord after);
                InterfaceChanged(before, after);
            }
        }

        Rules.InterfacesChanged();
        PublishRules();
        Changed();
        return room ? null : $"interface table is full ({_segments.Interface.Capacity})";
    });

    public string? Apply(Wire.AddressBatch batch) => Applying(batch.ObservedNs, () =>
    {
        bool room = true;
        foreach (Wire.AddressBatch.Types.Update u in batch.Updates)
        {
            if (u.ChangeCase == Wire.AddressBatch.Types.Update.ChangeOneofCase.Delete)
            {
                Addresses.Remove(u.Delete);
            }
            else if (u.ChangeCase == Wire.AddressBatch.Types.Update.ChangeOneofCase.Upsert)
            {
                room &= Addresses.TryUpsert(u.Upsert, _generation);
            }
        }

        Changed();
        return room ? null : $"address table is full ({_segments.Address.Capacity})";
    });

    public string? Apply(Wire.NexthopBatch batch) => Applying(batch.ObservedNs, () =>
    {
        foreach (Wire.NexthopBatch.Types.Update u in batch.Updates)
        {
            if (u.ChangeCase == Wire.NexthopBatch.Types.Update.ChangeOneofCase.Delete)
            {
                Nexthops.RemoveObject(u.Delete.Id);
            }
            else if (u.ChangeCase == Wire.NexthopBatch.Types.Update.ChangeOneofCase.Upsert)
            {
                Nexthops.UpsertObject(u.Upsert, _generation);
            }
        }

        return null;
    });

    public string? Apply(Wire.RouteBatch batch) => Applying(batch.ObservedNs, () =>
    {
        bool room = true;
        foreach (Wire.RouteBatch.Types.Update u in batch.Updates)
        {
            if (u.ChangeCase == Wire.RouteBatch.Types.Update.ChangeOneofCase.Delete)
            {
                Routes.Remove(u.Delete);
            }
            else if (u.ChangeCase == Wire.RouteBatch.Types.Update.ChangeOneofCase.Upsert)
            {
                room &= Routes.TryUpsert(u.Upsert, _generation);
            }
        }

        if (batch.Deletes is not null)
        {
            Routes.Remove(batch.Deletes);
        }

        if (batch.Upserts is not null)
        {
            room &= Routes.TryUpsert(batch.Upserts, _generation);
        }

        if (Routes.CustomLocalRoutes > 0 || Routes.SuspectsAllSources)
        {
            _vrf->CheckSource = 1; // as in the kernel, it stays: net->ipv4.fib_has_custom_local_routes
        }

        PublishRules();
        SuspectSources();
        return room ? null : $"route tables are full ({_segments.Route.Capacity} routes, {Capacities.Fib4Groups} FIB groups)";
    });

    public string? Apply(Wire.RuleBatch batch) => Applying(batch.ObservedNs, () =>
    {
        bool room = true;
        foreach (Wire.RuleBatch.Types.Update u in batch.Updates)
        {
            if (u.ChangeCase == Wire.RuleBatch.Types.Update.ChangeOneofCase.Delete)
            {
                Rules.Remove(u.Delete);
            }
            else if (u.ChangeCase == Wire.RuleBatch.Types.Update.ChangeOneofCase.Upsert)
            {
                room &= Rules.TryUpsert(u.Upsert, _generation);
            }
        }

        PublishRules();
        return room ? null : $"rule table is full ({Capacities.Rules})";
    });

    public string? Apply(Wire.Route6Batch batch) => Applying(batch.ObservedNs, () =>
    {
        bool room = true;
        foreach (Wire.Route6Batch.Types.Update u in batch.Updates)
        {
            if (u.ChangeCase == Wire.Route6Batch.Types.Update.ChangeOneofCase.Delete)
            {
                room &= Routes6.Remove(u.Delete);
            }
            else if (u.ChangeCase == Wire.Route6Batch.Types.Update.ChangeOneofCase.Upsert)
            {
                room &= Routes6.TryUpsert(u.Upsert, _generation);
            }
        }

        if (batch.Deletes is not null)
        {
            room &= Routes6.Remove(batch.Deletes);
        }

        if (batch.Upserts is not null)
        {
            room &= Routes6.TryUpsert(batch.Upserts, _generation);
        }

        LookLocalFirst();
        PublishRules();
        return room ? null : $"IPv6 route tables are full ({_segments.Route6.Capacity} routes, {_segments.FibTrie.Capacity} FIB units)";
    });

    public string? Apply(Wire.NeighbourBatch batch) => Applying(batch.ObservedNs, () =>
    {
        bool room = true;
        foreach (Wire.NeighbourBatch.Types.Update u in batch.Updates)
        {
            if (u.ChangeCase == Wire.NeighbourBatch.Types.Update.ChangeOneofCase.Delete)
            {
                Neighbours.Remove(new NeighbourKey(u.Delete.Ifindex, IpAddress.FromBytes(u.Delete.Destination.Span)));
            }
            else if (u.ChangeCase == Wire.NeighbourBatch.Types.Update.ChangeOneofCase.Upsert && !Neighbours.TryUpsert(u.Upsert, _generation))
            {
                room = false;
                _vrf->TableFull++;
            }
        }

        if (room)
        {
            return null;
        }

        // A neighbour without room punts "no neighbour" and Linux forwards: no reason to leave everything to Linux.
        string error = $"neighbour table is full ({_segments.Neighbour.Capacity})";
        Full(NeighboursObject, $"{error}: packets for neighbours without room are Linux's", DemotionEffect.Partial);
        return error;
    }, demoteWhenFull: false);

    public string? Apply(Wire.DemotionBatch batch) => Applying(batch.ObservedNs, () =>
    {
        bool room = true;
        foreach (Wire.DemotionBatch.Types.Update u in batch.Updates)
        {
            if (u.ChangeCase == Wire.DemotionBatch.Types.Update.ChangeOneofCase.Delete)
            {
                Demotions.End(u.Delete.Object);
            }
            else if (u.ChangeCase == Wire.DemotionBatch.Types.Update.ChangeOneofCase.Upsert)
            {
                Wire.Demotion d = u.Upsert;
                room &= Demotions.TryRaise(d.Object, d.Reason, (DemotionEffect)d.Effect, d.Ifindex, d.Families == 0 ? Families.Both : (Families)d.Families & Families.Both, _generation);
            }
        }

        RecomputePorts();
        return room ? null : $"demotion table is full ({_segments.Vrf.Capacity})";
    });

    public void Apply(Wire.Settings settings) => _ = Applying(0, () =>
    {
        Settings.Apply(settings);
        Nexthops.HeedNeighbours(settings.MultipathUseNeigh);
        return null;
    });

    public void Apply(Wire.Captures captures) => _ = Applying(0, () =>
    {
        _captures?.Apply(captures);
        return null;
    });

    /// <summary>A demotion of fpmd's own.</summary>
    public void Demote(string @object, string reason, DemotionEffect effect, uint ifindex)
    {
        lock (_lock)
        {
            Demotions.TryRaise(@object, reason, effect, ifindex, Families.Both, DemotionStore.Own);
        }
    }

    public void EndDemotion(string @object)
    {
        lock (_lock)
        {
            Demotions.End(@object);
        }
    }

    /// <summary>Ports with their interface's present MTU.</summary>
    public List<(int Port, uint IfIndex, string Name, uint Mtu)> PortMtus()
    {
        lock (_lock)
        {
            return [.. Interfaces.All.Where(i => i.PortId != InterfaceRecord.NoPort).Select(i => ((int)i.PortId, i.IfIndex, i.Name.ToString(), i.Mtu))];
        }
    }

    private string? Applying(ulong observed, Func<string?> apply, bool demoteWhenFull = true)
    {
        lock (_lock)
        {
            _lastHeard = MonotonicClock.Nanoseconds;
            string? error = apply();
            if (error is not null && demoteWhenFull)
            {
                _vrf->TableFull++;
                DemoteFull(error);
            }

            if (Nexthops.TakeLack() && error is null)
            {
                // Routes without a nexthop of theirs punt: nothing else is to be left to Linux.
                _vrf->TableFull++;
                error = $"nexthop table is full ({_segments.Nexthop.Capacity} nexthops and as many group members)";
                Full(NexthopsObject, $"{error}: routes without one are Linux's", DemotionEffect.Partial);
            }

            ulong now = _vrf->LastChange = MonotonicClock.Nanoseconds;
            if (observed != 0)
            {
                ulong microseconds = now > observed ? (now - observed) / 1000 : 0;
                _vrf->Latency[VrfState.BucketOf(microseconds)]++;
                _vrf->LatencyMax = Math.Max(_vrf->LatencyMax, microseconds);
            }

            return error;
        }
    }

    /// <summary>Until a whole synchronization finds room for everything.</summary>
    private void DemoteFull(string reason) => Full(FullObject, reason, DemotionEffect.Vrf);

    private void Full(string table, string reason, DemotionEffect effect)
    {
        _full.Add(table);
        Demotions.TryRaise(table, reason, effect, 0, Families.Both, DemotionStore.Own);
    }

    /// <summary>At the end of a whole synchronization: what it found room for is not full any more.</summary>
    private void EndFull()
    {
        foreach (string table in (ReadOnlySpan<string>)[FullObject, NeighboursObject, NexthopsObject])
        {
            if (!_full.Contains(table) && !(table == FullObject && IsIncomplete))
            {
                Demotions.End(table);
            }
        }
    }

    /// <summary>
    /// Without cmgrd nobody sees a new rule or a lost route: after a while everything is Linux's. A restart takes a second.
    /// </summary>
    private void DemoteSilence()
    {
        if (Interfaces.PortNames.Count > 0 && EverSynchronized && _syncing.Count == 0 && MonotonicClock.Nanoseconds - _lastHeard > SilenceLimit)
        {
            Demotions.TryRaise(
                SilenceObject, "the cache manager has said nothing for five seconds: what changes in Linux is not seen, so Linux forwards until it is back",
                DemotionEffect.Vrf, 0, Families.Both, DemotionStore.Own);
            Volatile.Write(ref _vrf->Synchronized, 0);
        }
    }

    private void Heard()
    {
        _lastHeard = MonotonicClock.Nanoseconds;
        Demotions.End(SilenceObject);
    }

    /// <summary>Egress demotions stand in the nexthop words.</summary>
    private void RecomputePorts()
    {
        foreach (InterfaceRecord i in Interfaces.All.Where(i => i.PortId != InterfaceRecord.NoPort).ToList())
        {
            Nexthops.InterfaceChanged(i.IfIndex);
        }
    }

    private int Swept(Wire.ObjectKind kind, Func<ulong, int> sweep) => _syncing.Contains(kind) ? sweep(_generation) : 0;

    private void RemoveInterface(uint ifindex)
    {
        if (Interfaces.Remove(ifindex))
        {
            Neighbours.InterfaceChanged(ifindex);
            Nexthops.InterfaceChanged(ifindex);
            Changed();
        }
    }

    private void InterfaceChanged(InterfaceRecord before, InterfaceRecord after)
    {
        if (before.IfIndex == 0 || before.Mtu != after.Mtu || before.IsUp != after.IsUp || before.PortId != after.PortId
            || before.IgnoreRoutesWithLinkdown != after.IgnoreRoutesWithLinkdown || before.Mtu6 != after.Mtu6
            || before.IgnoreRoutesWithLinkdown6 != after.IgnoreRoutesWithLinkdown6
            || !new ReadOnlySpan<byte>(before.Address, 6).SequenceEqual(new ReadOnlySpan<byte>(after.Address, 6)))
        {
            Neighbours.InterfaceChanged(after.IfIndex);
            Nexthops.InterfaceChanged(after.IfIndex);
        }
    }

    private bool IsIncomplete => Routes.IsIncomplete || Routes6.IsIncomplete;

    private void DemoteIncomplete()
    {
        LookLocalFirst();
        if (IsIncomplete)
        {
            DemoteFull($"the FIB has no room for all routes ({Capacities.Fib4Groups} groups of IPv4, {_segments.FibTrie.Capacity} units of tries)");
        }
    }

    private void LookLocalFirst() => Volatile.Write(ref _vrf->LocalFirst6, Routes6.ShortLocalRoutes > 0 ? 1u : 0);

    private void SuspectSources()
    {
        if (Routes.TakeSuspectsChanged())
        {
            Addresses.SetSuspects(Routes.SuspectSources);
        }
    }

    private void PublishRules()
    {
        Rules.Publish();
        if (Rules.HadCustomRules)
        {
            _vrf->CheckSource = 1; // as in the kernel, it stays: net->ipv4.fib_has_custom_rules
        }
    }

    /// <summary>
    /// Ports, addresses or demotions may have changed: the fast path's control thread shall look. What holds for a port stands there
    /// before its ifindex does (Demotions.Publish), which lets its packets in.
    /// </summary>
    private void Changed()
    {
        Settings.PublishPorts();
        Demotions.Publish();
        Volatile.Write(ref _vrf->Change, _vrf->Change + 1);
    }
}
