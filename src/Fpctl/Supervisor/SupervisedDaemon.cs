using FastPathSync.Hosting;
using FastPathSync.Linux;

namespace FastPathSync.Fpctl.Supervisor;

/// <summary>One daemon: its process, its state, and when it may be started again.</summary>
internal sealed class SupervisedDaemon(DaemonPlan plan, IReadOnlyList<string> arguments, Instance instance)
{
    /// <summary>
    /// How much a daemon allocates between two garbage collections. By default that is the size of the CPU's last cache, and as much stays
    /// resident; what daemons allocate in a batch dies with it. Hexadecimal, without 0x.
    /// </summary>
    private const string YoungHeap = "DOTNET_GCgen0size", YoungHeapBytes = "400000";

    private const long LogBytes = 10 << 20;
    private static readonly TimeSpan s_firstDelay = TimeSpan.FromMilliseconds(50);
    private static readonly TimeSpan s_longestDelay = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan s_goodLife = TimeSpan.FromSeconds(10);
    private readonly Instance _instance = instance;
    private ProcessIdentity _process;
    private TimeSpan _delay;
    private ulong _startedAt;
    private bool _held;

    public DaemonPlan Plan { get; } = plan;

    /// <summary>With which it is started the next time.</summary>
    public IReadOnlyList<string> Arguments { get; set; } = arguments;

    public DaemonState State { get; private set; } = DaemonState.Stopped;

    public DateTimeOffset Since { get; private set; } = DateTimeOffset.UtcNow;

    public int Restarts { get; private set; }

    public string? LastExit { get; private set; }

    public string? Text { get; private set; }

    /// <summary>The errno it sent before it ended, 0 for none.</summary>
    public int ErrorNumber { get; private set; }

    /// <summary>Polls readable when the process has ended, whoever its parent is (pidfd_open(2)). Null while there is none.</summary>
    public FileDescriptor? ProcessDescriptor { get; private set; }

    /// <summary>CLOCK_MONOTONIC nanoseconds at which a dead daemon is to be started again.</summary>
    public ulong DueAt { get; private set; }

    public bool IsRunning => ProcessDescriptor is not null;

    public int Pid => IsRunning ? _process.Pid : 0;

    public DaemonRecord Record => new(Plan.Name, Pid, IsRunning ? _process.StartTime : 0, State, Since, Restarts, LastExit, Text);

    /// <exception cref="LinuxException">The program can't be started at all.</exception>
    public void Start()
    {
        RotateLog(_instance.Log(Plan.Name));
        ErrorNumber = 0;
        Text = null;
        int pid = DetachedProcess.Start(
            Plan.Program,
            Arguments,
            _instance.Log(Plan.Name),
            new Dictionary<string, string> { [Notifier.Variable] = _instance.NotifySocket, [YoungHeap] = Environment.GetEnvironmentVariable(YoungHeap) ?? YoungHeapBytes });

        // It is our child and not reaped yet: the pid is its own, even if it has ended already.
        _process = ProcessIdentity.Of(pid) ?? new ProcessIdentity(pid, 0);
        Watch();
        _startedAt = MonotonicClock.Nanoseconds;
        Enter(Plan.Notifies ? DaemonState.Starting : DaemonState.Ready);
    }

    /// <summary>Takes over a daemon from what a supervisor before us has written.</summary>
    public void Adopt(DaemonRecord record, TimeSpan grace)
    {
        Restarts = record.Restarts;
        LastExit = record.LastExit;
        Text = record.Text;
        _process = new ProcessIdentity(record.Pid, record.StartTime);
        _startedAt = MonotonicClock.Nanoseconds;
        if (record.Pid != 0 && _process.IsAlive)
        {
            Watch();
            if (_process.IsAlive) // asked again: the pidfd is of this very process
            {
                State = record.State;
                Since = record.Since;
                return;
            }
        }

        ProcessDescriptor?.Dispose();
        ProcessDescriptor = null;
        if (record.State is DaemonState.Ready or DaemonState.Starting)
        {
            LastExit = "ended while there was no supervisor";
        }

        if (record.State is not DaemonState.Stopped)
        {
            Schedule(grace);
        }
    }

    /// <summary>The process has ended: reaps it, and says when it may start again.</summary>
    public void Ended(bool restart)
    {
        LastExit = DetachedProcess.TryReap(_process.Pid, out int status) ? DetachedProcess.DescribeStatus(status) : "ended (exit status unknown)";
        ProcessDescriptor?.Dispose();
        ProcessDescriptor = null;
        if (!restart || _held)
        {
            Enter(DaemonState.Stopped);
            return;
        }

        bool livedWell = MonotonicClock.Nanoseconds - _startedAt >= (ulong)s_goodLife.TotalNanoseconds;
        _delay = livedWell || _delay == default ? s_firstDelay : TimeSpan.FromTicks(Math.Min(_delay.Ticks * 2, s_longestDelay.Ticks));
        Schedule(_delay);
    }

    public void RestartDue()
    {
        Restarts++;
        try
        {
            Start();
        }
        catch (LinuxException e)
        {
            LastExit = e.Message;
            _delay = s_longestDelay;
            Schedule(_delay);
        }
    }

    /// <summary>What the daemon says of itself by sd_notify.</summary>
    public void Told(string key, string value)
    {
        switch (key)
        {
            case "READY" when value == "1" && State == DaemonState.Starting:
                Enter(DaemonState.Ready);
                break;
            case "STATUS":
                Text = value;
                break;
            case "ERRNO" when int.TryParse(value, out int errno):
                ErrorNumber = errno;
                break;
        }
    }

    /// <summary>False when it runs with other arguments, or not at all.</summary>
    public bool RunsWithItsArguments
    {
        get
        {
            try
            {
                return IsRunning && File.ReadAllText($"/proc/{_process.Pid}/cmdline") == string.Concat(Arguments.Prepend(Plan.Program).Select(a => a + "\0"));
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                return false; // it is just ending
            }
        }
    }

    /// <summary>Ends it, and keeps it from being started until StartHeld.</summary>
    public void Hold()
    {
        _held = true;
        if (IsRunning)
        {
            Stop();
        }
        else
        {
            Enter(DaemonState.Stopped);
        }
    }

    /// <summary>On purpose: that counts as no restart.</summary>
    public void StartHeld()
    {
        _held = false;
        _delay = default;
        try
        {
            Start();
        }
        catch (LinuxException e)
        {
            LastExit = e.Message;
            Schedule(s_longestDelay);
        }
    }

    public void Fail() => Enter(DaemonState.Failed);

    public void Stop()
    {
        if (IsRunning)
        {
            const int SIGCONT = 18;
            _ = _process.TrySignal(Libc.SIGTERM);
            _ = _process.TrySignal(SIGCONT); // one that was halted by SIGSTOP has to wake up to end
        }
    }

    public void Kill()
    {
        if (IsRunning)
        {
            _ = _process.TrySignal(Libc.SIGKILL);
        }
    }

    /// <summary>
    /// Keeps a log under 10 MB, and one before it. The daemon's descriptor appends (O_APPEND), so truncating is safe.
    /// </summary>
    public static void RotateLog(string path)
    {
        try
        {
            FileInfo log = new(path);
            if (log.Exists && log.Length > LogBytes)
            {
                File.Copy(path, path + ".1", overwrite: true);
                using FileStream f = new(path, FileMode.Open, FileAccess.Write, FileShare.ReadWrite);
                f.SetLength(0);
            }
        }
        catch (IOException)
        {
            // A full disk: the log stays as it is.
        }
    }

    private void Watch()
    {
        long fd = Libc.syscall(Libc.SYS_pidfd_open, _process.Pid, 0, 0, 0, 0);
        ProcessDescriptor = FileDescriptor.FromCall((int)fd, "pidfd_open", Plan.Name);
    }

    private void Schedule(TimeSpan delay)
    {
        DueAt = MonotonicClock.Nanoseconds + (ulong)delay.TotalNanoseconds;
        Enter(DaemonState.Restarting);
    }

    private void Enter(DaemonState state)
    {
        State = state;
        Since = DateTimeOffset.UtcNow;
    }
}
