using System.Runtime.InteropServices;
using FastPathSync.FastPath.Capture;
using FastPathSync.FastPath.Control;
using FastPathSync.FastPath.Exceptions;
using FastPathSync.FastPath.Ports;
using FastPathSync.Linux;
using FastPathSync.SharedMemory;
using FastPathSync.SharedMemory.Tables;
using Microsoft.Extensions.Logging;

namespace FastPathSync.FastPath.Vrfs;

/// <summary>
/// A VRF as the fast path serves it: access to its namespace, its tables, its carrier with an injector for each worker, and
/// the local addresses of its XDP programs. Made by the control thread; a VRF that returns is made anew.
/// </summary>
internal sealed unsafe class ServedVrf : IDisposable
{
    private readonly FileDescriptor? _namespace;
    private readonly List<Injector> _injectors = [];
    private readonly List<PacketTap> _taps = [];
    private WorkerTables* _tables;
    private VrfTableSet? _segments;
    private XdpShared? _xdp;
    private Carrier? _carrier;
    private VrfCapture? _capture;

    /// <param name="name">"" for the home VRF.</param>
    /// <param name="inode">Of the namespace.</param>
    /// <param name="ns">null for the home VRF: every thread of ours begins in it.</param>
    private ServedVrf(string name, ulong inode, FileDescriptor? ns)
    {
        Name = name;
        Inode = inode;
        _namespace = ns;
        Devices = Inside(() => new NetDevice());
    }

    public string Name { get; }

    public ulong Inode { get; }

    public bool IsHome => Name.Length == 0;

    /// <summary>Behind a sentence about something that exists once in each VRF.</summary>
    public string Where => IsHome ? "this namespace" : $"VRF {Name}";

    public NetDevice Devices { get; }

    public VrfTableSet Segments => _segments!;

    public bool HasTables => _segments is not null;

    public XdpShared Xdp => _xdp!;

    public Carrier Carrier => _carrier!;

    public VrfCapture Capture => _capture!;

    /// <summary>VrfState.Change as it was last acted on.</summary>
    public uint Seen { get; set; }

    /// <summary>Null when there is no namespace of that name now.</summary>
    public static ServedVrf? TryOpen(string name)
    {
        if (name.Length == 0)
        {
            return new ServedVrf(name, NetworkNamespace.OwnInode, null);
        }

        FileDescriptor? ns = NetworkNamespace.TryOpen(name, out ulong inode);
        return ns is null ? null : new ServedVrf(name, inode, ns);
    }

    /// <summary>Runs work in the namespace: sockets opened there stay there, and interface indexes are those of there.</summary>
    public T Inside<T>(Func<T> work) => _namespace is null ? work() : NetworkNamespace.Run(_namespace, Name, work);

    public void Use(VrfTableSet segments) => _segments = segments;

    /// <summary>Makes what packets need.</summary>
    /// <param name="tablesOf">What a worker reads.</param>
    public void Begin(XdpHeartbeat heartbeat, in FptunConstants constants, PortTrailers trailers, bool puntThroughTap, IReadOnlyList<Segment> workers, uint largestFrame, Func<VrfTableSet, int, WorkerTables> tablesOf, ILogger log)
    {
        FptunConstants copy = constants;
        _xdp = new XdpShared(heartbeat);
        _carrier = Inside(() => Carrier.Create(copy, Where));
        _tables = (WorkerTables*)NativeMemory.AlignedAlloc((nuint)(workers.Count * sizeof(WorkerTables)), 64);
        for (int w = 0; w < workers.Count; w++)
        {
            _tables[w] = tablesOf(Segments, w);
            _injectors.Add(new Injector(Inside(() => new CarrierQueue(Carrier.IfIndex, puntThroughTap ? Carrier.Tap : null, copy.Secret)), trailers));
            _taps.Add(new PacketTap(Inside(() => new CarrierQueue(Carrier.IfIndex, null, copy.Secret)), trailers, largestFrame));
        }

        _capture = new VrfCapture(_taps, workers, copy, Inside, log);
        Seen = Volatile.Read(ref Segments.State->Change);
        LocalAddresses.Push(Segments.Address, _xdp);
    }

    public WorkerTables* TablesOf(int worker) => _tables + worker;

    public Injector InjectorOf(int worker) => _injectors[worker];

    public PacketTap TapOf(int worker) => _taps[worker];

    /// <summary>Only when no worker has a socket in it any more. The tables are released by who attached them.</summary>
    public void Dispose()
    {
        _injectors.ForEach(i => i.Dispose());
        _injectors.Clear();
        _capture?.Dispose();
        _taps.ForEach(t => t.Dispose());
        _taps.Clear();
        _carrier?.Dispose();
        _xdp?.Dispose();
        NativeMemory.AlignedFree(_tables);
        _tables = null;
        Devices.Dispose();
        _namespace?.Dispose(); // the last of ours: a namespace whose name is gone may go now
    }
}
