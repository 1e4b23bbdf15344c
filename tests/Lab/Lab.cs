using System.Runtime.InteropServices;

namespace FastPathSync.Labs;

/// <summary>
/// Namespaces joined by veth pairs, built by the very `ip` commands a user would type, and taken down whatever happens:
/// by Dispose, by Ctrl-C or SIGTERM, at exit, or by the next run's reaper.
/// </summary>
/// <remarks>FPS_PAUSE=1 in the environment stops before taking down, with everything left up to look at.</remarks>
public sealed class Lab : IDisposable
{
    public const string NamePrefix = "fpst-";

    private static readonly Lock s_lock = new();
    private static readonly List<Lab> s_live = [];
    private static readonly List<PosixSignalRegistration> s_signals = [];
    private static int s_next;
    private static bool s_armed;

    private readonly List<LabNamespace> _namespaces = [];
    private readonly List<Product> _products = [];
    private readonly List<BackgroundProcess> _processes = [];
    private readonly List<string> _transcript = [];
    private bool _disposed;

    public Lab()
    {
        Assert.SkipUnless(Linux.Libc.geteuid() == 0, "needs root: namespaces are made");
        lock (s_lock)
        {
            if (!s_armed)
            {
                s_armed = true;
                Reaper.RemoveLeftovers();
                AppDomain.CurrentDomain.ProcessExit += (_, _) => DisposeAll();
                Console.CancelKeyPress += (_, _) => DisposeAll();
                foreach (PosixSignal signal in (PosixSignal[])[PosixSignal.SIGTERM, PosixSignal.SIGHUP])
                {
                    s_signals.Add(PosixSignalRegistration.Create(signal, _ => DisposeAll()));
                }
            }

            Prefix = $"{NamePrefix}{Environment.ProcessId}-{s_next++}-";
            s_live.Add(this);
        }
    }

    /// <summary>What the name of everything in this lab begins with: fpst-PID-N-.</summary>
    public string Prefix { get; }

    /// <summary>Every command given so far, ready to be typed again.</summary>
    public string Transcript
    {
        get
        {
            lock (_transcript)
            {
                return string.Join('\n', _transcript);
            }
        }
    }

    /// <summary>What the kernels of its namespaces have counted of ICMP, rationing included (who answered, and who didn't), and what they are set to.</summary>
    public string KernelState => string.Join('\n', _namespaces.Select(n => $"{n.Name}: {n.IcmpCounters()}\n{n.Settings()}"));

    public LabNamespace AddNamespace(string role)
    {
        LabNamespace ns = new(this, Prefix + role);
        _namespaces.Add(ns);
        Host($"ip netns add {ns.Name}").MustSucceed();
        ns.Run("ip link set lo up");
        ns.Sysctl(
            ("net.ipv4.conf.all.rp_filter", "0"),
            ("net.ipv4.conf.default.rp_filter", "0"),
            ("net.ipv6.conf.all.disable_ipv6", "1"),
            ("net.ipv6.conf.default.disable_ipv6", "1"));
        return ns;
    }

    /// <summary>
    /// A veth pair between two namespaces, both ends up. <paramref name="offload"/> false: the ends compute checksums
    /// themselves, as a cable to other hardware would force them to.
    /// </summary>
    public void Link(LabNamespace a, string nameA, LabNamespace b, string nameB, int queuesA = 1, int queuesB = 1, int mtu = 1500, bool offload = false)
    {
        Host($"ip link add {nameA} netns {a.Name} mtu {mtu} numtxqueues {queuesA} numrxqueues {queuesA} type veth "
            + $"peer name {nameB} netns {b.Name} mtu {mtu} numtxqueues {queuesB} numrxqueues {queuesB}").MustSucceed();
        foreach ((LabNamespace ns, string name) in (ReadOnlySpan<(LabNamespace, string)>)[(a, nameA), (b, nameB)])
        {
            if (!offload)
            {
                ns.Run($"ethtool -K {name} tx off");
            }

            ns.Run($"ip link set {name} up");
        }
    }

    /// <summary>Runs a command in the namespace the tests were started in.</summary>
    public CommandResult Host(string command, string? input = null) => Execute(Command.Split(command), input, null);

    public CommandResult Execute(IReadOnlyList<string> words, string? input, TimeSpan? timeout)
    {
        Note(Command.Join(words) + (input is null ? "" : $"   # with {input.Count(c => c == '\n')} lines on standard input"));
        CommandResult result = Command.Run(words, input, timeout);
        if (!result.Ok)
        {
            Note($"#   exit code {result.ExitCode}: {string.Join(" / ", result.Error.Trim().Split('\n').Take(4))}");
        }

        return result;
    }

    public void Note(string line)
    {
        lock (_transcript)
        {
            _transcript.Add(line);
        }
    }

    internal void Track(BackgroundProcess process) => _processes.Add(process);

    internal void Track(Product product) => _products.Add(product);

    public void Dispose()
    {
        lock (s_lock)
        {
            if (_disposed)
            {
                return;
            }

            _disposed = true;
            s_live.Remove(this);
        }

        Pause();
        List<string> faults = [];
        Attempt(faults, _products, p => p.Dispose());
        Attempt(faults, _processes, p => p.Dispose());
        Attempt(faults, _namespaces, n => Reaper.RemoveNamespace(n.Name));
        faults.AddRange(Reaper.FindLeftovers(Prefix));
        if (faults.Count > 0)
        {
            throw new InvalidOperationException($"lab {Prefix} could not be taken down cleanly:\n  {string.Join("\n  ", faults)}");
        }
    }

    private static void Attempt<T>(List<string> faults, IEnumerable<T> things, Action<T> action)
    {
        foreach (T thing in things)
        {
            try
            {
                action(thing);
            }
            catch (Exception e)
            {
                faults.Add(e.Message);
            }
        }
    }

    private static void DisposeAll()
    {
        Lab[] labs;
        lock (s_lock)
        {
            labs = [.. s_live];
        }

        foreach (Lab lab in labs)
        {
            try
            {
                lab.Dispose();
            }
            catch (InvalidOperationException e)
            {
                Console.Error.WriteLine(e.Message);
            }
        }
    }

    private void Pause()
    {
        if (Environment.GetEnvironmentVariable("FPS_PAUSE") != "1")
        {
            return;
        }

        Console.Error.WriteLine($"FPS_PAUSE: left up: {string.Join(", ", _namespaces.Select(n => n.Name))}"
            + $"{string.Concat(_products.Select(p => $"; instance {p.Instance}"))}. How it came about:\n{Transcript}\nEnter takes it down.");
        if (Console.ReadLine() is null)
        {
            Thread.Sleep(Timeout.Infinite);
        }
    }
}
