using System.Runtime.InteropServices;
using FastPathSync.FastPath.Control;
using FastPathSync.FastPath.Exceptions;
using FastPathSync.FastPath.Ports;
using FastPathSync.FastPath.Worker;
using FastPathSync.FastPath.Xsk;
using FastPathSync.Hosting;
using FastPathSync.Linux;
using FastPathSync.SharedMemory;
using FastPathSync.SharedMemory.Tables;
using Microsoft.Extensions.Logging;

namespace FastPathSync.FastPath;

/// <summary>
/// Everything that forwards: segments, carrier, ports, sockets, workers. Start makes all of it, in the order in which
/// nothing is ever half there for a packet; Dispose gives everything back, however far Start came.
/// </summary>
internal sealed unsafe class FastPathEngine : IDisposable
{
    private const uint SmallFrame = 2048, LargeFrame = 4096, FramesPerSocket = 2 * XskSocket.RingSize;
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan s_aliveWithin = TimeSpan.FromSeconds(5);

    /// <summary>fpmd beats ten times a second, and killed it is back within about one: that must not interrupt forwarding.</summary>
    private static readonly TimeSpan s_tablesLimit = TimeSpan.FromSeconds(3);

    /// <summary>Longer than what a worker needs for full RX rings.</summary>
    private static readonly TimeSpan s_drain = TimeSpan.FromMilliseconds(20);

    private readonly FastPathOptions _options;
    private readonly Instance _instance;
    private readonly ILogger _log;
    private readonly ReinjectionCookie _cookie = ReinjectionCookie.Random();
    private readonly PortTrailers _trailers = new();
    private readonly List<Umem> _umems = [];
    private readonly List<ForwardingWorker> _workers = [];
    private readonly List<Port> _ports = [];
    private readonly uint* _second = (uint*)NativeMemory.AlignedAlloc(64, 64);
    private Segments? _segments;
    private XdpShared? _xdp;
    private Carrier? _carrier;
    private uint _frameSize;

    public FastPathEngine(FastPathOptions options, Instance instance, ILogger log)
    {
        _options = options;
        _instance = instance;
        _log = log;
        Tick();
    }

    /// <summary>Held by whoever touches ports once they run: the control thread, and the threads of NETFPC. Workers never take it.</summary>
    public Lock PortGate { get; } = new();

    public NetDevice Devices { get; } = new();

    public Segments Segments => _segments!;

    public XdpShared Xdp => _xdp!;

    public Carrier Carrier => _carrier!;

    public IReadOnlyList<Port> Ports => _ports;

    public IReadOnlyList<ForwardingWorker> Workers => _workers;

    public bool PuntThroughTap => _options.PuntThroughTap;

    public int MaxMtu => (int)Umem.MaxFrame(_frameSize) - Port.EthernetHeader;

    public void Start(CancellationToken cancellation)
    {
        ulong capabilities = Privileges.Effective();
        Privileges.Require(capabilities);
        if (Privileges.Has(capabilities, Privileges.CAP_IPC_LOCK))
        {
            // What is touched stays in memory; sparse tables stay sparse.
            _ = Libc.mlockall(Libc.MCL_CURRENT | Libc.MCL_FUTURE | Libc.MCL_ONFAULT);
        }

        List<int> cpus = ChooseCpus();
        LookAtPorts();
        _segments = new Segments(_instance.SupervisorSocket, _options.Workers);
        WaitForSynchronization(cancellation);

        _xdp = new XdpShared();
        _carrier = Carrier.Create(_cookie);
        foreach ((int id, string name) in _options.Ports.Index())
        {
            Port p = new(id, name, _xdp, _trailers, _cookie);
            _ports.Add(p);
            p.Look(Devices);
            p.Resume(FastPathStateSegment.Port(_segments.State, id));
            _trailers.Set(id, p.IfIndex, genericXdp: false);
        }

        for (int w = 0; w < _options.Workers; w++)
        {
            uint sockets = (uint)_ports.Sum(p => QueuesOf(p, w));
            _umems.Add(new Umem(w, _options.Frames > 0 ? (uint)_options.Frames : sockets * FramesPerSocket, _frameSize));
        }

        _ports.ForEach(BindSockets);
        for (int w = 0; w < _options.Workers; w++)
        {
            StartWorker(w, cpus[w]);
        }

        _xdp.Watch(_workers.Count);
        WaitForWorkers();
        LocalAddresses.Push(_segments.Address, _xdp);
        FollowManager();
        foreach (Port p in _ports)
        {
            Attach(p);
            _log.LogInformation("port {Port} up: {Mode} XDP, {Queues} queues, MTU {Mtu}", p.Name, p.Mode, p.Queues, p.Mtu);
        }
    }

    /// <summary>The clock that workers read; ten times a second.</summary>
    public void Tick() => Volatile.Write(ref *_second, MonotonicClock.CoarseSeconds);

    /// <summary>Tables that nobody keeps in step with the kernel (fpmd is gone, or hangs) say nothing about it: everything is Linux's.</summary>
    public bool TablesKept { get; private set; } = true;

    /// <summary>Looks at fpmd's heartbeat.</summary>
    public void FollowManager()
    {
        ulong beat = Volatile.Read(ref _segments!.Vrf.Header.Heartbeat); // before the clock: it is never ahead of it
        bool kept = MonotonicClock.Nanoseconds - beat <= (ulong)s_tablesLimit.TotalNanoseconds;
        if (kept == TablesKept)
        {
            return;
        }

        TablesKept = kept;
        if (kept)
        {
            _log.LogInformation("fpmd keeps the tables again: the fast path is back in force");
        }
        else
        {
            _log.LogError("fpmd has not beaten for {Seconds} s: Linux forwards everything until it does; its log is {Log}", s_tablesLimit.TotalSeconds, _instance.Log("fpmd"));
        }
    }

    /// <summary>What the XDP program lets through to workers; 0 while the port's packets are Linux's.</summary>
    public uint LongestFrame(Port p)
    {
        VrfState* v = _segments!.VrfState;
        bool demoted = !TablesKept || ((v->PassAll | (Families)Volatile.Read(ref v->IngressPass[p.Id])) & Families.Ipv4) != Families.None;
        return demoted || p.Mtu > MaxMtu ? 0 : (uint)(p.Mtu + Port.EthernetHeader);
    }

    /// <summary>Makes the sockets of a port, each in its worker's UMEM, and posts nothing: workers do that.</summary>
    public void BindSockets(Port p)
    {
        for (int q = 0; q < p.Queues; q++)
        {
            p.Bindings.Add(new XskBinding(_umems[q % _umems.Count], p.Name, p.IfIndex, q, p.Id));
        }
    }

    /// <summary>Makes the workers use the sockets of the ports that are there.</summary>
    public bool ExchangeSockets()
    {
        bool all = true;
        foreach (ForwardingWorker w in _workers)
        {
            all &= w.Exchange(SetOf(w.Id), TimeSpan.FromSeconds(1));
        }

        return all;
    }

    /// <summary>The interface of a Gone port is there again: serves it.</summary>
    public void Revive(Port p)
    {
        p.Look(Devices);
        p.Return();
        try
        {
            CheckQueues(p);
            BindSockets(p);
            _trailers.Set(p.Id, p.IfIndex, genericXdp: false);
            if (!ExchangeSockets())
            {
                throw new InvalidOperationException("a worker does not take its new sockets");
            }

            Attach(p);
        }
        catch
        {
            p.Vanish(FastPathStateSegment.Port(Segments.State, p.Id));
            if (ExchangeSockets())
            {
                p.CloseSockets();
            }

            throw;
        }
    }

    public void Dispose()
    {
        _ports.ForEach(p => p.Detach());
        if (_workers.Count != 0)
        {
            Thread.Sleep(s_drain); // what XDP had redirected before is still forwarded
        }

        _workers.ForEach(w => w.Dispose());
        _ports.ForEach(p => p.Dispose());
        _umems.ForEach(u => u.Dispose());
        _carrier?.Dispose();
        _xdp?.Dispose();
        _segments?.Dispose();
        _trailers.Dispose();
        Devices.Dispose();
        NativeMemory.AlignedFree(_second);
    }

    private void Attach(Port p)
    {
        if (p.Attach(_options.Mode, Devices, LongestFrame(p)) is string reason)
        {
            _log.LogWarning("generic XDP taken: {Cause}", reason);
        }

        if (p.Mode == PortMode.Generic && Devices.MergesReceived(p.Name))
        {
            _log.LogWarning(
                "port {Port}: GRO is on; in generic mode small packets that it merges are forwarded as one: switch it off with 'ethtool -K {Port} gro off'", p.Name, p.Name);
        }
    }

    /// <summary>Queue q of each port is served by worker q mod workers.</summary>
    private int QueuesOf(Port p, int worker) => (p.Queues - worker + _options.Workers - 1) / _options.Workers;

    private SocketSet SetOf(int worker) =>
        new([.. _ports.Where(p => !p.Gone).SelectMany(p => p.Bindings).Where(b => b.Queue % _options.Workers == worker)]);

    /// <summary>All that can be said about the ports before anything is made.</summary>
    private void LookAtPorts()
    {
        if (_options.Ports.Count == 0)
        {
            throw new DaemonStartException(Errno.EINVAL, "no port: give at least one with --port IF");
        }

        if (_options.Ports.Count > Capacities.Ports)
        {
            throw new DaemonStartException(Errno.E2BIG, $"{_options.Ports.Count} ports: at most {Capacities.Ports} can be served");
        }

        if (_options.Ports.GroupBy(n => n).FirstOrDefault(g => g.Count() > 1) is { } twice)
        {
            throw new DaemonStartException(Errno.EEXIST, $"port {twice.Key} is given twice; give each port once");
        }

        _frameSize = SmallFrame;
        foreach ((int id, string name) in _options.Ports.Index())
        {
            Port p = new(id, name, null!, _trailers, _cookie);
            p.Look(Devices);
            if (p.Mtu + Port.EthernetHeader > Umem.MaxFrame(LargeFrame))
            {
                throw new DaemonStartException(
                    Errno.EMSGSIZE,
                    $"port {name}: its MTU {p.Mtu} does not fit a packet frame (largest: {Umem.MaxFrame(LargeFrame) - Port.EthernetHeader}); lower it with 'ip link set dev {name} mtu {Umem.MaxFrame(LargeFrame) - Port.EthernetHeader}'");
            }

            CheckQueues(p);
            if (p.Mtu + Port.EthernetHeader > Umem.MaxFrame(SmallFrame))
            {
                _frameSize = LargeFrame;
            }
        }
    }

    private void CheckQueues(Port p)
    {
        if (p.Queues > XdpLayout.MaxQueues)
        {
            throw new DaemonStartException(
                Errno.E2BIG, $"port {p.Name} has {p.Queues} receive queues; at most {XdpLayout.MaxQueues} of a port can be served: give it fewer (ethtool -L {p.Name} combined {XdpLayout.MaxQueues}, or rx {XdpLayout.MaxQueues})");
        }

        if (p.Queues < _options.Workers)
        {
            throw new DaemonStartException(
                Errno.EINVAL,
                $"port {p.Name} has {p.Queues} receive queue{(p.Queues == 1 ? "" : "s")} for {_options.Workers} workers; each worker needs a queue of every port: use --workers {Math.Min(p.Queues, p.TransmitQueues)}, or give the port more queues (ethtool -L {p.Name} rx {_options.Workers} tx {_options.Workers}, or combined {_options.Workers})");
        }

        // The kernel sends nothing for a socket on a queue that has no transmit side (__xsk_generic_xmit: ENXIO).
        if (p.TransmitQueues < _options.Workers)
        {
            throw new DaemonStartException(
                Errno.EINVAL,
                $"port {p.Name} has {p.TransmitQueues} transmit queue{(p.TransmitQueues == 1 ? "" : "s")} for {_options.Workers} workers; each worker needs one of its own: use --workers {p.TransmitQueues}, or give the port more (ethtool -L {p.Name} tx {_options.Workers})");
        }
    }

    private List<int> ChooseCpus()
    {
        List<int> online = FastPathOptions.ParseCpus(File.ReadAllText("/sys/devices/system/cpu/online").Trim());
        if (_options.Cpus.Count == 0)
        {
            return [.. Enumerable.Range(0, _options.Workers).Select(w => online[online.Count - 1 - (w % online.Count)])];
        }

        if (_options.Cpus.Count < _options.Workers)
        {
            throw new DaemonStartException(Errno.EINVAL, $"--cpu names {_options.Cpus.Count} CPUs for {_options.Workers} workers; name one for each");
        }

        foreach (int cpu in _options.Cpus)
        {
            if (!online.Contains(cpu))
            {
                throw new DaemonStartException(Errno.ENODEV, $"--cpu {cpu}: not online; those there are: {File.ReadAllText("/sys/devices/system/cpu/online").Trim()}");
            }
        }

        return [.. _options.Cpus];
    }

    private void WaitForSynchronization(CancellationToken cancellation)
    {
        VrfState* v = Segments.VrfState;
        ulong deadline = MonotonicClock.Nanoseconds + (ulong)s_patience.TotalNanoseconds;
        while (Volatile.Read(ref v->EverSynchronized) == 0)
        {
            cancellation.ThrowIfCancellationRequested();
            if (MonotonicClock.Nanoseconds > deadline)
            {
                throw new DaemonStartException(
                    Errno.ETIMEDOUT, $"the tables were not synchronized with the kernel within {s_patience.TotalSeconds:0} s; is cmgrd running? its log is {_instance.Log("cmgrd")}");
            }

            Thread.Sleep(5);
        }
    }

    private void StartWorker(int id, int cpu)
    {
        Segments s = Segments;
        Segment own = s.Workers[id];
        WorkerTables tables = new()
        {
            Vrf = s.VrfState,
            Nexthops = NexthopSegment.Words(s.Nexthop),
            Members = NexthopSegment.Members(s.Nexthop),
            Adjacencies = AdjacencySegment.Table(s.Adjacency),
            Neighbours = NeighbourSegment.Hash(s.Neighbour),
            Fib = Fib4Segment.Reader(s.Fib4),
            Tries = FibTrieSegment.Reader(s.FibTrie),
            LocalAddresses = AddressSegment.Filter4(s.Address),
            Addresses = new RecordTableReader<AddressRecord>(AddressSegment.Records(s.Address), Capacities.Addresses),
            UseStamps = UseStampSegment.Stamps(s.UseStamps),
            Counters = WorkerSegment.Port(own, 0),
            CoarseSecond = _second,
        };
        Injector injector = new(Carrier.IfIndex, _options.PuntThroughTap ? Carrier.Tap : null, _trailers);
        ForwardingWorker w = new(
            id, cpu, _umems[id], SetOf(id), tables, WorkerSegment.State(own), Xdp.Beat(id), injector, _options.Spin);
        _workers.Add(w);
        w.Start();
    }

    private void WaitForWorkers()
    {
        ulong deadline = MonotonicClock.Nanoseconds + (ulong)s_aliveWithin.TotalNanoseconds;
        while (!Xdp.Alive)
        {
            if (_workers.Find(w => w.Failure is not null) is ForwardingWorker failed)
            {
                throw new DaemonStartException(
                    (failed.Failure as LinuxException)?.ErrorNumber ?? Errno.EIO, $"worker {failed.Id} on CPU {failed.Cpu} does not run: {failed.Failure!.Message}", failed.Failure);
            }

            if (MonotonicClock.Nanoseconds > deadline)
            {
                throw new DaemonStartException(Errno.ETIMEDOUT, "the workers make no progress; are their CPUs (--cpu) taken by something else?");
            }

            Thread.Sleep(2);
        }
    }
}
