using FastPathSync.Linux;

namespace FastPathSync.Topology;

/// <summary>Any process may die or hang at any moment, with traffic running.</summary>
public sealed class CrashTests(RouterLab lab) : TopologyTest(lab), IClassFixture<RouterLab>
{
    private const int SIGCONT = 18, SIGSTOP = 19; // asm-generic/signal.h
    private const double ComesBackSeconds = 5;

    [Fact]
    public void KillingTheFastPathInterruptsForLessThan100Milliseconds()
    {
        (FlowReport report, _) = Kill("fastpath");
        Assert.True(report.LongestGap < TimeSpan.FromMilliseconds(100), report.ToString());
        Product.AssertConserved();
    }

    [Theory]
    [InlineData("cmgrd")]
    [InlineData("fpmd")]
    [InlineData("hitflagsd")]
    [InlineData("fpsd")]
    [InlineData("supervisor")]
    public void KillingAnotherDaemonLosesNoPacket(string daemon)
    {
        (FlowReport report, ulong kernel) = Kill(daemon);
        Assert.True(report.Missing == 0 && report.Duplicates == 0, report.ToString());
        Assert.True(kernel < 100, $"the fast path went on, yet Linux forwarded {kernel} packets beyond those while the heartbeat was late");
    }

    [Fact]
    public void AHungFastPathHandsOverWithin100MillisecondsAndTakesBack()
    {
        int pid = Product.PidOf("fastpath");
        using UdpFlow flow = Lab.StartFlow(rate: 10_000, port: 5010);
        flow.WaitFlowing();
        ulong kernel = Router.Snmp("Ip", "ForwDatagrams");
        Signal(pid, SIGSTOP);
        Thread.Sleep(1000);
        Assert.True(Router.Snmp("Ip", "ForwDatagrams") - kernel > 8_000, "Linux forwards while the fast path hangs");
        Signal(pid, SIGCONT);
        Thread.Sleep(500);
        kernel = Router.Snmp("Ip", "ForwDatagrams");
        Thread.Sleep(500);
        Assert.True(Router.Snmp("Ip", "ForwDatagrams") - kernel < 100, "the fast path forwards again");
        FlowReport report = flow.Stop();
        Assert.True(report.LongestGap < TimeSpan.FromMilliseconds(100), report.ToString());
        Product.WaitVerified(ComesBackSeconds);
    }

    [Fact]
    public void KillingSupervisorAndFpmdAtOnceLosesNoPacket()
    {
        (FlowReport report, _) = Kill("supervisor", "fpmd");
        Assert.True(report.Missing == 0 && report.Duplicates == 0, report.ToString());
    }

    [Fact]
    public void AHungCacheManagerDemotesUntilItSpeaksAgain()
    {
        int pid = Product.PidOf("cmgrd");
        using UdpFlow flow = Lab.StartFlow(rate: 2_000, port: 5013);
        flow.WaitFlowing();
        Signal(pid, SIGSTOP);
        try
        {
            Wait.Until(() => Product.Status().Demotions.Any(d => d.Object == "cmgrd"), TimeSpan.FromSeconds(8), "status lists the demotion 'cmgrd'");
            ulong kernel = Router.Snmp("Ip", "ForwDatagrams");
            Thread.Sleep(300);
            Assert.True(Router.Snmp("Ip", "ForwDatagrams") - kernel > 300, "while nobody sees what changes in Linux, Linux forwards");
        }
        finally
        {
            Signal(pid, SIGCONT);
        }

        Wait.Until(() => Product.Status() is { State: "healthy", Demotions: [] }, TimeSpan.FromSeconds(ComesBackSeconds), "the demotion ends by itself");
        Product.WaitVerified(ComesBackSeconds);
        FlowReport report = flow.Stop();
        Assert.True(report.Missing == 0, report.ToString());
    }

    [Fact]
    public void StoppingAndStartingLosesAtMostTwentyPackets()
    {
        _ = Product;
        using UdpFlow flow = Lab.StartFlow(rate: 1_000, port: 5011);
        flow.WaitFlowing();
        Product first = Product;
        Lab.StopProduct();
        first.AssertNothingLeft();
        flow.WaitFlowing();
        _ = Product;
        flow.WaitFlowing();
        Thread.Sleep(300);
        FlowReport report = flow.Stop();
        Assert.True(report.Missing <= 20, report.ToString());
    }

    /// <summary>
    /// KernelForwarded leaves out what XDP passed while a worker got no CPU for 60 ms: a daemon that starts on a machine of
    /// two busy cores may do that, and it loses nothing.
    /// </summary>
    private (FlowReport Report, ulong KernelForwarded) Kill(params string[] daemons)
    {
        (string Name, int Pid)[] killed = [.. daemons.Select(d => (d, Product.PidOf(d)))];
        using UdpFlow flow = Lab.StartFlow(rate: 10_000, port: 5012);
        flow.WaitFlowing();
        ulong kernel = Router.Snmp("Ip", "ForwDatagrams"), late = Product.Stats().Total.PassedBy("heartbeat-lost");
        Array.ForEach(killed, k => Signal(k.Pid, Libc.SIGKILL));
        Wait.Until(() => killed.All(k => Back(k.Name, k.Pid)), TimeSpan.FromSeconds(ComesBackSeconds), $"{string.Join(" and ", daemons)} come back");
        Product.WaitVerified(ComesBackSeconds);
        flow.WaitFlowing();
        Wait.Until(() => Product.Status().State == "healthy", TimeSpan.FromSeconds(ComesBackSeconds), "status is healthy");
        FlowReport report = flow.Stop();
        ulong byLinux = Router.Snmp("Ip", "ForwDatagrams") - kernel;
        late = Product.SettledTotal().PassedBy("heartbeat-lost") - late;
        TestContext.Current.TestOutputHelper?.WriteLine($"{report}; Linux forwarded {byLinux}, {late} of it while the heartbeat was late");
        return (report, byLinux - Math.Min(byLinux, late));
    }

    private bool Back(string daemon, int oldPid)
    {
        try
        {
            return Product.Status().Daemons.Any(d => d.Name == daemon && d.Pid != oldPid && d.Pid != 0 && Directory.Exists($"/proc/{d.Pid}"));
        }
        catch (System.Text.Json.JsonException)
        {
            return false;
        }
    }

    private void Signal(int pid, int signal)
    {
        Lab.Lab.Note($"kill -{signal} {pid}");
        LinuxException.ThrowIfNegative(Libc.kill(pid, signal), "kill", $"pid {pid}");
    }
}
