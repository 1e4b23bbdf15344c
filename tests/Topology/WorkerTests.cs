using System.Globalization;
using System.Text.Json;
using FastPathSync.Linux;

namespace FastPathSync.Topology;

/// <summary>Two workers on ports of several queues: both forward both ways, no flow is reordered, and idle they sleep.</summary>
public sealed class WorkerTests : IDisposable
{
    /// <summary>A veth without a native XDP program records no receive queue (docs/features/worker.md): some workers may get nothing.</summary>
    private static readonly bool s_spread = !StartDefaults.IsGeneric;

    private readonly Lab _lab = new();
    private readonly LabNamespace _client, _router, _server;
    private Product? _product;

    public WorkerTests()
    {
        (_client, _router, _server) = (_lab.AddNamespace("client"), _lab.AddNamespace("router"), _lab.AddNamespace("server"));
        _router.Sysctl(("net.ipv4.ip_forward", "1"));
    }

    public void Dispose()
    {
        TopologyTest.ExplainFailure(_lab, _product);
        _lab.Dispose();
    }

    [Theory]
    [InlineData(2, 2)]
    [InlineData(4, 4)]
    [InlineData(4, 2)]
    public void TwoWorkersForwardBothWaysAndKeepEachFlowInOrder(int clientQueues, int serverQueues)
    {
        Start(clientQueues, serverQueues, "--workers 2");
        ulong kernel = _router.Snmp("Ip", "ForwDatagrams");
        BundleReport there, back;
        ulong late;
        int attempt = 0;
        do
        {
            // When a starved machine lets the heartbeat lapse, Linux takes over beside packets that are still in the rings:
            // that is an order nobody promises.
            late = Late();
            (there, back) = BothWays(seconds: 2, rate: 4_000);
            late = Late() - late;
        }
        while (late != 0 && ++attempt < 4);

        Assert.True(there is { Missing: 0, Reordered: 0 }, $"client to server: {there}; {late} passed while the heartbeat was late");
        Assert.True(back is { Missing: 0, Reordered: 0 }, $"server to client: {back}; {late} passed while the heartbeat was late");
        Assert.True(_router.Snmp("Ip", "ForwDatagrams") - kernel < 100 + Late(), "Linux forwarded them");
        _product!.AssertConserved();
        Assert.All(Workers(), w =>
        {
            Assert.All(w.Ports, p => Assert.True(p.Forwarded == p.Rx && (!s_spread || (p.Rx > 500 && p.Tx > 500)), $"worker {w.Id}, port {p.Ifname}: {p}"));
            Assert.Equal((clientQueues + serverQueues) / 2 * 4096, w.Frames);
            Assert.Equal(0, w.Lost);
        });
    }

    [Fact]
    public void QueuesThatEthtoolAddsAreServedByThemselves()
    {
        Build(4, 2);
        _router.Run("ethtool -L r0 rx 2 tx 2");
        _client.Run("ethtool -L c0 rx 2 tx 2");
        _client.Run("ping -q -c 1 -W 2 10.2.0.2");
        _product = new Product(_router).Start("--port r0 --port r1 --workers 2");
        using FlowBundle others = FlowBundle.Start(_server, _client, "10.1.0.2", 5303, flows: 32, rate: 4_000);
        CommandResult refused = _router.Try("ethtool -L r0 rx 1");
        Assert.False(refused.Ok, "the kernel took a queue away that has a socket");
        _router.Run("ethtool -L r0 rx 4 tx 4");
        _client.Run("ethtool -L c0 rx 4 tx 4");
        Wait.Until(() => Served("r0").SequenceEqual([0, 1, 0, 1]), TimeSpan.FromSeconds(3), "four queues are served, by turns");
        Thread.Sleep(300);
        others.Stop();
        ulong unserved = _product.SettledTotal().PassedBy("no-socket");
        (BundleReport there, BundleReport back) = BothWays(seconds: 1, rate: 4_000);
        Assert.True(there is { Missing: 0 } && back is { Missing: 0 }, $"there: {there}; back: {back}");
        Assert.Equal(unserved, _product.SettledTotal().PassedBy("no-socket"));
        _product.AssertConserved();
    }

    [Fact]
    public void QueuesGoToOtherWorkersUnderTrafficAndStayThereAfterAKill()
    {
        Start(4, 2, "--workers 2");
        using FlowBundle there = FlowBundle.Start(_client, _server, "10.2.0.2", 5304, flows: 32, rate: 4_000);
        using FlowBundle back = FlowBundle.Start(_server, _client, "10.1.0.2", 5304, flows: 32, rate: 4_000);
        Thread.Sleep(200);
        foreach ((string port, string workers) in (ReadOnlySpan<(string, string)>)[("r1", "1,0"), ("r0", "1,1,1,0"), ("r0", "0,0,1,1"), ("r1", "1,0"), ("r1", "0,1"), ("r1", "1,0")])
        {
            Assert.Equal(workers, string.Join(',', Served(port, workers)));
            Thread.Sleep(100);
        }

        // Queues 2 and 3 of r0 are worker 1's alone.
        Worker[] before = Workers();
        Thread.Sleep(500);
        Worker[] after = Workers();
        Assert.All(after.Zip(before), w => Assert.True(!s_spread || w.First.Ports.Zip(w.Second.Ports).All(p => p.First.Rx > p.Second.Rx && p.First.Tx > p.Second.Tx), $"worker {w.First.Id} has nothing to do: {w.First}"));
        BundleReport report = there.Stop(), other = back.Stop();
        Assert.True(report is { Missing: 0 } && other is { Missing: 0 }, $"there: {report}; back: {other}");
        Assert.Equal(0ul, _product!.SettledTotal().PassedBy("no-socket"));
        _product.AssertConserved();

        int pid = _product.PidOf("fastpath");
        LinuxException.ThrowIfNegative(Libc.kill(pid, Libc.SIGKILL), "kill", $"pid {pid}");
        Wait.Until(() => _product.Status() is { State: "healthy" } s && s.Daemons.Any(d => d.Name == "fastpath" && d.Pid != pid && d.Pid != 0), TimeSpan.FromSeconds(5), "a new fast path is healthy");
        Assert.Equal("0,0,1,1 1,0", $"{string.Join(',', Served("r0"))} {string.Join(',', Served("r1"))}");
        (report, other) = BothWays(seconds: 1, rate: 4_000);
        Assert.True(report is { Missing: 0 } && other is { Missing: 0 }, $"there: {report}; back: {other}");
        _product.AssertConserved();
    }

    [Fact]
    public void QueuesThatCannotGoStayWhereTheyAre()
    {
        Start(2, 2, "--workers 2");
        foreach ((string arguments, int exitCode, string expected) in (ReadOnlySpan<(string, int, string)>)
        [
            ("r0 0", 1, "port r0 has 2 receive queues, and 1 workers are named; name one for each queue, in their order"),
            ("r0 0,1,0", 1, "port r0 has 2 receive queues, and 3 workers are named"),
            ("r0 0,2", 1, "port r0: there is no worker 2: they are 0 to 1"),
            ("r0 1,1", 1, "port r0: worker 0 is left without a queue of this port, and could not send to it; each needs one"),
            ("r0 0,x", 2, "workers '0,x': give the number of a worker for each queue, as in 0,1,1,0"),
            ("r9 0,1", 2, "interface 'r9' is no port of the fast path; `fpctl port show` lists the ports"),
        ])
        {
            CommandResult result = _product!.Fpctl($"rpc queues {arguments}");
            Assert.Equal(exitCode, result.ExitCode);
            Assert.Contains(expected, Assert.Single(result.ErrorLines), StringComparison.Ordinal);
            Assert.Equal([0, 1], Served("r0"));
        }
    }

    [Fact]
    public void IdleWorkersSleepEachOnItsCpu()
    {
        Start(4, 4, "--workers 2 --cpu 0,1");
        Thread.Sleep(500);
        int pid = _product!.PidOf("fastpath");
        Worker[] before = Workers();
        (int Tid, string Name, string Cpus, double Seconds)[] then = Threads(pid);
        Thread.Sleep(2000);
        (int Tid, string Name, string Cpus, double Seconds)[] now = Threads(pid);
        Worker[] after = Workers();
        for (int id = 0; id < 2; id++)
        {
            (int Tid, string Name, string Cpus, double Seconds) thread = now.Single(t => t.Name == $"worker-{id}");
            double used = thread.Seconds - then.Single(t => t.Name == $"worker-{id}").Seconds;
            Assert.Equal($"{id}", thread.Cpus);
            Assert.Equal(id, after[id].Cpu);
            Assert.True(used < 0.2, $"worker {id} used {used:0.000} s of CPU in 2 s of idleness");
            ulong slept = after[id].Sleeps - before[id].Sleeps;
            Assert.True(slept > 50, $"worker {id} slept {slept} times in 2 s");
            TestContext.Current.TestOutputHelper?.WriteLine($"worker {id}: {used:0.000} s of CPU and {slept} sleeps in 2 s");
        }
    }

    [Fact]
    public void AKilledFastPathComesBackWithBothWorkers()
    {
        Start(2, 2, "--workers 2");
        using FlowBundle there = FlowBundle.Start(_client, _server, "10.2.0.2", 5301, flows: 32, rate: 2_000);
        using FlowBundle back = FlowBundle.Start(_server, _client, "10.1.0.2", 5301, flows: 32, rate: 2_000);
        Thread.Sleep(300);
        int pid = _product!.PidOf("fastpath");
        _lab.Note($"kill -9 {pid}");
        LinuxException.ThrowIfNegative(Libc.kill(pid, Libc.SIGKILL), "kill", $"pid {pid}");
        Wait.Until(() => _product.Status() is { State: "healthy" } s && s.Daemons.Any(d => d.Name == "fastpath" && d.Pid != pid && d.Pid != 0), TimeSpan.FromSeconds(5), "a new fast path is healthy");
        Worker[] before = Workers();
        Thread.Sleep(1000);
        Worker[] after = Workers();
        Assert.True(after.SelectMany(w => w.Ports).Sum(p => (long)p.Forwarded) > before.SelectMany(w => w.Ports).Sum(p => (long)p.Forwarded), "it forwards nothing");
        Assert.All(after.Zip(before), w => Assert.All(w.First.Ports.Zip(w.Second.Ports), p => Assert.True(!s_spread || p.First.Forwarded > p.Second.Forwarded, $"worker {w.First.Id} forwards nothing from {p.First.Ifname}")));
        foreach (BundleReport report in (ReadOnlySpan<BundleReport>)[there.Stop(), back.Stop()])
        {
            Assert.True(report.Missing < 400, report.ToString()); // 200 ms of 2,000 a second
        }

        _product.AssertConserved();
    }

    [Fact]
    public void OneStuckWorkerIsNamedAndLinuxForwardsUntilItMoves()
    {
        Start(2, 2, "--workers 2 --cpu 0,1");
        using FlowBundle flows = FlowBundle.Start(_client, _server, "10.2.0.2", 5302, flows: 32, rate: 2_000);
        int worker = Threads(_product!.PidOf("fastpath")).Single(t => t.Name == "worker-1").Tid;
        ulong kernel;
        using (StoppedThread stopped = new(worker))
        {
            Thread.Sleep(200);
            kernel = _router.Snmp("Ip", "ForwDatagrams");
            CommandResult status = _product.Fpctl("status");
            Assert.Equal(3, status.ExitCode);
            Assert.Contains("worker 1 (CPU 1) makes no progress", status.Output, StringComparison.Ordinal);
            Thread.Sleep(500);
            Assert.True(_router.Snmp("Ip", "ForwDatagrams") - kernel > 900, "Linux forwards both workers' packets");
        }

        Wait.Until(() => _product.Status().State == "healthy", TimeSpan.FromSeconds(2), "status is healthy when it moves again");
        kernel = _router.Snmp("Ip", "ForwDatagrams");
        Thread.Sleep(500);
        Assert.True(_router.Snmp("Ip", "ForwDatagrams") - kernel < 200, "the fast path forwards again");
        BundleReport report = flows.Stop();
        Assert.True(report.Missing < 200, report.ToString()); // what was on its way to the worker before XDP noticed comes late, not never
        _product.AssertConserved();
    }

    [Theory]
    [InlineData("--workers 3", "rx 4 tx 4", "rx 2 tx 2", "port r1 has 2 receive queues for 3 workers; each worker needs a queue of every port: use --workers 2, or give the port more queues (ethtool -L r1 rx 3 tx 3, or combined 3)")]
    [InlineData("--workers 2", "rx 4 tx 4", "rx 2 tx 1", "port r1 has 1 transmit queue for 2 workers; each worker needs one of its own: use --workers 1, or give the port more (ethtool -L r1 tx 2)")]
    [InlineData("--workers 2 --cpu 1", "rx 4 tx 4", "rx 4 tx 4", "--cpu names 1 CPUs for 2 workers; name one for each")]
    [InlineData("--workers 2 --cpu 0,900", "rx 4 tx 4", "rx 4 tx 4", "--cpu 900: not online; those there are:")]
    [InlineData("--workers 17", "rx 4 tx 4", "rx 4 tx 4", "--workers 17: must be from 1 to 16")]
    public void WhatCannotBeIsRefusedInOneLine(string options, string r0, string r1, string expected)
    {
        Build(4, 4);
        _router.Try($"ethtool -L r0 {r0}");
        _router.Try($"ethtool -L r1 {r1}");
        _product = new Product(_router);
        CommandResult result = _product.Fpctl($"start --port r0 --port r1 {options}");
        Assert.False(result.Ok, "it started");
        string line = Assert.Single(result.ErrorLines);
        Assert.Contains(expected, line, StringComparison.Ordinal);
        _product.AssertNothingLeft();
    }

    private void Build(int clientQueues, int serverQueues)
    {
        _lab.Link(_client, "c0", _router, "r0", clientQueues, clientQueues);
        _lab.Link(_router, "r1", _server, "s0", serverQueues, serverQueues);
        _client.Run("ip address add 10.1.0.2/24 dev c0");
        _router.Run("ip address add 10.1.0.1/24 dev r0");
        _router.Run("ip address add 10.2.0.1/24 dev r1");
        _server.Run("ip address add 10.2.0.2/24 dev s0");
        _client.Run("ip route add default via 10.1.0.1");
        _server.Run("ip route add default via 10.2.0.1");
    }

    private void Start(int clientQueues, int serverQueues, string options)
    {
        Build(clientQueues, serverQueues);
        _client.Run("ping -q -c 1 -W 2 10.2.0.2"); // neighbours
        _product = new Product(_router).Start($"--port r0 --port r1 {options}");
        StatusReport status = _product.Status();
        Assert.Equal([clientQueues, serverQueues], status.Ports.Select(p => p.Queues));
    }

    private (BundleReport There, BundleReport Back) BothWays(int seconds, int rate)
    {
        using FlowBundle there = FlowBundle.Start(_client, _server, "10.2.0.2", 5300, flows: 32, rate);
        using FlowBundle back = FlowBundle.Start(_server, _client, "10.1.0.2", 5300, flows: 32, rate);
        Thread.Sleep(seconds * 1000);
        (BundleReport, BundleReport) reports = (there.Stop(), back.Stop());
        TestContext.Current.TestOutputHelper?.WriteLine($"{reports}");
        return reports;
    }

    /// <summary>By queue, the worker; the port is given new ones first, if any are named.</summary>
    private int[] Served(string port, string? workers = null) =>
        [.. _product!.Show($"rpc queues {port} {workers}".TrimEnd()).GetProperty("workers").EnumerateArray().Select(w => w.GetInt32())];

    private ulong Late() => _product!.SettledTotal().PassedBy("heartbeat-lost");

    private sealed record WorkerPort(string Ifname, ulong Rx, ulong Forwarded, ulong Tx);

    private sealed record Worker(int Id, int Cpu, ulong Bursts, ulong Sleeps, long Frames, long Lost, WorkerPort[] Ports);

    private Worker[] Workers() => [.. _product!.Show("stats").GetProperty("workers").EnumerateArray().Select(w => new Worker(
        w.GetProperty("id").GetInt32(), w.GetProperty("cpu").GetInt32(), Number(w, "bursts"), Number(w, "sleeps"),
        (long)Number(w.GetProperty("umem"), "frames"), (long)Number(w.GetProperty("umem"), "lost"),
        [.. w.GetProperty("ports").EnumerateArray().Select(p => new WorkerPort(p.GetProperty("ifname").GetString()!, Number(p, "rx"), Number(p, "forwarded"), Number(p, "tx")))]))];

    private static ulong Number(JsonElement e, string key) => e.GetProperty(key).GetUInt64();

    /// <summary>Id, name, CPUs allowed, and CPU time used of each thread.</summary>
    private static (int Tid, string Name, string Cpus, double Seconds)[] Threads(int pid) => [.. Directory.EnumerateDirectories($"/proc/{pid}/task").Select(t =>
    {
        string[] stat = File.ReadAllText($"{t}/stat").Split(") ", 2)[1].Split(' '); // field 3 on; proc_pid_stat(5)
        const double TicksPerSecond = 100; // USER_HZ
        return (
            int.Parse(Path.GetFileName(t), CultureInfo.InvariantCulture),
            File.ReadAllText($"{t}/comm").Trim(),
            File.ReadLines($"{t}/status").Single(l => l.StartsWith("Cpus_allowed_list:", StringComparison.Ordinal)).Split('\t')[1],
            (double.Parse(stat[11], CultureInfo.InvariantCulture) + double.Parse(stat[12], CultureInfo.InvariantCulture)) / TicksPerSecond);
    })];
}
