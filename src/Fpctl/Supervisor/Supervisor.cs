using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Text;
using FastPathSync.Hosting;
using FastPathSync.Linux;
using FastPathSync.SharedMemory;

namespace FastPathSync.Fpctl.Supervisor;

/// <summary>
/// The supervisor of an instance: one thread, one poll(). It keeps the segments, starts the daemons stage by stage, starts
/// again what dies, and stops everything when asked to (docs/features/supervision.md).
/// </summary>
internal sealed unsafe class Supervisor : IDisposable
{
    public const string Name = "supervisor";

    /// <summary>Crashes without a word (no ERRNO) before the first readiness that are forgiven.</summary>
    private const int ForgivenCrashes = 2;

    private const int StopPollMilliseconds = 50;

    private static readonly TimeSpan s_stopTimeout = TimeSpan.FromSeconds(3);
    private static readonly TimeSpan s_housekeeping = TimeSpan.FromSeconds(30);

    /// <summary>Between two looks at how a change of ports gets on.</summary>
    private static readonly TimeSpan s_changing = TimeSpan.FromMilliseconds(20);

    /// <summary>Daemons reconnect within 20 ms or so; only then may a dead one come back and look for its segments.</summary>
    private static readonly TimeSpan s_adoptionGrace = TimeSpan.FromMilliseconds(500);

    /// <summary>A failed start is cleaned up by `fpctl start`; if that is gone, by ourselves.</summary>
    private static readonly TimeSpan s_failedLinger = TimeSpan.FromSeconds(10);

    private readonly Instance _instance;
    private readonly FileDescriptor _lock;
    private readonly FileDescriptor _listener;
    private readonly FileDescriptor _notify;
    private readonly FileDescriptor _wakeReader;
    private readonly FileDescriptor _wakeWriter;
    private readonly SegmentVault _vault = new();
    private readonly List<SupervisedDaemon> _daemons;
    private readonly PortChanges _ports;
    private readonly List<FileDescriptor> _clients = [];
    private readonly List<FileDescriptor> _stopRequests = [];
    private readonly byte[] _buffer = new byte[4096];
    private readonly DateTimeOffset _since = DateTimeOffset.UtcNow;
    private readonly int _restarts;
    private readonly string? _lastExit;
    private SupervisorPhase _phase = SupervisorPhase.Starting;
    private string? _failure;
    private ulong _failedAt;
    private int _stage;
    private bool _changed = true;
    private bool _reconcile;
    private volatile bool _terminated;

    /// <param name="lock">Held as long as this supervisor lives.</param>
    /// <param name="adopt">Daemons of a supervisor that died may be running.</param>
    public Supervisor(Instance instance, InstancePlan plan, FileDescriptor @lock, bool adopt)
    {
        _instance = instance;
        _lock = @lock;
        _daemons = [.. plan.Daemons.Select(d => new SupervisedDaemon(d, plan.ArgumentsOf(d), instance))];
        _ports = new PortChanges(instance, plan, _daemons, Wake, Log);

        File.Delete(instance.SupervisorSocket);
        File.Delete(instance.NotifySocket);
        _notify = ListenForNotifications(instance.NotifySocket);
        int* pair = stackalloc int[2];
        LinuxException.ThrowIfNegative(
            Libc.socketpair(Libc.AF_UNIX, Libc.SOCK_DGRAM | Libc.SOCK_CLOEXEC | Libc.SOCK_NONBLOCK, 0, pair), "socketpair", Name);
        (_wakeReader, _wakeWriter) = (new FileDescriptor(pair[0]), new FileDescriptor(pair[1]));

        if (adopt && DaemonList.TryRead(instance) is DaemonList before)
        {
            _phase = before.Phase;
            _failure = before.Failure;
            _failedAt = MonotonicClock.Nanoseconds;
            foreach (SupervisedDaemon d in _daemons)
            {
                if (before.Daemons.FirstOrDefault(r => r.Name == d.Plan.Name) is DaemonRecord record)
                {
                    d.Adopt(record, s_adoptionGrace);
                }
            }

            DaemonRecord? self = before.Daemons.FirstOrDefault(r => r.Name == Name);
            _restarts = (self?.Restarts ?? 0) + 1;
            _lastExit = self is null ? null : $"pid {self.Pid} died";
            _reconcile = _phase == SupervisorPhase.Running && plan.Daemons.Any(d => d.TakesPorts);
            Log($"adopted {_daemons.Count(d => d.IsRunning)} of {_daemons.Count} daemons");
        }

        // Last: who can connect finds everything in place.
        _listener = UnixSocket.Listen(instance.SupervisorSocket);
    }

    /// <summary>Runs until the instance has been stopped. Removes its directory.</summary>
    public void Run()
    {
        using PosixSignalRegistration term = PosixSignalRegistration.Create(PosixSignal.SIGTERM, OnSignal);
        using PosixSignalRegistration interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, OnSignal);
        ulong housekeeping = MonotonicClock.Nanoseconds;
        while (true)
        {
            Poll(PollTimeout());
            ulong now = MonotonicClock.Nanoseconds;
            if (_terminated || _phase == SupervisorPhase.Stopping
                || (_phase == SupervisorPhase.Failed && now - _failedAt > (ulong)s_failedLinger.TotalNanoseconds))
            {
                StopAll();
                return;
            }

            if (_phase == SupervisorPhase.Starting)
            {
                AdvanceStart();
            }

            StepPorts();
            foreach (SupervisedDaemon d in _daemons)
            {
                if (d.State == DaemonState.Restarting && _phase != SupervisorPhase.Failed && now >= d.DueAt)
                {
                    d.RestartDue();
                    Log($"{d.Plan.Name}: restart {d.Restarts}, pid {d.Pid}");
                    _changed = true;
                }
            }

            if (now - housekeeping > (ulong)s_housekeeping.TotalNanoseconds)
            {
                housekeeping = now;
                SupervisedDaemon.RotateLog(_instance.Log(Name));
                _daemons.ForEach(d => SupervisedDaemon.RotateLog(_instance.Log(d.Plan.Name)));
            }

            WriteState();
        }
    }

    public void Dispose()
    {
        _vault.Dispose();
        _clients.ForEach(c => c.Dispose());
        _stopRequests.ForEach(c => c.Dispose());
        _listener.Dispose();
        _notify.Dispose();
        _wakeReader.Dispose();
        _wakeWriter.Dispose();
        _lock.Dispose();
    }

    private static FileDescriptor ListenForNotifications(string path)
    {
        FileDescriptor fd = FileDescriptor.FromCall(
            Libc.socket(Libc.AF_UNIX, Libc.SOCK_DGRAM | Libc.SOCK_CLOEXEC | Libc.SOCK_NONBLOCK, 0), "socket", path);
        byte[] bytes = Encoding.UTF8.GetBytes(path);
        if (bytes.Length >= 108)
        {
            throw new LinuxException(Errno.EINVAL, "socket path longer than 107 bytes", path);
        }

        Libc.sockaddr_un a = new() { sun_family = Libc.AF_UNIX };
        bytes.CopyTo(new Span<byte>(a.sun_path, 108));
        LinuxException.ThrowIfNegative(Libc.bind(fd.Number, &a, (uint)(2 + bytes.Length + 1)), "bind", path);
        return fd;
    }

    private static void Log(string line) => Console.Error.WriteLine($"{DateTime.UtcNow:yyyy-MM-dd'T'HH:mm:ss.fff'Z'} info supervisor: {line}");

    private void OnSignal(PosixSignalContext context)
    {
        context.Cancel = true;
        _terminated = true;
        Wake();
    }

    private void Wake()
    {
        byte one = 1;
        _ = Libc.send(_wakeWriter.Number, &one, 1, Libc.MSG_NOSIGNAL | Libc.MSG_DONTWAIT);
    }

    private void StepPorts()
    {
        if (_reconcile && _daemons.TrueForAll(d => d.State == DaemonState.Ready))
        {
            _reconcile = false;
            _ports.Reconcile();
        }

        if (_ports.IsBusy)
        {
            _ports.Step();
            _changed = true;
        }
    }

    private void ChangePort(FileDescriptor client, byte operation, string port)
    {
        if (_phase != SupervisorPhase.Running || _reconcile)
        {
            Reply(client, Errno.EBUSY, text: $"instance '{_instance}' is just being started or stopped, or taken over by a new supervisor; try again in a moment");
            return;
        }

        _ports.Begin(operation, port, (errno, line) =>
        {
            try
            {
                Reply(client, errno, text: line);
            }
            catch (Exception e) when (e is LinuxException or ObjectDisposedException)
            {
                // It didn't wait.
            }
        });
    }

    /// <summary>Waits for whatever comes first, and handles all that came.</summary>
    private void Poll(int timeoutMilliseconds)
    {
        SupervisedDaemon[] running = [.. _daemons.Where(d => d.IsRunning)];
        FileDescriptor[] clients = [.. _clients];
        int count = 3 + running.Length + clients.Length;
        Libc.pollfd* fds = stackalloc Libc.pollfd[count];
        fds[0] = new Libc.pollfd { fd = _notify.Number, events = Libc.POLLIN };
        fds[1] = new Libc.pollfd { fd = _listener.Number, events = Libc.POLLIN };
        fds[2] = new Libc.pollfd { fd = _wakeReader.Number, events = Libc.POLLIN };
        for (int i = 0; i < running.Length; i++)
        {
            fds[3 + i] = new Libc.pollfd { fd = running[i].ProcessDescriptor!.Number, events = Libc.POLLIN };
        }

        for (int i = 0; i < clients.Length; i++)
        {
            fds[3 + running.Length + i] = new Libc.pollfd { fd = clients[i].Number, events = Libc.POLLIN };
        }

        if (Libc.poll(fds, (nuint)count, timeoutMilliseconds) <= 0)
        {
            return;
        }

        // Before the ends: a daemon's last words explain why it ended.
        HandleNotifications();
        if ((fds[2].revents & Libc.POLLIN) != 0)
        {
            byte drained;
            _ = Libc.recv(_wakeReader.Number, &drained, 1, Libc.MSG_DONTWAIT);
        }

        for (int i = 0; i < running.Length; i++)
        {
            if (fds[3 + i].revents != 0)
            {
                HandleEnd(running[i]);
            }
        }

        for (int i = 0; i < clients.Length; i++)
        {
            if (fds[3 + running.Length + i].revents != 0)
            {
                HandleClient(clients[i]);
            }
        }

        if ((fds[1].revents & Libc.POLLIN) != 0)
        {
            _clients.Add(UnixSocket.Accept(_listener));
        }
    }

    private int PollTimeout()
    {
        if (_terminated || (_changed && !_ports.IsBusy))
        {
            return 0;
        }

        ulong now = MonotonicClock.Nanoseconds;
        ulong due = now + (ulong)(_ports.IsBusy ? s_changing : s_housekeeping).TotalNanoseconds;
        if (_phase == SupervisorPhase.Failed)
        {
            due = Math.Min(due, _failedAt + (ulong)s_failedLinger.TotalNanoseconds);
        }
        else
        {
            foreach (SupervisedDaemon d in _daemons)
            {
                if (d.State == DaemonState.Restarting)
                {
                    due = Math.Min(due, d.DueAt);
                }
            }
        }

        return due <= now ? 0 : (int)((due - now + 999_999) / 1_000_000);
    }

    private void HandleNotifications()
    {
        while (true)
        {
            nint n;
            fixed (byte* p = _buffer)
            {
                n = Libc.recv(_notify.Number, p, (nuint)_buffer.Length, Libc.MSG_DONTWAIT);
            }

            if (n <= 0)
            {
                return;
            }

            List<(string Key, string Value)> words = [];
            int pid = 0;
            foreach (string line in Encoding.UTF8.GetString(_buffer, 0, (int)n).Split('\n', StringSplitOptions.RemoveEmptyEntries))
            {
                int equals = line.IndexOf('=', StringComparison.Ordinal);
                if (equals > 0)
                {
                    words.Add((line[..equals], line[(equals + 1)..]));
                    if (words[^1].Key == "MAINPID")
                    {
                        _ = int.TryParse(words[^1].Value, out pid);
                    }
                }
            }

            if (pid != 0 && _daemons.Find(d => d.Pid == pid) is SupervisedDaemon daemon)
            {
                words.ForEach(w => daemon.Told(w.Key, w.Value));
                _changed = true;
            }
        }
    }

    private void HandleEnd(SupervisedDaemon daemon)
    {
        bool firstStart = _phase == SupervisorPhase.Starting && daemon.State == DaemonState.Starting;
        daemon.Ended(restart: _phase is SupervisorPhase.Starting or SupervisorPhase.Running);
        _changed = true;
        Log($"{daemon.Plan.Name}: {daemon.LastExit}{(daemon.State == DaemonState.Restarting ? "; will be started again" : "")}");
        if (!firstStart)
        {
            return;
        }

        if (daemon.ErrorNumber != 0)
        {
            FailStart(daemon, daemon.Text ?? $"{daemon.Plan.Name}: errno {daemon.ErrorNumber}");
        }
        else if (daemon.Restarts >= ForgivenCrashes)
        {
            FailStart(daemon, $"{daemon.Plan.Name} ended {daemon.Restarts + 1} times before it was ready ({daemon.LastExit}); its last words: {LastLogLine(daemon)}");
        }
    }

    private void FailStart(SupervisedDaemon daemon, string line)
    {
        daemon.Fail();
        _failure = line;
        _phase = SupervisorPhase.Failed;
        _failedAt = MonotonicClock.Nanoseconds;
        Log($"start failed: {line}");
    }

    private string LastLogLine(SupervisedDaemon daemon)
    {
        try
        {
            return File.ReadLines(_instance.Log(daemon.Plan.Name)).LastOrDefault(l => !string.IsNullOrWhiteSpace(l))?.Trim() ?? "none";
        }
        catch (IOException)
        {
            return "none";
        }
    }

    private void HandleClient(FileDescriptor client)
    {
        try
        {
            int n = UnixSocket.Receive(client, _buffer, out FileDescriptor? passed);
            if (n == 0)
            {
                passed?.Dispose();
                Drop(client);
                return;
            }

            byte operation = _buffer[0];
            switch (operation)
            {
                case SegmentStore.Put or SegmentStore.Get or SegmentStore.Keep or SegmentStore.Drop:
                    Reply(client, _vault.Handle(operation, _buffer.AsSpan(1, n - 1), passed, out FileDescriptor? segment), segment);
                    _changed |= operation != SegmentStore.Get;
                    break;
                case ControlProtocol.AddPort or ControlProtocol.DeletePort:
                    passed?.Dispose();
                    ChangePort(client, operation, Encoding.UTF8.GetString(_buffer, 1, n - 1));
                    break;
                case ControlProtocol.Attach:
                    passed?.Dispose();
                    break;
                case ControlProtocol.Stop:
                    passed?.Dispose();
                    _clients.Remove(client);
                    _stopRequests.Add(client);
                    _terminated = true;
                    break;
                default:
                    passed?.Dispose();
                    Reply(client, Errno.EOPNOTSUPP);
                    break;
            }
        }
        catch (LinuxException)
        {
            Drop(client); // it has gone, or doesn't read what it asked for
        }
    }

    private void Drop(FileDescriptor client)
    {
        _clients.Remove(client);
        client.Dispose();
    }

    private static void Reply(FileDescriptor client, int errno, FileDescriptor? segment = null, string text = "")
    {
        byte[] reply = [0, 0, 0, 0, .. Encoding.UTF8.GetBytes(text)];
        BinaryPrimitives.WriteInt32BigEndian(reply, errno);
        UnixSocket.Send(client, reply, segment);
    }

    /// <summary>Starts the next stage when all before it are ready.</summary>
    private void AdvanceStart()
    {
        while (true)
        {
            foreach (SupervisedDaemon d in _daemons.Where(d => d.Plan.Stage == _stage && d.State == DaemonState.Stopped))
            {
                try
                {
                    d.Start();
                    Log($"{d.Plan.Name}: started, pid {d.Pid}");
                }
                catch (LinuxException e)
                {
                    FailStart(d, $"{d.Plan.Name}: {e.Message}");
                    return;
                }
                finally
                {
                    _changed = true;
                }
            }

            if (_daemons.Any(d => d.Plan.Stage <= _stage && d.State != DaemonState.Ready))
            {
                return;
            }

            if (!_daemons.Any(d => d.Plan.Stage > _stage))
            {
                _phase = SupervisorPhase.Running;
                _changed = true;
                Log("everything is ready");
                return;
            }

            _stage++;
        }
    }

    private void WriteState()
    {
        if (!_changed)
        {
            return;
        }

        _changed = false;
        ProcessIdentity self = ProcessIdentity.Of(Libc.getpid())!.Value;
        List<DaemonRecord> records = [.. _daemons.Select(d => d.Record)];
        records.Insert(0, new DaemonRecord(Name, self.Pid, self.StartTime, DaemonState.Ready, _since, _restarts, _lastExit, $"{_vault.Count} segments kept"));
        try
        {
            new DaemonList(_phase, _failure, records).Write(_instance);
        }
        catch (IOException e)
        {
            Log($"cannot write {_instance.DaemonsFile}: {e.Message}");
        }
    }

    /// <summary>First those whose end gives the traffic back to Linux, then the rest; then nothing is left.</summary>
    private void StopAll()
    {
        Log("stopping");
        _phase = SupervisorPhase.Stopping;
        _changed = true;
        WriteState();
        StopGroup([.. _daemons.Where(d => d.Plan.StopFirst)]);
        StopGroup([.. _daemons.Where(d => !d.Plan.StopFirst)]);
        Log("stopped");
        InstanceDirectory.Remove(_instance);
        foreach (FileDescriptor request in _stopRequests)
        {
            try
            {
                Reply(request, 0);
            }
            catch (LinuxException)
            {
                // It didn't wait.
            }
        }
    }

    private void StopGroup(SupervisedDaemon[] group)
    {
        foreach (SupervisedDaemon d in group)
        {
            d.Stop();
        }

        ulong killAt = MonotonicClock.Nanoseconds + (ulong)s_stopTimeout.TotalNanoseconds;
        bool killed = false;
        while (group.Any(d => d.IsRunning))
        {
            Poll(StopPollMilliseconds);
            if (!killed && MonotonicClock.Nanoseconds > killAt)
            {
                killed = true;
                foreach (SupervisedDaemon d in group.Where(d => d.IsRunning))
                {
                    Log($"{d.Plan.Name}: did not end within {s_stopTimeout.TotalSeconds:0} s; killed");
                    d.Kill();
                }
            }
        }

        _changed = true;
        WriteState();
    }
}
