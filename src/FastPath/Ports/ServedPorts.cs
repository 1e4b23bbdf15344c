using FastPathSync.FastPath.Exceptions;
using FastPathSync.FastPath.Vrfs;
using FastPathSync.FastPath.Worker;
using FastPathSync.FastPath.Xsk;
using FastPathSync.Hosting;
using FastPathSync.Linux;
using FastPathSync.SharedMemory;
using FastPathSync.SharedMemory.Tables;
using Microsoft.Extensions.Logging;

namespace FastPathSync.FastPath.Ports;

/// <summary>
/// The ports that are served: makes their sockets in the workers' UMEMs, attaches them, takes them up when their interface comes,
/// adds and removes them while the others go on. Used under FastPathEngine.PortGate.
/// </summary>
internal sealed unsafe class ServedPorts(FastPathEngine engine, FastPathOptions options, ILogger log) : IDisposable
{
    /// <summary>Fewer frames to receive into, for each queue, and a burst finds none.</summary>
    private const uint SmallestShare = 128;

    /// <summary>Longer than what a worker needs for full RX rings.</summary>
    private static readonly TimeSpan s_drain = TimeSpan.FromMilliseconds(20);

    /// <summary>A device that holds packets longer than that is stuck.</summary>
    private static readonly TimeSpan s_devicePatience = TimeSpan.FromSeconds(2);

    /// <summary>Until a queue that was just given up is free, or ports that are paused have sent their packets.</summary>
    private static readonly TimeSpan s_queuePatience = TimeSpan.FromSeconds(1);

    private readonly List<Port> _ports = [];
    private readonly ReinjectionCookie _cookie = engine.Constants.Cookie;

    public PortTrailers Trailers { get; } = new();

    /// <summary>Everything is Linux's for a moment.</summary>
    public bool Paused { get; private set; }

    /// <summary>In the order of their ids.</summary>
    public IReadOnlyList<Port> All => _ports;

    /// <summary>One more than the highest id.</summary>
    public uint IdCount => _ports.Count == 0 ? 0 : (uint)_ports[^1].Id + 1;

    public Port? Find(int id) => _ports.Find(p => p.Id == id);

    /// <summary>All that can be said about the ports of the options before anything is made.</summary>
    /// <returns>The size of the frames that their MTUs need.</returns>
    public uint Look()
    {
        uint frameSize = Umem.SmallFrame;
        foreach ((int id, PortName name) in options.Ports.Index().Where(n => !n.Item.IsNone))
        {
            Port p = new(id, name, options.Workers, Trailers, _cookie) { Vrf = engine.VrfOf(name.Vrf) };
            _ports.Add(p);
            if (!IsThere(p))
            {
                p.BeginGone();
                continue;
            }

            PortCheck.Mtu(p);
            PortCheck.Queues(p, options.Workers);
            frameSize = p.Mtu > PortCheck.MaxMtu(Umem.SmallFrame) ? Umem.LargeFrame : frameSize;
        }

        return frameSize;
    }

    /// <summary>Takes over what was counted before a restart.</summary>
    public void Resume()
    {
        foreach (Port p in _ports)
        {
            Resume(p);
            Trailers.Set(p.Id, p.IfIndex, genericXdp: false);
        }

        for (int id = (int)IdCount; id < Capacities.Ports; id++)
        {
            Forget(id);
        }
    }

    public SocketSet SetOf(int worker) =>
        new([.. _ports.Where(p => !p.Gone).SelectMany(p => p.Bindings).Where(b => b.Worker == worker)]);

    /// <summary>How many sockets a worker is to have, those of ports that are missing now among them.</summary>
    public uint SocketsOf(int worker) => (uint)_ports.Sum(p => Math.Max(1, p.Workers.CountOf(worker)));

    /// <summary>Makes the sockets that queues of a port have not, each in its worker's UMEM, and posts nothing: workers do that.</summary>
    public void Bind(Port p) => p.Vrf!.Inside(() =>
    {
        foreach (int queue in Enumerable.Range(0, p.Queues).Except(p.Bindings.Select(b => b.Queue)).ToList())
        {
            p.Bindings.Add(Bind(p, queue));
        }

        p.Bindings.Sort((a, b) => a.Queue - b.Queue);
        return true;
    });

    public void Attach(Port p)
    {
        if (p.Attach(options.Mode, p.Vrf!.Devices, engine.Admission(p)) is string reason)
        {
            log.LogWarning("generic XDP taken: {Cause}", reason);
        }

        if (p.Mode == PortMode.Generic && p.Vrf.Devices.MergesReceived(p.Name))
        {
            log.LogWarning(
                "port {Port}: GRO is on; in generic mode small packets that it merges are forwarded as one: switch it off with 'ethtool -K {Name} gro off'", p.Configured, p.Name);
        }

        log.LogInformation("port {Port} up: {Mode} XDP, {Queues} queues, MTU {Mtu}", p.Configured, p.Mode, p.Queues, p.Mtu);
    }

    /// <summary>
    /// Serves one more port, under an id that no table names. Its packets come to the workers once fpmd's tables name it
    /// (FastPathEngine.Admission). Repeating it succeeds.
    /// </summary>
    /// <returns>False while its VRF's tables are not there: to be repeated.</returns>
    /// <exception cref="DaemonStartException">It can't be: nothing has changed.</exception>
    public bool Add(int id, PortName name)
    {
        Port? known = Find(id);
        if (known is not null && known.Configured != name)
        {
            throw new DaemonStartException(Errno.EBUSY, $"port {name}: its number {id} is that of port {known.Configured} still");
        }

        Port p = known ?? Make(id, name);
        try
        {
            if (p.Vrf is null && engine.TryServe(name.Vrf) is null)
            {
                return false;
            }

            if (p.Gone)
            {
                Revive(p);
            }

            return true;
        }
        catch when (known is null)
        {
            _ports.Remove(p);
            Forget(id);
            throw;
        }
    }

    /// <summary>
    /// Gives a port back to Linux: no packet comes in any more, what is in its rings is still forwarded, then its sockets go and its id
    /// is free. To be called when no table names it any more. Removing what isn't there succeeds.
    /// </summary>
    /// <exception cref="DaemonStartException">Its device doesn't let go of packets: the port is served on.</exception>
    public void Remove(int id)
    {
        if (Find(id) is not Port p)
        {
            return;
        }

        if (!p.Gone)
        {
            p.Detach();
            if (!Drain([p], s_devicePatience))
            {
                Attach(p);
                throw new DaemonStartException(Errno.EBUSY, $"port {p.Configured}: its device has not sent its packets within {s_devicePatience.TotalSeconds:0} s, so their frames can't be taken back; try again");
            }
        }

        ServedVrf? vrf = p.Vrf;
        Release([p]);
        _ports.Remove(p);
        Forget(id);
        if (vrf is { IsHome: false } && !_ports.Exists(o => o.Vrf == vrf))
        {
            engine.Leave(vrf);
        }

        log.LogInformation("port {Port} is removed", p.Configured);
    }

    /// <summary>The interface of a Gone port is there again: serves it.</summary>
    public void Revive(Port p)
    {
        p.Look(p.Vrf!.Devices);
        p.Return();
        try
        {
            PortCheck.Queues(p, options.Workers);
            Bind(p);
            Trailers.Set(p.Id, p.IfIndex, genericXdp: false);
            if (!ExchangeSockets())
            {
                throw new InvalidOperationException("a worker does not take its new sockets");
            }

            Attach(p);
        }
        catch
        {
            Release([p]);
            throw;
        }
    }

    /// <summary>
    /// `ethtool -L` has given the port other numbers of queues: new ones get sockets. (The kernel refuses to take away one that has a socket.)
    /// </summary>
    public void FollowQueues(Port p)
    {
        (int receive, int transmit) = p.Vrf!.Devices.Queues(p.Name);
        if ((receive, transmit) == (p.Queues, p.TransmitQueues))
        {
            return;
        }

        int served = p.Bindings.Count;
        log.LogInformation("port {Port}: {Receive} receive and {Transmit} transmit queues now, {Before} and {TransmitBefore} before", p.Configured, receive, transmit, p.Queues, p.TransmitQueues);
        p.TakeQueues(receive, transmit);
        try
        {
            PortCheck.Queues(p, options.Workers);
            CheckShares(p);
            Bind(p);
        }
        catch (Exception e) when (e is DaemonStartException or LinuxException)
        {
            log.LogWarning("port {Port}: what comes in by further queues is Linux's: {Cause}", p.Configured, e.Message);
        }

        if (p.Bindings.Count > served)
        {
            if (!ExchangeSockets())
            {
                throw new InvalidOperationException($"port {p.Configured}: a worker does not take its new sockets");
            }

            p.Bindings.Skip(served).ToList().ForEach(p.Serve);
        }
    }

    /// <summary>
    /// Has each receive queue of a port served by the worker that is named for it, from now on and after a restart. Meanwhile (some 50 ms) Linux
    /// forwards everything, for a worker may be without a queue to send by; what is in rings is forwarded before.
    /// </summary>
    /// <exception cref="DaemonStartException">It can't be: nothing has changed, or the port is Gone and comes back as it was to be.</exception>
    public void ServeBy(Port p, IReadOnlyList<int> workers)
    {
        if (workers.Count != p.Queues)
        {
            throw new DaemonStartException(Errno.EINVAL, $"port {p.Configured} has {p.Queues} receive queue{(p.Queues == 1 ? "" : "s")}, and {workers.Count} workers are named; name one for each queue, in their order");
        }

        if (p.Workers.Fault(workers, p.TransmitQueues) is string fault)
        {
            throw new DaemonStartException(Errno.EINVAL, $"port {p.Configured}: {fault}");
        }

        for (int w = 0; w < options.Workers; w++)
        {
            CheckShare(p, w, workers.Count(o => o == w) - p.Bindings.Count(b => b.Worker == w));
        }

        List<XskBinding> moving = p.Bindings.FindAll(b => b.Worker != workers[b.Queue]);
        if (moving.Count == 0)
        {
            p.Choose(workers, StateOf(p.Id));
            return;
        }

        Paused = true;
        try
        {
            Configure();
            List<Port> there = _ports.FindAll(o => !o.Gone);
            if (!Drain(there, s_queuePatience))
            {
                string waiting = string.Join(", ", there.Where(o => !o.Bindings.TrueForAll(b => b.IsIdle)).Select(o => o.Configured));
                throw new DaemonStartException(Errno.EBUSY, $"port {p.Configured}: its queues stay where they are, for {waiting} has not sent its packets within {s_queuePatience.TotalSeconds:0} s; try again");
            }

            p.Choose(workers, StateOf(p.Id));
            Move(p, moving);
        }
        finally
        {
            Paused = false;
            Configure();
        }

        log.LogInformation("port {Port}: its queues are served by workers {Workers}", p.Configured, string.Join(",", workers));
    }

    /// <summary>The namespace of ports goes: what they hold of it is let go of. What their rings have is forwarded first.</summary>
    public void Leave(ServedVrf vrf)
    {
        List<Port> ports = _ports.FindAll(p => p.Vrf == vrf);
        ports.ForEach(p => p.Detach());
        _ = Drain(ports, s_drain * 5);
        Release(ports);
        ports.ForEach(p => p.Vrf = null);
    }

    /// <summary>Takes the sockets of ports from the workers and closes them; the ports are Gone, and keep what was counted.</summary>
    public void Release(List<Port> ports)
    {
        foreach (Port p in ports.Where(p => !p.Gone))
        {
            p.Vanish(StateOf(p.Id));
        }

        if (!ExchangeSockets())
        {
            throw new InvalidOperationException($"port {ports[0].Configured}: a worker does not let go of its sockets");
        }

        ports.ForEach(p => p.CloseSockets());
    }

    /// <summary>Linux has everything; what XDP had redirected before is still forwarded.</summary>
    public void DetachAll()
    {
        _ports.ForEach(p => p.Detach());
        Thread.Sleep(s_drain);
    }

    public void Dispose()
    {
        _ports.ForEach(p => p.Dispose());
        Trailers.Dispose();
    }

    private void Move(Port p, List<XskBinding> moving)
    {
        p.Bindings.RemoveAll(moving.Contains);
        if (!ExchangeSockets())
        {
            throw new InvalidOperationException($"port {p.Configured}: a worker does not let go of its sockets");
        }

        moving.ForEach(b => b.Dispose());
        try
        {
            Bind(p);
        }
        catch
        {
            Release([p]);
            throw;
        }

        if (!ExchangeSockets())
        {
            throw new InvalidOperationException($"port {p.Configured}: a worker does not take its new sockets");
        }

        p.Bindings.FindAll(b => moving.Exists(m => m.Queue == b.Queue)).ForEach(p.Serve);
    }

    private void Configure()
    {
        foreach (Port p in _ports.Where(p => !p.Gone))
        {
            p.Configure(p.Vrf!.Devices, engine.Admission(p));
        }
    }

    /// <summary>The kernel lets go of a queue a moment after the socket that it had was closed.</summary>
    private XskBinding Bind(Port p, int queue)
    {
        int worker = p.Workers[queue];
        ulong deadline = MonotonicClock.Nanoseconds + (ulong)s_queuePatience.TotalNanoseconds;
        while (true)
        {
            try
            {
                return new XskBinding(engine.UmemOf(worker), p.Name, p.IfIndex, queue, p.Id, p.Vrf!.TablesOf(worker), p.Vrf.InjectorOf(worker), p.Vrf.TapOf(worker));
            }
            catch (DaemonStartException e) when (e.ErrorNumber == Errno.EBUSY && MonotonicClock.Nanoseconds < deadline)
            {
                Thread.Sleep(2);
            }
        }
    }

    private bool ExchangeSockets()
    {
        bool all = true;
        foreach (ForwardingWorker w in engine.Workers)
        {
            all &= w.Exchange(SetOf(w.Id), TimeSpan.FromSeconds(1));
        }

        return all;
    }

    /// <summary>Waits until the rings of detached ports are empty and the kernel has none of their frames.</summary>
    private static bool Drain(List<Port> ports, TimeSpan patience)
    {
        Thread.Sleep(s_drain); // programs that are just running still redirect
        ulong deadline = MonotonicClock.Nanoseconds + (ulong)patience.TotalNanoseconds;
        while (!ports.TrueForAll(p => p.Bindings.TrueForAll(b => b.IsIdle)))
        {
            if (MonotonicClock.Nanoseconds > deadline)
            {
                return false;
            }

            Thread.Sleep(1);
        }

        return true;
    }

    private Port Make(int id, PortName name)
    {
        if (id is < 0 or >= Capacities.Ports || _ports.Count == Capacities.Ports)
        {
            throw new DaemonStartException(Errno.E2BIG, $"port {name}: at most {Capacities.Ports} ports can be served");
        }

        if (_ports.Exists(o => o.Configured == name))
        {
            throw new DaemonStartException(Errno.EEXIST, $"port {name} is served already; `fpctl port show` lists the ports");
        }

        Port p = new(id, name, options.Workers, Trailers, _cookie) { Vrf = engine.VrfOf(name.Vrf) };
        using (ServedVrf? looked = p.Vrf is null ? ServedVrf.TryOpen(name.Vrf) : null)
        {
            p.Look((p.Vrf ?? looked ?? throw NoVrf(p)).Devices);
        }

        PortCheck.Mtu(p, engine.FrameSize);
        PortCheck.Queues(p, options.Workers);
        CheckShares(p);
        p.BeginGone();
        Forget(id);
        Resume(p);
        int place = _ports.FindIndex(o => o.Id > id);
        _ports.Insert(place < 0 ? _ports.Count : place, p);
        return p;
    }

    /// <summary>Whether each worker has frames for the queues that a port has now and that are not served yet.</summary>
    private void CheckShares(Port p)
    {
        for (int w = 0; w < options.Workers; w++)
        {
            CheckShare(p, w, p.Workers.CountOf(w) - p.Bindings.Count(b => b.Worker == w));
        }
    }

    /// <param name="more">How many sockets the worker is to have beside those that it has.</param>
    private void CheckShare(Port p, int worker, int more)
    {
        uint sockets = (uint)(SetSize(worker) + more), frames = engine.UmemOf(worker).Frames;
        if (more > 0 && frames / 2 / sockets < SmallestShare)
        {
            throw new DaemonStartException(
                Errno.ENOSPC,
                $"port {p.Configured}: the {frames} packet frames of worker {worker} don't suffice for {sockets} queues; delete a port, or stop the instance and start it with these ports");
        }
    }

    private int SetSize(int worker) => _ports.SelectMany(p => p.Bindings).Count(b => b.Worker == worker);

    /// <summary>Looks at the interface of a port. It may be missing if a fast path before us served it: it has vanished meanwhile.</summary>
    private bool IsThere(Port p)
    {
        bool served = p.WasServed(StateOf(p.Id));
        if (p.Vrf is null)
        {
            return served ? false : throw NoVrf(p);
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

    private static DaemonStartException NoVrf(Port p) => new(
        Errno.ENOENT, $"port {p.Configured}: there is no VRF (network namespace) {p.Configured.Vrf} in {NetworkNamespace.Directory}; `ip netns list` shows those there are");

    private void Resume(Port p)
    {
        if (!p.WasServed(StateOf(p.Id)))
        {
            Forget(p.Id);
        }

        p.Resume(StateOf(p.Id));
    }

    /// <summary>What was counted under an id that no worker uses.</summary>
    private void Forget(int id)
    {
        *StateOf(id) = default;
        foreach (Segment worker in engine.Segments.Workers)
        {
            *WorkerSegment.Port(worker, id) = default;
        }
    }

    private PortState* StateOf(int id) => FastPathStateSegment.Port(engine.Segments.State, id);
}
