using FastPathSync.FastPath.Exceptions;
using FastPathSync.FastPath.Ports;
using FastPathSync.FastPath.Vrfs;
using FastPathSync.FastPath.Worker;
using FastPathSync.Linux;
using FastPathSync.SharedMemory;
using FastPathSync.SharedMemory.Tables;
using Microsoft.Extensions.Logging;

namespace FastPathSync.FastPath.Control;

/// <summary>
/// The thread beside the workers: carries what fpmd changes to the XDP programs within milliseconds, follows the
/// interfaces, keeps the workers' clock, and publishes the state ten times a second.
/// </summary>
internal sealed unsafe class ControlLoop : IDisposable
{
    private const int PeriodMilliseconds = 10;
    private const int PublishEvery = 10;   // periods: 100 ms
    private const int ReviveEvery = 100;   // periods: 1 s

    private readonly FastPathEngine _engine;
    private readonly ILogger _log;
    private readonly Action<Exception> _fail;
    private readonly Thread _thread;
    private bool _stop;

    /// <summary>By the carriers of VRFs that have gone.</summary>
    private readonly ulong[] _fptunBefore = new ulong[FastPathState.FptunCounters];

    public ControlLoop(FastPathEngine engine, ILogger log, Action<Exception> fail)
    {
        _engine = engine;
        _log = log;
        _fail = fail;
        FastPathState* s = FastPathStateSegment.State(engine.Segments.State);
        s->Pid = Libc.getpid();
        s->StartedAt = MonotonicClock.Nanoseconds;
        s->WorkerCount = (uint)engine.Workers.Count;
        s->PuntThroughTap = engine.PuntThroughTap ? 1u : 0u;
        foreach (ServedVrf v in engine.Vrfs)
        {
            Apply(v);
        }

        Publish();
        _thread = new Thread(Run, 256 << 10) { Name = "control", IsBackground = true };
    }

    public void Start() => _thread.Start();

    public void Dispose()
    {
        Volatile.Write(ref _stop, true);
        if (_thread.IsAlive)
        {
            _thread.Join();
        }

        Publish(); // the counters of the programs end with them
        FastPathStateSegment.State(_engine.Segments.State)->Forwarding = 0;
    }

    private void Run()
    {
        try
        {
            for (int period = 1; !Volatile.Read(ref _stop); period++)
            {
                WaitAndSend();
                lock (_engine.PortGate)
                {
                    Once(period);
                }
            }
        }
        catch (Exception e)
        {
            _fail(e);
        }
    }

    /// <summary>
    /// Until the next period; meanwhile OUTPUT frames are sent as they come. The runtime's own timed waits cost several times what
    /// poll(2) does, and this is done 100 times a second.
    /// </summary>
    private void WaitAndSend()
    {
        const int Most = Capacities.Ports + 1; // VRFs have ports, all but the home VRF
        Libc.pollfd* taps = stackalloc Libc.pollfd[Most];
        int count = 0;
        lock (_engine.PortGate)
        {
            for (; count < Math.Min(_engine.Vrfs.Count, Most); count++)
            {
                taps[count] = new Libc.pollfd { fd = _engine.Vrfs[count].Carrier.Tap.Number, events = Libc.POLLIN };
            }
        }

        ulong end = MonotonicClock.Nanoseconds + (PeriodMilliseconds * 1_000_000ul);
        int left = PeriodMilliseconds;
        while (left > 0 && Libc.Quiet.poll(taps, (nuint)count, left) > 0)
        {
            for (int i = 0; i < count; i++)
            {
                if ((taps[i].revents & ~Libc.POLLIN) != 0)
                {
                    taps[i].fd = -1; // a device that is gone must not keep us awake
                }
            }

            lock (_engine.PortGate)
            {
                for (int i = 0; i < _engine.Vrfs.Count; i++)
                {
                    _engine.Vrfs[i].Carrier.Output.Serve();
                }
            }

            left = (int)(long)(end - MonotonicClock.Nanoseconds) / 1_000_000;
        }
    }

    private void Once(int period)
    {
        FollowVrfs(period % ReviveEvery == 0);
        foreach (ServedVrf v in _engine.Vrfs)
        {
            if (Volatile.Read(ref v.Segments.State->Change) != v.Seen)
            {
                Apply(v);
            }
        }

        if (period % PublishEvery == 0)
        {
            _engine.Tick();
            _engine.Traces.Tidy();
            foreach (ServedVrf v in _engine.Vrfs)
            {
                v.Capture.Tidy();
            }

            _engine.FollowManager();
            CheckWorkers();
            if (period % ReviveEvery == 0)
            {
                CheckCarrier();
            }

            FollowInterfaces(period % ReviveEvery == 0);
            Publish();
        }
    }

    /// <summary>Makes the XDP programs agree with the tables. Read first, then acted on: a change meanwhile comes round again.</summary>
    private void Apply(ServedVrf vrf)
    {
        vrf.Seen = Volatile.Read(ref vrf.Segments.State->Change);
        LocalAddresses.Push(vrf.Segments.Address, vrf.Xdp);
        vrf.Carrier.Follow(
            new RecordTableReader<InterfaceRecord>(vrf.Segments.Interface.Body, vrf.Segments.Interface.Capacity).All().Select(r => r.Value.IfIndex).ToHashSet(),
            _engine.Ports.All.Where(p => p.Vrf == vrf && !p.Gone).Select(p => p.IfIndex).ToHashSet());
        vrf.Capture.Apply(vrf.Segments.Capture, [.. _engine.Ports.All.Where(p => p.Vrf == vrf && !p.Gone).Select(p => (p.Id, p.IfIndex))]);
        foreach (Port p in _engine.Ports.All)
        {
            if (p.Vrf == vrf && !p.Gone && p.Refresh(vrf.Devices))
            {
                p.Configure(vrf.Devices, _engine.Admission(p));
            }
        }
    }

    /// <summary>Leaves VRFs whose tables are no longer the ones we read, and serves those that have come (back).</summary>
    private void FollowVrfs(bool revive)
    {
        for (int i = _engine.Vrfs.Count - 1; i > 0; i--)
        {
            ServedVrf v = _engine.Vrfs[i];
            if (!_engine.Segments.IsCurrent(v.Name, v.Segments))
            {
                _log.LogWarning("VRF {Vrf} has gone, and its ports with it", v.Name);
                v.Carrier.AddCounters(_fptunBefore);
                _engine.Leave(v);
            }
        }

        if (!revive)
        {
            return;
        }

        foreach (string name in _engine.Ports.All.Where(p => p.Vrf is null).Select(p => p.Configured.Vrf).Distinct().ToList())
        {
            try
            {
                if (_engine.TryServe(name) is not null)
                {
                    _log.LogInformation("VRF {Vrf} is there", name);
                }
            }
            catch (Exception e) when (e is Hosting.DaemonStartException or LinuxException or Bpf.BpfException or SegmentException)
            {
                _log.LogWarning("VRF {Vrf} cannot be served: {Cause}", name, e.Message);
            }
        }
    }

    private void CheckWorkers()
    {
        foreach (ForwardingWorker w in _engine.Workers)
        {
            if (w.Failure is Exception e)
            {
                throw new InvalidOperationException($"worker {w.Id} ended: {e.Message}", e);
            }
        }
    }

    /// <summary>Without it every exception would be lost: better to end, and be started again with a new one.</summary>
    private void CheckCarrier()
    {
        foreach (ServedVrf v in _engine.Vrfs)
        {
            if (v.Devices.IndexOf(Carrier.Name) != v.Carrier.IfIndex)
            {
                throw new InvalidOperationException($"{Carrier.Name} of {v.Where} was deleted, renamed or moved by somebody: exceptions can't reach Linux");
            }

            if (!v.Devices.TryGetFlags(Carrier.Name, out short flags) || (flags & Libc.IFF_UP) == 0)
            {
                throw new InvalidOperationException($"{Carrier.Name} of {v.Where} was set down by somebody: exceptions can't reach Linux");
            }
        }
    }

    /// <param name="revive">Look for interfaces that have come back, and for new queues, too.</param>
    private void FollowInterfaces(bool revive)
    {
        foreach (Port p in _engine.Ports.All)
        {
            if (p.Gone)
            {
                if (revive && p.Vrf is not null && p.Vrf.Devices.IndexOf(p.Name) != 0)
                {
                    Revive(p);
                }
            }
            else if (!p.Refresh(p.Vrf!.Devices))
            {
                _log.LogWarning("port {Port}: its interface has vanished", p.Configured);
                _engine.Ports.Release([p]);
            }
            else
            {
                p.Configure(p.Vrf.Devices, _engine.Admission(p));
                if (revive)
                {
                    _engine.Ports.FollowQueues(p);
                }
            }
        }
    }

    private void Revive(Port p)
    {
        try
        {
            _engine.Ports.Revive(p);
            Apply(p.Vrf!);
        }
        catch (Exception e) when (e is Hosting.DaemonStartException or LinuxException or Bpf.BpfException)
        {
            _log.LogWarning("port {Port} cannot be served again: {Cause}", p.Configured, e.Message);
        }
    }

    private void Publish()
    {
        foreach (Port p in _engine.Ports.All)
        {
            p.Publish(FastPathStateSegment.Port(_engine.Segments.State, p.Id), p.Vrf?.Devices, (uint)_engine.MaxMtu);
        }

        FastPathState* s = FastPathStateSegment.State(_engine.Segments.State);
        s->PortCount = _engine.Ports.IdCount;
        s->Forwarding = _engine.Heartbeat.Alive && _engine.TablesKept ? 1u : 0u;
        Span<ulong> fptun = stackalloc ulong[FastPathState.FptunCounters];
        _fptunBefore.CopyTo(fptun);
        foreach (ServedVrf v in _engine.Vrfs)
        {
            v.Carrier.AddCounters(fptun);
        }

        fptun.CopyTo(new Span<ulong>(s->Fptun, fptun.Length));
        _engine.Segments.Beat();
    }
}
