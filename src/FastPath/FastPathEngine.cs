using System.Runtime.InteropServices;
using FastPathSync.FastPath.Control;
using FastPathSync.FastPath.Exceptions;
using FastPathSync.FastPath.Explain;
using FastPathSync.FastPath.Ports;
using FastPathSync.FastPath.Trace;
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
    private const uint FramesPerSocket = 2 * XskSocket.RingSize;
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan s_aliveWithin = TimeSpan.FromSeconds(5);

    /// <summary>fpmd beats ten times a second, and killed it is back within about one: that must not interrupt forwarding.</summary>
    private static readonly TimeSpan s_tablesLimit = TimeSpan.FromSeconds(3);

    private readonly FastPathOptions _options;
    private readonly Instance _instance;
    private readonly ILogger _log;
    private readonly List<Umem> _umems = [];
    private readonly List<ForwardingWorker> _workers = [];
    private readonly uint* _second = (uint*)NativeMemory.AlignedAlloc(64, 64);
    private readonly List<ServedVrf> _vrfs = [];
    private Segments? _segments;
    private XdpHeartbeat? _heartbeat;

    public FastPathEngine(FastPathOptions options, Instance instance, ILogger log)
    {
        _options = options;
        _instance = instance;
        _log = log;
        Ports = new ServedPorts(this, options, log);
        Explainer = new Explainer(this);
        Traces = new Traces(_workers, Quiescent);
        Tick();
    }

    /// <summary>Held by whoever touches ports once they run: the control thread, and the threads of NETFPC. Workers never take it.</summary>
    public Lock PortGate { get; } = new();

    public Segments Segments => _segments!;

    public XdpHeartbeat Heartbeat => _heartbeat!;

    /// <summary>Those that are there; the home VRF is the first.</summary>
    public IReadOnlyList<ServedVrf> Vrfs => _vrfs;

    public ServedVrf Home => _vrfs[0];

    public ServedPorts Ports { get; }

    public Explainer Explainer { get; }

    public Traces Traces { get; }

    public FptunConstants Constants { get; } = FptunConstants.Random();

    public IReadOnlyList<ForwardingWorker> Workers => _workers;

    public bool PuntThroughTap => _options.PuntThroughTap;

    /// <summary>Of all packet frames, as the largest MTU at start needs it.</summary>
    public uint FrameSize { get; private set; }

    public int MaxMtu => PortCheck.MaxMtu(FrameSize);

    public Umem UmemOf(int worker) => _umems[worker];

    /// <summary>Null while it is not served.</summary>
    public ServedVrf? VrfOf(string name) => _vrfs.Find(v => v.Name == name);

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
        PortCheck.Names(_options.Ports);
        OpenVrfs();
        _segments = new Segments(_instance.SupervisorSocket, _options.Workers, s => PuntLimits.SetAll(PuntLimitSegment.Limits(s), _options.PuntLimits));
        FrameSize = Ports.Look();
        Synchronize(cancellation);

        _heartbeat = new XdpHeartbeat();
        _vrfs.ForEach(Begin);
        Ports.Resume();
        for (int w = 0; w < _options.Workers; w++)
        {
            _umems.Add(new Umem(w, _options.Frames > 0 ? (uint)_options.Frames : Ports.SocketsOf(w) * FramesPerSocket, FrameSize));
        }

        Ports.All.Where(p => !p.Gone).ToList().ForEach(Ports.Bind);
        CompiledCode.Prepare(typeof(ForwardingWorker).Assembly, typeof(Fib4Reader).Assembly, typeof(InternetChecksum).Assembly);
        for (int w = 0; w < _options.Workers; w++)
        {
            StartWorker(w, cpus[w]);
        }

        _heartbeat.Watch(_workers.Count);
        WaitForWorkers();
        FollowManager();
        foreach (Port p in Ports.All)
        {
            if (p.Gone)
            {
                _log.LogWarning("port {Port}: its interface is not there now; it is served when it comes", p.Configured);
                continue;
            }

            Ports.Attach(p);
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

    /// <summary>
    /// What the XDP program lets through to workers: nothing while ports are paused, the port's packets are Linux's, or the tables don't say yet what
    /// holds for it.
    /// </summary>
    public Admission Admission(Port p)
    {
        if (Ports.Paused)
        {
            return new Admission(0);
        }

        VrfState* v = p.Vrf!.Segments.State;
        Families passed = v->PassAll | (Families)Volatile.Read(ref v->IngressPass[p.Id]);
        if (FibTrieSegment.Reader(p.Vrf.Segments.FibTrie).Find(FibFamily.Ipv6, FibRoot.MainTable) < 0)
        {
            passed |= Families.Ipv6; // fpmd keeps no IPv6 routes
        }

        bool named = Volatile.Read(ref v->PortIfIndex[p.Id]) == p.IfIndex;
        bool nothing = !TablesKept || !named || (passed & Families.Both) == Families.Both || p.Mtu > MaxMtu;
        return new Admission(nothing ? 0 : (uint)(p.Mtu + Port.EthernetHeader), passed);
    }

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
        foreach (Port p in Ports.All.Where(p => p.Configured.Vrf == name))
        {
            p.Vrf = vrf;
        }

        return vrf;
    }

    /// <summary>Lets go of a VRF: its ports are Gone, and nothing of ours keeps its namespace alive.</summary>
    public void Leave(ServedVrf vrf)
    {
        Ports.Leave(vrf);
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

    public void Dispose()
    {
        Ports.DetachAll();
        _workers.ForEach(w => w.Dispose());
        Traces.Dispose();
        Explainer.Dispose();
        Ports.Dispose();
        _umems.ForEach(u => u.Dispose());
        _vrfs.ForEach(Close);
        _vrfs.Clear();
        _heartbeat?.Dispose();
        _segments?.Dispose();
        NativeMemory.AlignedFree(_second);
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
        vrf.Begin(Heartbeat, Constants, Ports.Trailers, _options.PuntThroughTap, Segments.Workers, FrameSize, TablesOf, _log);

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
            Nodes = WorkerSegment.Nodes(Segments.Workers[worker]),
            CoarseSecond = _second,
        };
    }

    private IReadOnlyList<ulong?> Quiescent()
    {
        return [.. Segments.Workers.Select(Of)];

        static ulong? Of(Segment worker)
        {
            WorkerState* w = WorkerSegment.State(worker);
            return Volatile.Read(ref w->Online) == 0 ? null : Volatile.Read(ref w->Quiescent);
        }
    }

    private void StartWorker(int id, int cpu)
    {
        Segment own = Segments.Workers[id];
        ForwardingWorker w = new(
            id, cpu, _umems[id], Ports.SetOf(id), WorkerSegment.Port(own, 0), WorkerSegment.State(own),
            PuntLimitSegment.Limits(Segments.PuntLimits), Heartbeat.Beat(id), _options.Spin);
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
