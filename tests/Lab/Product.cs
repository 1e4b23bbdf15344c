using System.Diagnostics;
using System.Text.Json;

namespace FastPathSync.Labs;

/// <summary>One instance of the product in a namespace, driven through fpctl as a user would.</summary>
public sealed class Product : IDisposable
{
    private static readonly JsonSerializerOptions s_json = new(JsonSerializerDefaults.Web);
    private static int s_next;
    private readonly LabNamespace _router;

    public Product(LabNamespace router)
    {
        _router = router;
        Instance = $"{router.Lab.Prefix}i{Interlocked.Increment(ref s_next)}";
        string fpctl = Path.Combine(Repository.Out, "fpctl");
        Assert.True(File.Exists(fpctl), $"{fpctl} is missing: ./dev build makes it");
        router.Lab.Track(this);
    }

    public string Instance { get; }

    public string Directory => $"/run/fastpathsync/{Instance}";

    /// <summary>fpctl in the router's namespace. The instance is named behind the command.</summary>
    public CommandResult Fpctl(string arguments, TimeSpan? timeout = null) => FpctlAs([], arguments, timeout);

    /// <summary>fpctl under a program that changes its rights: `setpriv ...`. What a `start` doesn't say, StartDefaults do.</summary>
    public CommandResult FpctlAs(IEnumerable<string> wrapper, string arguments, TimeSpan? timeout = null) =>
        _router.Try([.. wrapper, Path.Combine(Repository.Out, "fpctl"), .. Command.Split(StartDefaults.Complete(arguments)), "--instance", Instance], timeout: timeout ?? TimeSpan.FromSeconds(60));

    /// <summary>fpctl that runs on: trace, capture.</summary>
    public BackgroundProcess StartFpctl(string arguments) => _router.Start($"{Path.Combine(Repository.Out, "fpctl")} {arguments} --instance {Instance}");

    /// <summary>Starts and waits until kernel and tables agree.</summary>
    /// <param name="options">"--port r0 --port r1 --mode generic".</param>
    public Product Start(string options)
    {
        CommandResult result = Fpctl($"start {options}");
        if (!result.Ok)
        {
            throw new InvalidOperationException($"{result.CommandLine}\n  exit code {result.ExitCode}: {result.Error.Trim()}\n{LogTails()}");
        }

        WaitSynced();
        return this;
    }

    public void Stop() => Fpctl("stop").MustSucceed();

    public StatusReport Status() => Parse<StatusReport>("status", 0, 3, 4);

    public StatsReport Stats() => Parse<StatsReport>("stats", 0);

    public VerifyReport Verify() => Parse<VerifyReport>("verify", 0, 5);

    public JsonElement Show(string what) => Parse<JsonElement>(what, 0);

    public int PidOf(string daemon) =>
        Status().Daemons.SingleOrDefault(d => d.Name == daemon)?.Pid ?? throw new InvalidOperationException($"status lists no daemon '{daemon}'");

    public void WaitSynced(double seconds = 5) =>
        Wait.Until(() => Status().Synced, TimeSpan.FromSeconds(seconds), "status says synced");

    /// <summary>Waits until the kernel and the tables are equal; the last differences stand in the failure.</summary>
    public TimeSpan WaitVerified(double seconds)
    {
        Stopwatch clock = Stopwatch.StartNew();
        VerifyReport? last = null;
        Wait.For(
            () => (last = Verify()).Equal ? last : null,
            TimeSpan.FromSeconds(seconds),
            () => $"fpctl verify equal; differences ({last?.Differences.Length}): {string.Join("; ", (last?.Differences ?? []).Take(5).Select(d => $"{d.Kind} {d.Object}: kernel {d.Kernel}, fast path {d.Fastpath}"))}");
        return clock.Elapsed;
    }

    /// <summary>
    /// Totals once they stand still: workers count at once, what XDP passes is collected ten times a second.
    /// </summary>
    public CounterReport SettledTotal()
    {
        CounterReport before = Stats().Total;
        for (int i = 0; i < 20; i++)
        {
            Thread.Sleep(120);
            CounterReport now = Stats().Total;
            if (now.Rx == before.Rx && now.Forwarded == before.Forwarded && now.PuntedTotal == before.PuntedTotal)
            {
                return now;
            }

            before = now;
        }

        return before;
    }

    /// <summary>
    /// Totals once at least so many more packets have been forwarded, or after a second in which they haven't. What has arrived has
    /// been counted or is about to be: nothing has to stand still for "at least".
    /// </summary>
    public CounterReport TotalOnceForwarded(CounterReport before, ulong more)
    {
        Stopwatch clock = Stopwatch.StartNew();
        CounterReport now;
        while ((now = Stats().Total).Forwarded - before.Forwarded < more && clock.ElapsedMilliseconds < 1000)
        {
            Thread.Sleep(20);
        }

        return now;
    }

    /// <summary>Every received packet is in exactly one of forwarded, punted, dropped; no UMEM frame is lost.</summary>
    public void AssertConserved()
    {
        CounterReport t = SettledTotal();
        Assert.True(
            t.Rx == t.Forwarded + t.PuntedTotal + t.DroppedTotal,
            $"rx {t.Rx} is not forwarded {t.Forwarded} + punted {t.PuntedTotal} + dropped {t.DroppedTotal}");
        Assert.Equal(0, Status().Umem.Lost);
    }

    /// <summary>Nothing of the instance is left: no process, no directory, no XDP or tc program, no fpn0.</summary>
    public void AssertNothingLeft()
    {
        Wait.Until(() => !Reaper.ProcessesOf(Instance).Any(), TimeSpan.FromSeconds(2), $"processes of {Instance} end: {string.Join(", ", Reaper.ProcessesOf(Instance))}");
        Assert.False(System.IO.Directory.Exists(Directory), $"{Directory} is left");
        AssertNoPrograms();
    }

    public void AssertNoPrograms()
    {
        // A link's program is detached a little after its last descriptor is closed.
        string links = "";
        Wait.Until(
            () => !(links = _router.Run("ip -d link show").Output).Contains("prog/xdp", StringComparison.Ordinal) && !links.Contains("fpn0", StringComparison.Ordinal),
            TimeSpan.FromSeconds(2),
            $"no XDP program and no fpn0 in {_router.Name}");
        if (Command.Exists("bpftool"))
        {
            using JsonDocument net = JsonDocument.Parse(_router.Run("bpftool -j net").Output);
            foreach (string hook in (ReadOnlySpan<string>)["xdp", "tc"])
            {
                Assert.Equal(0, net.RootElement[0].GetProperty(hook).GetArrayLength());
            }
        }
    }

    /// <summary>The end of each daemon's log, for failures.</summary>
    public string LogTails()
    {
        if (!System.IO.Directory.Exists(Directory))
        {
            return "(no logs: the instance directory is gone)";
        }

        return string.Concat(System.IO.Directory.EnumerateFiles(Directory, "*.log").Select(
            f => $"--- {Path.GetFileName(f)}\n{string.Join('\n', File.ReadLines(f).TakeLast(15))}\n"));
    }

    /// <summary>Its counters that aren't zero; what went wrong, when it can't tell.</summary>
    public string Counters()
    {
        try
        {
            return Stats().Total.Describe();
        }
        catch (Exception e) when (e is InvalidOperationException or TimeoutException or JsonException)
        {
            return e.Message;
        }
    }

    /// <summary>Stops it if it runs, and takes the rest away by force.</summary>
    public void Dispose()
    {
        if (System.IO.Directory.Exists(Directory))
        {
            try
            {
                Fpctl("stop", TimeSpan.FromSeconds(15));
            }
            catch (TimeoutException)
            {
                _router.Lab.Note("# fpctl stop hangs; the processes are killed");
            }
        }

        Reaper.KillInstance(Instance);
        if (System.IO.Directory.Exists(Directory))
        {
            System.IO.Directory.Delete(Directory, recursive: true);
        }
    }

    private T Parse<T>(string command, params int[] exitCodes)
    {
        CommandResult result = Fpctl($"{command} --json");
        Assert.True(exitCodes.Contains(result.ExitCode), $"{result.CommandLine}: exit code {result.ExitCode}: {result.Error.Trim()}");
        return JsonSerializer.Deserialize<T>(result.Output, s_json) ?? throw new InvalidOperationException($"{result.CommandLine}: null");
    }
}
