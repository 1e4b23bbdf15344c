using FastPathSync.Linux;
using Microsoft.Extensions.Logging;

namespace FastPathSync.Hosting;

/// <summary>
/// A daemon's hold on its supervisor: an idle connection to supervisor.sock whose end says that the supervisor died.
/// The first daemon to take respawn.lock then starts a new one, which adopts the daemons; every daemon connects to it
/// and gives back what it keeps for them (OnReconnected).
/// </summary>
/// <remarks>A supervisor that stops on purpose removes the instance's directory last, and stops the daemons before: no respawn.</remarks>
public sealed class SupervisorLink
{
    /// <summary>First byte of the packet that makes a connection a link, with the daemon's name behind it. See Fpctl/Supervisor/ControlProtocol.cs.</summary>
    public const byte Attach = 18;

    /// <summary>The hidden command of fpctl that is the supervisor; needs --directory and --instance.</summary>
    public static readonly string[] AdoptArguments = ["supervise", "--adopt"];

    private static readonly TimeSpan s_retry = TimeSpan.FromMilliseconds(20);
    private readonly Instance _instance;
    private readonly string _daemon;
    private readonly ILogger _log;
    private readonly Lock _gate = new();
    private readonly List<Action> _reconnected = [];
    private volatile bool _stopping;

    /// <summary>The supervisor that this daemon started: its parent has to reap it when it dies in turn.</summary>
    private int _child;

    internal SupervisorLink(Instance instance, string daemon, ILogger log)
    {
        _instance = instance;
        _daemon = daemon;
        _log = log;
    }

    /// <summary>Called (on the link's thread) each time a new supervisor has been found: give it your segments back.</summary>
    public void OnReconnected(Action action)
    {
        lock (_gate)
        {
            _reconnected.Add(action);
        }
    }

    /// <summary>Starts the link's thread. A daemon started by hand, without a supervisor, runs without a link.</summary>
    internal void Start()
    {
        if (!File.Exists(_instance.SupervisorSocket))
        {
            return;
        }

        Thread thread = new(Run, 256 * 1024) { IsBackground = true, Name = "supervisor-link" };
        thread.Start();
    }

    internal void Stop() => _stopping = true;

    private void Run()
    {
        bool first = true;
        byte[] buffer = new byte[16];
        while (!_stopping)
        {
            FileDescriptor? connection = Connect();
            if (connection is null)
            {
                if (!Directory.Exists(_instance.Directory))
                {
                    _log.LogWarning("the instance's directory is gone; running on without a supervisor");
                    return;
                }

                Respawn();
                Thread.Sleep(s_retry);
                continue;
            }

            using (connection)
            {
                if (!first)
                {
                    _log.LogInformation("a new supervisor has taken over");
                    GiveBack();
                }

                first = false;
                try
                {
                    while (UnixSocket.Receive(connection, buffer, out _) > 0)
                    {
                        // Nothing is said on a link but its end.
                    }
                }
                catch (LinuxException e)
                {
                    _log.LogDebug("link broke: {Cause}", e.Message);
                }
            }

            if (!_stopping)
            {
                Thread.Sleep(s_retry);
            }
        }
    }

    private FileDescriptor? Connect()
    {
        try
        {
            FileDescriptor fd = UnixSocket.Connect(_instance.SupervisorSocket);
            UnixSocket.Send(fd, [Attach, .. System.Text.Encoding.UTF8.GetBytes(_daemon)]);
            return fd;
        }
        catch (LinuxException)
        {
            return null;
        }
    }

    private void GiveBack()
    {
        Action[] actions;
        lock (_gate)
        {
            actions = [.. _reconnected];
        }

        foreach (Action action in actions)
        {
            try
            {
                action();
            }
            catch (Exception e)
            {
                _log.LogError(e, "could not give something back to the new supervisor");
            }
        }
    }

    /// <summary>Starts a supervisor, unless another daemon is just doing so.</summary>
    private void Respawn()
    {
        if (_child != 0 && DetachedProcess.TryReap(_child, out _))
        {
            _child = 0;
        }

        int fd = Libc.open(_instance.RespawnLock, Libc.O_RDWR | Libc.O_CREAT | Libc.O_CLOEXEC, 0x180);
        if (fd < 0)
        {
            return;
        }

        using FileDescriptor file = new(fd);
        if (Libc.flock(fd, Libc.LOCK_EX | Libc.LOCK_NB) < 0)
        {
            return; // its holder is at it; we come back in a moment
        }

        // Held until the new supervisor answers: it has the lock meanwhile, or has died again.
        if (Connect() is FileDescriptor alive)
        {
            alive.Dispose();
            return;
        }

        try
        {
            string program = Path.Combine(AppContext.BaseDirectory, "fpctl");
            int pid = DetachedProcess.Start(
                program,
                [.. AdoptArguments, "--instance", _instance.Name, "--directory", _instance.Directory],
                _instance.Log("supervisor"));
            _log.LogWarning("the supervisor has died; started another {Pid}", pid);
            for (int waited = 0; waited < 10_000 && !_stopping; waited += 20)
            {
                Thread.Sleep(s_retry);
                if (DetachedProcess.TryReap(pid, out int status))
                {
                    _log.LogError("the new supervisor ended at once: {Status}; see supervisor.log", DetachedProcess.DescribeStatus(status));
                    Thread.Sleep(1000);
                    return;
                }

                if (Connect() is FileDescriptor up)
                {
                    up.Dispose();
                    _child = pid;
                    return;
                }
            }
        }
        catch (LinuxException e)
        {
            _log.LogError("cannot start a supervisor: {Cause}", e.Message);
            Thread.Sleep(1000);
        }
    }
}
