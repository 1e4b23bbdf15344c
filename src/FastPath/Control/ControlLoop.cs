using FastPathSync.FastPath.Exceptions;
using FastPathSync.FastPath.Ports;
using FastPathSync.FastPath.Worker;
using FastPathSync.Linux;
using FastPathSync.SharedMemory.Tables;
using Microsoft.Extensions.Logging;

namespace FastPathSync.FastPath.Control;

/// <summary>
/// The thread beside the workers: carries what fpmd changes to the XDP programs within milliseconds, follows the
/// interfaces, keeps the workers' clock, and publishes the state ten times a second.
/// </summary>
internal sealed unsafe class ControlLoop : IDisposable
{
    private const int PeriodMilliseconds = 5;
    private const int PublishEvery = 20;   // periods: 100 ms
    private const int ReviveEvery = 200;   // periods: 1 s

    private readonly FastPathEngine _engine;
    private readonly ILogger _log;
    private readonly Action<Exception> _fail;
    private readonly ManualResetEventSlim _stop = new();
    private readonly Thread _thread;
    private uint _seen;

    public ControlLoop(FastPathEngine engine, ILogger log, Action<Exception> fail)
    {
        _engine = engine;
        _log = log;
        _fail = fail;
        FastPathState* s = FastPathStateSegment.State(engine.Segments.State);
        s->Pid = Libc.getpid();
        s->StartedAt = MonotonicClock.Nanoseconds;
        s->PortCount = (uint)engine.Ports.Count;
        s->WorkerCount = (uint)engine.Workers.Count;
        s->PuntThroughTap = engine.PuntThroughTap ? 1u : 0u;
        Apply();
        Publish();
        _thread = new Thread(Run, 256 << 10) { Name = "control", IsBackground = true };
    }

    public void Start() => _thread.Start();

    public void Dispose()
    {
        _stop.Set();
        if (_thread.IsAlive)
        {
            _thread.Join();
        }

        Publish(); // the counters of the programs end with them
        FastPathStateSegment.State(_engine.Segments.State)->Forwarding = 0;
        _stop.Dispose();
    }

    private void Run()
    {
        try
        {
            for (int period = 1; !_stop.Wait(PeriodMilliseconds); period++)
            {
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

    private void Once(int period)
    {
        if (Volatile.Read(ref _engine.Segments.VrfState->Change) != _seen)
        {
            Apply();
        }

        if (period % PublishEvery == 0)
        {
            _engine.Tick();
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
    private void Apply()
    {
        _seen = Volatile.Read(ref _engine.Segments.VrfState->Change);
        LocalAddresses.Push(_engine.Segments.Address, _engine.Xdp);
        Configure();
    }

    private void Configure()
    {
        foreach (Port p in _engine.Ports)
        {
            if (!p.Gone && p.Refresh(_engine.Devices))
            {
                p.Configure(_engine.Devices, _engine.Admission(p));
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
        if (Libc.if_nametoindex(Carrier.Name) != _engine.Carrier.IfIndex)
        {
            throw new InvalidOperationException($"{Carrier.Name} was deleted, renamed or moved by somebody: exceptions can't reach Linux");
        }

        if (!_engine.Devices.TryGetFlags(Carrier.Name, out short flags) || (flags & Libc.IFF_UP) == 0)
        {
            throw new InvalidOperationException($"{Carrier.Name} was set down by somebody: exceptions can't reach Linux");
        }
    }

    private void FollowInterfaces(bool revive)
    {
        foreach (Port p in _engine.Ports)
        {
            if (p.Gone)
            {
                if (revive && Libc.if_nametoindex(p.Name) != 0)
                {
                    Revive(p);
                }
            }
            else if (!p.Refresh(_engine.Devices))
            {
                _log.LogWarning("port {Port}: its interface has vanished", p.Name);
                p.Vanish(FastPathStateSegment.Port(_engine.Segments.State, p.Id));
                if (!_engine.ExchangeSockets())
                {
                    throw new InvalidOperationException($"port {p.Name}: a worker does not let go of its sockets");
                }

                p.CloseSockets();
            }
            else
            {
                p.Configure(_engine.Devices, _engine.Admission(p));
            }
        }
    }

    private void Revive(Port p)
    {
        try
        {
            _engine.Revive(p);
            _log.LogInformation("port {Port} is back: {Mode} XDP, {Queues} queues", p.Name, p.Mode, p.Queues);
        }
        catch (Exception e) when (e is Hosting.DaemonStartException or LinuxException or Bpf.BpfException)
        {
            _log.LogWarning("port {Port} cannot be served again: {Cause}", p.Name, e.Message);
        }
    }

    private void Publish()
    {
        foreach (Port p in _engine.Ports)
        {
            p.Publish(FastPathStateSegment.Port(_engine.Segments.State, p.Id), _engine.Devices, (uint)_engine.MaxMtu);
        }

        FastPathState* s = FastPathStateSegment.State(_engine.Segments.State);
        s->Forwarding = _engine.Xdp.Alive && _engine.TablesKept ? 1u : 0u;
        (s->FptunInjected, s->FptunInvalid) = _engine.Carrier.Counters;
        _engine.Segments.Beat();
    }
}
