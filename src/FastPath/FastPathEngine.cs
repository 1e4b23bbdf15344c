using System.Runtime.InteropServices;
using FastPathSync.FastPath.Control;
using FastPathSync.FastPath.Exceptions;
using FastPathSync.FastPath.Ports;
using FastPathSync.FastPath.Vrfs;
using FastPathSync.FastPath.Worker;
using FastPathSync.FastPath.Xsk;
using FastPathSync.Hosting;
using FastPathSync.Linux;
using FastPathSync.Packets;
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
    private readonly List<ServedVrf> _vrfs = [];
    private Segments? _segments;
    private XdpHeartbeat? _heartbeat;
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

    public Segments Segments => _segments!;

    public XdpHeartbeat Heartbeat => _heartbeat!;

    /// <summary>Those that are there; the home VRF is the first.</summary>
    public IReadOnlyList<ServedVrf> Vrfs => _vrfs;

    public ServedVrf Home => _vrfs[0];

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
        CheckNames();
        OpenVrfs();
        _segments = new Segments(_instance.SupervisorSocket, _options.Workers, _options.Ports.Any(n => n.Vrf.Length > 0));
        LookAtPorts();
        Synchronize(cancellation);

        _heartbeat = new XdpHeartbeat();
        _vrfs.ForEach(Begin);
        foreach (Port p in _ports)
        {
            p.Resume(FastPathStateSegment.Port(_segments.State, p.Id));
            _trailers.Set(p.Id, p.IfIndex, genericXdp: false);
        }

        for (int w = 0; w < _options.Workers; w++)
        {
            uint sockets = (uint)_ports.Sum(p => Math.Max(1, QueuesOf(p, w))); // one that is missing now may come
            _umems.Add(new Umem(w, _options.Frames > 0 ? (uint)_options.Frames : sockets * FramesPerSocket, _frameSize));
        }

        _ports.Where(p => !p.Gone).ToList().ForEach(BindSockets);
        CompiledCode.Prepare(typeof(ForwardingWorker).Assembly, typeof(Fib4Reader).Assembly, typeof(InternetChecksum).Assembly);
        for (int w = 0; w < _options.Workers; w++)
        {
            StartWorker(w, cpus[w]);
        }

        _heartbeat.Watch(_workers.Count);
        WaitForWorkers();
        FollowManager();
        foreach (Port p in _ports)
        {
            if (p.Gone)
            {
                _log.LogWarning("port {Port}: its interface is not there now; it is served when it comes", p.Configured);
                continue;
            }

            Attach(p);
            _log.LogInformation("port {Port} up: {Mode} XDP, {Queues} queues, MTU {Mtu}", p.Configured, p.Mode, p.Queues, p.Mtu);
        }
    }

    /// <summary>The clock that workers read; ten times a second.</summary>
    public void Tick() => Volatile.Write(ref *_second, MonotonicClock.CoarseSeconds);

    /// <summary>Tables that nobody keeps in step with the kernel (fpmd is gone, or hangs) say nothing about it: everything is Linux's.</summary>
    public bool TablesKept { get; private set; } = true;

    /// <summary>Looks at fpmd's heartbeat.</summary>
    public void FollowManager()
    {
        ulong beat = Volatile.Read(ref Home.Segments.Vrf.Header.Heartbeat); // before the clock: it is never ahead of it
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

    /// <summary>What the XDP program lets through to workers: nothing while the port's packets are Linux's.</summary>
    public Admission Admission(Port p)
    {
        VrfState* v = p.Vrf!.Segments.State;
        Families passed = v->PassAll | (Families)Volatile.Read(ref v->IngressPass[p.Id]);
        if (FibTrieSegment.Reader(p.Vrf.Segments.FibTrie).Find(FibFamily.Ipv6, FibRoot.MainTable) < 0)
        {
            passed |= Families.Ipv6; // fpmd keeps no IPv6 routes
        }

        bool nothing = !TablesKept || (passed & Families.Both) == Families.Both || p.Mtu > MaxMtu;
        return new Admission(nothing ? 0 : (uint)(p.Mtu + Port.EthernetHeader), passed);
    }

    /// <summary>Makes the sockets of a port, each in its worker's UMEM, and posts nothing: workers do that.</summary>
    public void BindSockets(Port p) => p.Vrf!.Inside(() =>
    {
        for (int q = 0; q < p.Queues; q++)
        {
            int worker = q % _umems.Count;
            p.Bindings.Add(new XskBinding(_umems[worker], p.Name, p.IfIndex, q, p.Id, p.Vrf.TablesOf(worker), p.Vrf.InjectorOf(worker)));
        }

        return true;
    });

    /// <summary>Begins to serve a VRF that is missing, if it is there now with its tables.</summary>
    public ServedVrf? TryServe(string name)
    {
        ServedVrf? vrf = ServedVrf.TryOpen(name);
        if (vrf is null || Segments.TryAttach(name, vrf.Inode) is not VrfTableSet set)
        {
            vrf?.Dispose();
            return null;
        }

        vrf.Use(set);
        if (Volatile.Read(ref set.State->EverSynchronized) == 0)
        {
            Close(vrf);
            return null;
        }

        try
        {
            Begin(vrf);
        }
        catch
        {
            Close(vrf);
            throw;
        }

        _vrfs.Add(vrf);
        foreach (Port p in _ports.Where(p => p.Configured.Vrf == name))
        {
            p.Vrf = vrf;
        }

        return vrf;
    }

    /// <summary>Lets go of a VRF: its ports are Gone, and nothing of ours keeps its namespace alive.</summary>
    public void Leave(ServedVrf vrf)
    {
        List<Port> ports = [.. _ports.Where(p => p.Vrf == vrf)];
        foreach (Port p in ports.Where(p => !p.Gone))
        {
            p.Vanish(FastPathStateSegment.Port(Segments.State, p.Id));
        }

        if (!ExchangeSockets())
        {
            throw new InvalidOperationException($"VRF {vrf.Name}: a worker does not let go of its sockets");
        }

        foreach (Port p in ports)
        {
            p.CloseSockets();
            p.Vrf = null;
        }

        _vrfs.Remove(vrf);
        Close(vrf);
    }

    private void Close(ServedVrf vrf)
    {
        VrfTableSet? set = vrf.HasTables ? vrf.Segments : null;
        vrf.Dispose();
        if (set is not null)
        {
            Segments.Release(set);
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
        p.Look(p.Vrf!.Devices);
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
        _vrfs.ForEach(Close);
        _vrfs.Clear();
        _heartbeat?.Dispose();
        _segments?.Dispose();
        _trailers.Dispose();
        NativeMemory.AlignedFree(_second);
    }

    private void Attach(Port p)
    {
        if (p.Attach(_options.Mode, p.Vrf!.Devices, Admission(p)) is string reason)
        {
            _log.LogWarning("generic XDP taken: {Cause}", reason);
        }

        if (p.Mode == PortMode.Generic && p.Vrf.Devices.MergesReceived(p.Name))
        {
            _log.LogWarning(
                "port {Port}: GRO is on; in generic mode small packets that it merges are forwarded as one: switch it off with 'ethtool -K {Name} gro off'", p.Configured, p.Name);
        }
    }

    /// <summary>Queue q of each port is served by worker q mod workers.</summary>
    private int QueuesOf(Port p, int worker) => (p.Queues - worker + _options.Workers - 1) / _options.Workers;

    private SocketSet SetOf(int worker) =>
        new([.. _ports.Where(p => !p.Gone).SelectMany(p => p.Bindings).Where(b => b.Queue % _options.Workers == worker)]);

    private void CheckNames()
    {
        if (_options.Ports.Count == 0)
        {
            throw new DaemonStartException(Errno.EINVAL, "no port: give at least one with --port [VRF/]IF");
        }

        if (_options.Ports.Count > Capacities.Ports)
        {
            throw new DaemonStartException(Errno.E2BIG, $"{_options.Ports.Count} ports: at most {Capacities.Ports} can be served");
        }

        if (_options.Ports.GroupBy(n => n).FirstOrDefault(g => g.Count() > 1) is { } twice)
        {
            throw new DaemonStartException(Errno.EEXIST, $"port {twice.Key} is given twice; give each port once");
        }
    }

    /// <summary>The home VRF always: what concerns the whole instance is in its tables.</summary>
    private void OpenVrfs()
    {
        foreach (string name in _options.Ports.Select(p => p.Vrf).Prepend("").Distinct())
        {
            if (ServedVrf.TryOpen(name) is ServedVrf vrf)
            {
                _vrfs.Add(vrf);
            }
        }
    }

    /// <summary>All that can be said about the ports before anything is made.</summary>
    private void LookAtPorts()
    {
        _frameSize = SmallFrame;
        foreach ((int id, PortName name) in _options.Ports.Index())
        {
            Port p = new(id, name, _trailers, _cookie) { Vrf = _vrfs.Find(v => v.Name == name.Vrf) };
            _ports.Add(p);
            if (!IsThere(p))
            {
                p.BeginGone();
                continue;
            }

            if (p.Mtu + Port.EthernetHeader > Umem.MaxFrame(LargeFrame))
            {
                throw new DaemonStartException(
                    Errno.EMSGSIZE,
                    $"port {p.Configured}: its MTU {p.Mtu} does not fit a packet frame (largest: {Umem.MaxFrame(LargeFrame) - Port.EthernetHeader}); lower it with 'ip link set dev {p.Name} mtu {Umem.MaxFrame(LargeFrame) - Port.EthernetHeader}'");
            }

            CheckQueues(p);
            if (p.Mtu + Port.EthernetHeader > Umem.MaxFrame(SmallFrame))
            {
                _frameSize = LargeFrame;
            }
        }
    }

    /// <summary>Looks at the interface of a port. It may be missing if a fast path before us served it: it has vanished meanwhile.</summary>
    private bool IsThere(Port p)
    {
        bool served = p.WasServed(FastPathStateSegment.Port(Segments.State, p.Id));
        if (p.Vrf is null)
        {
            return served ? false : throw new DaemonStartException(
                Errno.ENOENT, $"port {p.Configured}: there is no VRF (network namespace) {p.Configured.Vrf} in {NetworkNamespace.Directory}; `ip netns list` shows those there are");
        }

        try
        {
            p.Look(p.Vrf.Devices);
            return true;
        }
        catch (DaemonStartException e) when (served && e.ErrorNumber == Errno.ENODEV)
        {
            return false;
        }
    }

    private void CheckQueues(Port p)
    {
        if (p.Queues > XdpLayout.MaxQueues)
        {
            throw new DaemonStartException(
                Errno.E2BIG, $"port {p.Configured} has {p.Queues} receive queues; at most {XdpLayout.MaxQueues} of a port can be served: give it fewer (ethtool -L {p.Name} combined {XdpLayout.MaxQueues}, or rx {XdpLayout.MaxQueues})");
        }

        if (p.Queues < _options.Workers)
        {
            throw new DaemonStartException(
                Errno.EINVAL,
                $"port {p.Configured} has {p.Queues} receive queue{(p.Queues == 1 ? "" : "s")} for {_options.Workers} workers; each worker needs a queue of every port: use --workers {Math.Min(p.Queues, p.TransmitQueues)}, or give the port more queues (ethtool -L {p.Name} rx {_options.Workers} tx {_options.Workers}, or combined {_options.Workers})");
        }

        // The kernel sends nothing for a socket on a queue that has no transmit side (__xsk_generic_xmit: ENXIO).
        if (p.TransmitQueues < _options.Workers)
        {
            throw new DaemonStartException(
                Errno.EINVAL,
                $"port {p.Configured} has {p.TransmitQueues} transmit queue{(p.TransmitQueues == 1 ? "" : "s")} for {_options.Workers} workers; each worker needs one of its own: use --workers {p.TransmitQueues}, or give the port more (ethtool -L {p.Name} tx {_options.Workers})");
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

    /// <summary>Attaches the tables of every VRF, once they are what the kernel says.</summary>
    private void Synchronize(CancellationToken cancellation)
    {
        ulong deadline = MonotonicClock.Nanoseconds + (ulong)s_patience.TotalNanoseconds;
        Home.Use(Segments.AttachHome());
        foreach (ServedVrf vrf in _vrfs.ToList())
        {
            while (!vrf.HasTables || Volatile.Read(ref vrf.Segments.State->EverSynchronized) == 0)
            {
                cancellation.ThrowIfCancellationRequested();
                if (!vrf.HasTables && Segments.TryAttach(vrf.Name, vrf.Inode) is VrfTableSet set)
                {
                    vrf.Use(set);
                    continue;
                }

                if (MonotonicClock.Nanoseconds > deadline)
                {
                    throw new DaemonStartException(
                        Errno.ETIMEDOUT,
                        $"the tables {(vrf.IsHome ? "" : $"of VRF {vrf.Name} ")}were not synchronized with the kernel within {s_patience.TotalSeconds:0} s; is cmgrd running? its log is {_instance.Log("cmgrd")}");
                }

                Thread.Sleep(5);
            }
        }
    }

    private void Begin(ServedVrf vrf) =>
        vrf.Begin(Heartbeat, _cookie, _trailers, _options.PuntThroughTap, _options.Workers, TablesOf);

    /// <summary>What a worker reads, and the counters that it writes.</summary>
    private WorkerTables TablesOf(VrfTableSet s, int worker)
    {
        FibTrieReader tries = FibTrieSegment.Reader(s.FibTrie);
        return new WorkerTables
        {
            Vrf = s.State,
            Nexthops = NexthopSegment.Words(s.Nexthop),
            Members = NexthopSegment.Members(s.Nexthop),
            Adjacencies = AdjacencySegment.Table(s.Adjacency),
            Neighbours = NeighbourSegment.Hash(s.Neighbour),
            Fib = Fib4Segment.Reader(s.Fib4),
            Tries = tries,
            Rules = new RuleReader(RuleSegment.Compiled(s.Rule), tries, Fib4Segment.Reader(s.Fib4), NexthopSegment.Words(s.Nexthop)),
            Ipv6Main = tries.Find(FibFamily.Ipv6, FibRoot.MainTable),
            Ipv6Local = tries.Find(FibFamily.Ipv6, FibRoot.LocalTable),
            LocalAddresses = AddressSegment.Filter4(s.Address),
            Addresses = new RecordTableReader<AddressRecord>(AddressSegment.Records(s.Address), s.Address.Capacity),
            UseStamps = UseStampSegment.Stamps(s.UseStamps),
            Counters = WorkerSegment.Port(Segments.Workers[worker], 0),
            CoarseSecond = _second,
        };
    }

    private void StartWorker(int id, int cpu)
    {
        Segment own = Segments.Workers[id];
        ForwardingWorker w = new(
            id, cpu, _umems[id], SetOf(id), WorkerSegment.Port(own, 0), WorkerSegment.State(own), Heartbeat.Beat(id), _options.Spin);
        _workers.Add(w);
        w.Start();
    }

    private void WaitForWorkers()
    {
        ulong deadline = MonotonicClock.Nanoseconds + (ulong)s_aliveWithin.TotalNanoseconds;
        while (!Heartbeat.Alive)
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
