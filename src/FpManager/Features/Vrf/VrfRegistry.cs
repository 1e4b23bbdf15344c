using FastPathSync.FpManager.Memory;
using FastPathSync.Hosting;
using FastPathSync.Linux;
using FastPathSync.SharedMemory;
using FastPathSync.SharedMemory.Tables;
using Microsoft.Extensions.Logging;

namespace FastPathSync.FpManager.Features.Vrf;

/// <summary>A VRF with its tables.</summary>
public sealed class VrfEntry(string name, ulong inode, int slot, IReadOnlyList<string> ports, ConfigurationSegments segments, ForwardingState state)
{
    /// <summary>"" for the home VRF.</summary>
    public string Name { get; } = name;

    public ulong Inode { get; } = inode;

    /// <summary>In the directory.</summary>
    public int Slot { get; } = slot;

    /// <summary>By PortId; empty for a VRF without ports.</summary>
    public IReadOnlyList<string> Ports { get; } = ports;

    public ConfigurationSegments Segments { get; } = segments;

    public ForwardingState State { get; } = state;

    public bool IsSmall => !Segments.HasFib4;
}

/// <summary>
/// All VRFs of the instance: makes their tables, takes up those that an earlier fpmd left, lets small ones grow, and keeps the
/// directory by which the other processes find them.
/// </summary>
public sealed unsafe class VrfRegistry
{
    /// <summary>In the "vrf" of a port's name: the ports of the home VRF have none.</summary>
    private const string Home = "";

    private readonly Lock _lock = new();
    private readonly SegmentStore _store;
    private readonly IReadOnlyList<PortName> _ports;
    private readonly IWorkerSet _workers;
    private readonly VrfSizes _sizes;
    private readonly ILogger _log;
    private readonly Segment _directory;
    private readonly RecordTableWriter<VrfRecord> _records;
    private readonly Dictionary<string, VrfEntry> _vrfs = [];
    private ulong _epoch;
    private int _ticks;

    /// <param name="store">Where the tables are kept.</param>
    /// <param name="ports">By PortId.</param>
    /// <param name="workers">Who reads them.</param>
    /// <param name="sizes">Of VRFs with ports; null: as large as they can be.</param>
    public VrfRegistry(SegmentStore store, IReadOnlyList<PortName> ports, IWorkerSet workers, ILogger log, VrfSizes? sizes = null)
    {
        _sizes = sizes ?? VrfSizes.Full;
        _store = store;
        _ports = ports;
        _workers = workers;
        _log = log;
        Reclaimer = new Reclaimer(workers);
        _directory = OpenDirectory();
        _records = new RecordTableWriter<VrfRecord>(_directory.Body, _directory.Capacity);
        _epoch = MonotonicClock.Nanoseconds; // later than any that an earlier fpmd gave
        TakeUp();
    }

    public Reclaimer Reclaimer { get; }

    public VrfEntry HomeVrf => _vrfs[Home];

    public IReadOnlyList<VrfEntry> All
    {
        get
        {
            lock (_lock)
            {
                return [.. _vrfs.Values];
            }
        }
    }

    public VrfEntry? TryGet(string name)
    {
        lock (_lock)
        {
            return _vrfs.GetValueOrDefault(name);
        }
    }

    /// <summary>The VRF of that name, with empty tables when it is new, or the namespace behind the name is another.</summary>
    /// <returns>Null when there is no room for another VRF.</returns>
    public VrfEntry? TryUpsert(string name, ulong inode)
    {
        lock (_lock)
        {
            if (_vrfs.TryGetValue(name, out VrfEntry? known))
            {
                if (known.Inode == inode)
                {
                    return known;
                }

                Drop(known);
            }

            int slot = _records.Allocate();
            if (slot < 0)
            {
                return null;
            }

            string[] ports = PortsOf(name);
            return Add(name, inode, slot, ports, ports.Length > 0 ? ConfigurationSegments.Create(_store, name, _sizes) : ConfigurationSegments.CreateSmall(_store, name, VrfSizes.Small));
        }
    }

    public void Remove(string name)
    {
        lock (_lock)
        {
            if (_vrfs.TryGetValue(name, out VrfEntry? known) && name != Home)
            {
                Drop(known);
            }
        }
    }

    /// <summary>Makes the tables of a VRF without ports anew, larger and empty; null when they can't be larger.</summary>
    public VrfEntry? TryGrow(VrfEntry vrf)
    {
        lock (_lock)
        {
            VrfSizes larger = vrf.Segments.Sizes.Larger();
            if (!vrf.IsSmall || larger == vrf.Segments.Sizes)
            {
                return null;
            }

            _records.Free(vrf.Slot);
            Retire(vrf.Segments);
            _log.LogInformation("VRF {Vrf}: its tables are made anew for {Routes} routes", vrf.Name, larger.Routes);
            VrfEntry grown = Add(vrf.Name, vrf.Inode, _records.Allocate(), vrf.Ports, ConfigurationSegments.CreateSmall(_store, vrf.Name, larger));
            grown.State.ManagerConnected(true);
            return grown;
        }
    }

    /// <summary>Of all VRFs.</summary>
    public void ManagerConnected(bool connected)
    {
        foreach (VrfEntry v in All)
        {
            v.State.ManagerConnected(connected);
        }
    }

    /// <summary>Called once a second.</summary>
    public void UseHugePages()
    {
        foreach (VrfEntry v in All)
        {
            v.Segments.UseHugePages();
        }
    }

    /// <summary>Called ten times a second: heartbeats, and reuse of what has become free.</summary>
    public void Tick()
    {
        bool everyone = _ticks++ % 10 == 0;
        foreach (VrfEntry v in All)
        {
            if (everyone || !v.IsSmall)
            {
                v.State.Beat();
            }
        }

        lock (_lock)
        {
            Reclaimer.Close();
        }

        _workers.Refresh(); // may ask another process: not under the lock
        lock (_lock)
        {
            _directory.Beat();
            Reclaimer.Poll();
            foreach (VrfEntry v in _vrfs.Values)
            {
                uint synchronized = v.State.IsSynchronized ? 1u : 0;
                if (_records[v.Slot].Synchronized != synchronized)
                {
                    _records[v.Slot].Synchronized = synchronized; // a single aligned store
                }
            }
        }
    }

    /// <summary>Gives a supervisor that was started anew what it lost.</summary>
    public void KeepIn(SegmentStore store)
    {
        foreach (VrfEntry v in All)
        {
            v.Segments.KeepIn(store);
        }

        store.KeepSegment(_directory);
    }

    private Segment OpenDirectory()
    {
        if (_store.TryGetSegment(SegmentNames.VrfDirectory, SegmentKind.VrfDirectory, writable: true) is Segment found)
        {
            return found;
        }

        Segment made = Segment.Create(SegmentNames.VrfDirectory, SegmentKind.VrfDirectory, Capacities.Vrfs, VrfDirectorySegment.BodyLength);
        _store.PutSegment(made);
        return made;
    }

    /// <summary>What an earlier fpmd left, and the home VRF in any case.</summary>
    private void TakeUp()
    {
        foreach ((int slot, VrfRecord r) in _records.Reader.All().Where(r => r.Slot != VrfDirectorySegment.Home).ToList())
        {
            string name = r.Name.ToString();
            string[] ports = PortsOf(name);
            bool small = (r.Flags & VrfFlags.Small) != 0;
            ConfigurationSegments? segments = small ? ConfigurationSegments.TryAttachSmall(_store, name) : ConfigurationSegments.AttachOrCreate(_store, name, _sizes);
            if (segments is null || small != (ports.Length == 0))
            {
                // It has got its first port or lost its last one since: others are made for it once cmgrd names it.
                _records.Free(slot);
                segments?.DropFrom(_store);
                segments?.Dispose();
                continue;
            }

            _records.Write(slot, r with { Ports = Count(ports) });
            _vrfs[name] = new VrfEntry(name, r.NetnsInode, slot, ports, segments, new ForwardingState(segments, ports, Reclaimer, _lock));
        }

        if (_records.Reader.HighWater == 0)
        {
            _ = _records.Allocate(); // slot 0
        }

        ulong own = NetworkNamespace.OwnInode;
        string[] homePorts = [.. _ports.Select(p => p.Vrf == Home ? p.Interface : "")];
        ConfigurationSegments home = ConfigurationSegments.AttachOrCreate(_store, Home, _sizes);
        Add(Home, own, VrfDirectorySegment.Home, homePorts, home);
    }

    private string[] PortsOf(string vrf) => _ports.Any(p => p.Vrf == vrf) ? [.. _ports.Select(p => p.Vrf == vrf ? p.Interface : "")] : [];

    private static uint Count(IReadOnlyList<string> ports) => (uint)ports.Count(p => p.Length > 0);

    private VrfEntry Add(string name, ulong inode, int slot, IReadOnlyList<string> ports, ConfigurationSegments segments)
    {
        VrfEntry vrf = new(name, inode, slot, ports, segments, new ForwardingState(segments, ports, Reclaimer, _lock));
        _vrfs[name] = vrf;
        bool known = _records.IsUsed(slot) && _records[slot].NetnsInode == inode; // the home VRF after a restart: the same tables
        _records.Write(slot, new VrfRecord
        {
            NetnsInode = inode,
            Epoch = known ? _records[slot].Epoch : ++_epoch,
            Flags = vrf.IsSmall ? VrfFlags.Small : VrfFlags.None,
            Ports = Count(ports),
            Name = Text256.From(name == Home ? NetworkNamespace.NameOf(inode) : name),
        });
        return vrf;
    }

    /// <summary>First nobody finds it any more, then its tables go.</summary>
    private void Drop(VrfEntry vrf)
    {
        _vrfs.Remove(vrf.Name);
        _records.Free(vrf.Slot);
        vrf.Segments.DropFrom(_store);
        Retire(vrf.Segments);
        _log.LogInformation("VRF {Vrf} has gone: its tables are dropped", vrf.Name);
    }

    /// <summary>What still waits for a grace period writes into these tables: they are unmapped after that.</summary>
    private void Retire(ConfigurationSegments segments) => Reclaimer.Retire(segments.Dispose);
}
