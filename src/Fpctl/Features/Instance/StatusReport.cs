using FastPathSync.Fpctl.Cli;
using FastPathSync.Fpctl.Inspection;
using FastPathSync.Fpctl.Supervisor;
using FastPathSync.Hosting;
using FastPathSync.Linux;
using FastPathSync.SharedMemory;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.Fpctl.Features.Instance;

internal enum InstanceState
{
    Healthy,
    Degraded,
    Stopped,
}

/// <param name="State">As in daemons.json, or "halted" for a process that was stopped by a signal, or "dead".</param>
internal sealed record DaemonStatus(string Name, int Pid, string State, DateTimeOffset Since, int Restarts, string? LastExit, string? Text);

internal sealed record PortReport(string Name, string Vrf, string Mode, bool ZeroCopy, uint Queues, uint Mtu, string State);

internal sealed record Demotion(string Vrf, DemotionEffect Effect, string Object, string Reason, TimeSpan Age);

/// <summary>How an instance does, from daemons.json, /proc and the segments. Taking it needs no daemon's help but the supervisor's, for half a second at most.</summary>
internal sealed class StatusReport
{
    /// <summary>The fast path's control thread beats ten times a second.</summary>
    private static readonly TimeSpan s_heartbeatLimit = TimeSpan.FromMilliseconds(500);

    private StatusReport(string instance) => Instance = instance;

    public string Instance { get; }

    public InstanceState State { get; private set; } = InstanceState.Stopped;

    public SupervisorPhase? Phase { get; private set; }

    /// <summary>False when the supervisor, which hands out the tables, does not answer: what the fast path does is not known.</summary>
    public bool TablesRead { get; private set; } = true;

    /// <summary>Kernel and tables agree and nothing is in flight.</summary>
    public bool Synchronized { get; private set; }

    /// <summary>Age of the fast path's last heartbeat; null when it has never beaten.</summary>
    public TimeSpan? Heartbeat { get; private set; }

    public bool HeartbeatFresh => Heartbeat is TimeSpan age && age <= s_heartbeatLimit;

    /// <summary>The XDP programs redirect to the workers.</summary>
    public bool Forwarding { get; private set; }

    public IReadOnlyList<DaemonStatus> Daemons { get; private set; } = [];

    public IReadOnlyList<PortReport> Ports { get; private set; } = [];

    /// <summary>What is passed to Linux because it is not honoured (effects Vrf, Ingress, Egress, Partial).</summary>
    public IReadOnlyList<Demotion> Demotions { get; private set; } = [];

    /// <summary>What is not honoured, and not obeyed either (effect Bypassed).</summary>
    public IReadOnlyList<Demotion> Bypassed { get; private set; } = [];

    /// <summary>Why it is not healthy, one sentence each.</summary>
    public List<string> Problems { get; } = [];

    public ulong FramesTotal { get; private set; }

    public ulong FramesInUse { get; private set; }

    public ulong FramesLost { get; private set; }

    /// <param name="context">Whose instance.</param>
    /// <param name="settle">How long to wait for it to become healthy: an update in flight is no disease.</param>
    public static StatusReport Take(CliContext context, TimeSpan settle)
    {
        ulong deadline = MonotonicClock.Nanoseconds + (ulong)settle.TotalNanoseconds;
        while (true)
        {
            StatusReport report = new(context.Instance.Name);
            report.Fill(context);
            if (report.State != InstanceState.Degraded || MonotonicClock.Nanoseconds >= deadline)
            {
                return report;
            }

            Thread.Sleep(20);
        }
    }

    private void Fill(CliContext context)
    {
        Hosting.Instance instance = context.Instance;
        DaemonList? list = DaemonList.TryRead(instance);
        if (list is null || !InstanceStop.IsRunning(instance))
        {
            return;
        }

        State = InstanceState.Healthy;
        Phase = list.Phase;
        FillDaemons(list);
        try
        {
            (InstanceTables tables, IReadOnlyList<InstanceTables> vrfs) = ShowCommand.OpenAll(context);
            using (tables)
            {
                FillVrfs(tables, vrfs);
                FillFastPath(context, tables, onlyThis: context.Vrf is not null);
            }
        }
        catch (Exception e) when (e is CliError { ExitStatus: not CliError.Usage } or SegmentException or LinuxException)
        {
            TablesRead = false;
            Problem(e is SegmentException ? e.Message : "the supervisor does not answer: the tables can't be read just now");
        }

        if (Ports.Count == 0 && InstancePlan.TryRead(instance) is InstancePlan plan)
        {
            Ports = [.. plan.Named().Select(p => PortName.Parse(p.Name)).Select(p => new PortReport(p.Interface, VrfName(p.Vrf), "none", false, 0, 0, "unserved"))];
        }
    }

    private void FillDaemons(DaemonList list)
    {
        List<DaemonStatus> daemons = [];
        foreach (DaemonRecord d in list.Daemons)
        {
            ProcessIdentity process = new(d.Pid, d.StartTime);
            bool alive = d.Pid != 0 && process.IsAlive;
            string state = d.State is DaemonState.Ready or DaemonState.Starting && !alive ? "dead"
                : alive && process.IsStopped ? "halted"
                : d.State.ToString().ToLowerInvariant();
            daemons.Add(new DaemonStatus(d.Name, d.Pid, state, d.Since, d.Restarts, d.LastExit, d.Text));
            switch (state)
            {
                case "ready":
                    break;
                case "halted":
                    Problem($"{d.Name} (pid {d.Pid}) is not responding: a signal has halted it; kill -CONT {d.Pid} lets it go on");
                    break;
                default:
                    Problem($"{d.Name} is {state}{(d.LastExit is null ? "" : $" ({d.LastExit})")}{(d.Text is null ? "" : $": {d.Text}")}");
                    break;
            }
        }

        Daemons = daemons;
    }

    /// <summary>As JSON and people name it.</summary>
    private static string VrfName(string name) => name.Length == 0 ? NetworkNamespace.Unnamed : name;

    private unsafe void FillVrfs(InstanceTables tables, IReadOnlyList<InstanceTables> vrfs)
    {
        if (!tables.HasVrf)
        {
            Problem("the tables are not there yet (fpmd makes them)");
            return;
        }

        // A VRF without ports has nothing more to tell than the directory does.
        IReadOnlyList<VrfRecord> directory = tables.Vrfs;
        List<InstanceTables> looked = [.. vrfs.Where(v => v.HasFib4 && v.HasVrf)];
        List<Demotion> all = [];
        ulong now = MonotonicClock.Nanoseconds;
        bool connected = true;
        List<string> lagging = [];
        foreach (InstanceTables v in looked)
        {
            VrfState* state = v.Vrf;
            connected &= state->ManagerConnected != 0;
            if (Volatile.Read(ref state->Synchronized) == 0)
            {
                lagging.Add(VrfName(v.VrfName));
            }

            foreach ((_, DemotionRecord d) in v.Demotions.All())
            {
                TimeSpan age = TimeSpan.FromMilliseconds(now > d.Since ? (now - d.Since) / 1_000_000 : 0);
                all.Add(new Demotion(VrfName(v.VrfName), d.Effect, d.Object.ToString(), d.Reason.ToString(), age));
            }
        }

        HashSet<string> asked = [.. vrfs.Where(v => !v.HasFib4).Select(v => v.VrfName)];
        lagging.AddRange(directory.Where(r => (r.Flags & VrfFlags.Small) != 0 && r.Synchronized == 0).Select(r => r.Name.ToString()).Where(asked.Contains));
        Synchronized = lagging.Count == 0;
        if (!Synchronized)
        {
            string which = lagging is [NetworkNamespace.Unnamed] ? "" : lagging.Count == 1 ? $" (VRF {lagging[0]})" : $" ({lagging.Count} VRFs, {lagging[0]} the first)";
            Problem(!connected ? "not synchronized: cmgrd is not connected to fpmd" : $"not synchronized: updates from the kernel are in flight{which}");
        }

        Demotions = [.. all.Where(d => d.Effect is DemotionEffect.Vrf or DemotionEffect.Ingress or DemotionEffect.Egress or DemotionEffect.Partial)];
        Bypassed = [.. all.Where(d => d.Effect is DemotionEffect.Bypassed)];
    }

    private unsafe void FillFastPath(CliContext context, InstanceTables tables, bool onlyThis)
    {
        using Segment? segment = context.TryOpenSegment(SegmentNames.FastPathState, SegmentKind.FastPathState);
        if (segment is null)
        {
            Problem("the fast path has not begun");
            return;
        }

        ulong beat = Volatile.Read(ref segment.Header.Heartbeat);
        ulong now = MonotonicClock.Nanoseconds;
        Heartbeat = beat == 0 ? null : TimeSpan.FromMicroseconds(now > beat ? (now - beat) / 1000 : 0);
        FastPathState* state = FastPathStateSegment.State(segment);
        Forwarding = HeartbeatFresh && state->Forwarding != 0;
        if (!HeartbeatFresh)
        {
            Problem(Heartbeat is TimeSpan age ? $"the fast path's last heartbeat is {age.TotalMilliseconds:0} ms old: Linux forwards" : "the fast path has never sent a heartbeat: Linux forwards");
        }
        else if (!Forwarding && !Demotions.Any(d => d.Effect == DemotionEffect.Vrf))
        {
            IReadOnlyList<string> stuck = StuckWorkers.Find(context, state->WorkerCount);
            Problem(stuck.Count == 0 ? "the fast path passes everything to Linux" : $"{string.Join(" and ", stuck)} makes no progress: Linux forwards until it does; is the CPU taken by something else?");
        }

        FillPorts(tables, segment, (int)Math.Min(state->PortCount, Capacities.Ports), onlyThis);
        for (int id = 0; id < Math.Min(state->WorkerCount, Capacities.Workers); id++)
        {
            using Segment? worker = context.TryOpenSegment(SegmentNames.Worker(id), SegmentKind.Worker);
            if (worker is not null)
            {
                WorkerState* w = WorkerSegment.State(worker);
                FramesTotal += w->Frames;
                FramesInUse += w->FramesInUse;
                FramesLost += w->FramesLost;
            }
        }

        if (FramesLost > 0)
        {
            Problem($"{FramesLost} of {FramesTotal} UMEM frames are lost: please report it, with fastpath.log; a restart of the fast path gets them back");
        }
    }

    private unsafe void FillPorts(InstanceTables tables, Segment fastPath, int count, bool onlyThis)
    {
        List<PortReport> ports = [];
        for (int i = 0; i < count; i++)
        {
            PortState p = *FastPathStateSegment.Port(fastPath, i);
            string vrf = p.Vrf.ToString();
            if (p.IsFree || (onlyThis && vrf != tables.VrfName))
            {
                continue;
            }

            InterfaceRecord r = default;
            bool known = tables.OfVrf(vrf) is { HasVrf: true } t && t.Interfaces.TryGetValue(p.IfIndex, out r) && r.PortId == i;
            string name = known ? r.Name.ToString() : p.Name.ToString();
            string mode = p.Mode.ToString().ToLowerInvariant();
            string state = p.Status switch
            {
                PortStatus.Up => "up",
                PortStatus.Down => "down",
                PortStatus.Gone => "gone",
                _ => "unserved",
            };
            if (state is "gone" or "unserved")
            {
                Problem($"port {new PortName(vrf, name)} is {state}: its interface is not in the namespace, or the fast path is not attached to it");
            }

            ports.Add(new PortReport(name, VrfName(vrf), mode, p.ZeroCopy != 0, p.Queues, known ? r.Mtu : p.Mtu, state));
        }

        Ports = ports;
    }

    private void Problem(string sentence)
    {
        State = InstanceState.Degraded;
        Problems.Add(sentence);
    }
}
