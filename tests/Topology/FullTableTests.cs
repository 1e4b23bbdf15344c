using FastPathSync.Linux;

namespace FastPathSync.Topology;

/// <summary>A large table comes and goes while daemons die, events are lost, and Linux flushes without a word: others' packets don't suffer.</summary>
public sealed class FullTableTests(RouterLab lab) : TopologyTest(lab), IClassFixture<RouterLab>
{
    private const int SIGCONT = 18, SIGSTOP = 19; // asm-generic/signal.h
    private const int Many = 200_000, Buffer = 16 << 20;
    private const double Converges = 30;

    [Theory]
    [InlineData("cmgrd")]
    [InlineData("fpmd")]
    [InlineData("fastpath")]
    public void ADaemonKilledInTheMidstOfATableConverges(string daemon)
    {
        int pid = Product.PidOf(daemon);
        const int Rate = 2_000;
        using UdpFlow flow = Lab.StartFlow(Rate, port: 5030);
        flow.WaitFlowing();
        BackgroundProcess insertion = Router.Start($"{RouteGen} -4 {Many} -6 0 r2 10.3.0.2");
        Thread.Sleep(200);
        Signal(pid, Libc.SIGKILL);
        Wait.Until(() => insertion.HasExited, TimeSpan.FromSeconds(Converges), "the routes are in the kernel");
        Product.WaitVerified(Converges);
        Assert.InRange(RoutesUsed(Product), Many, Many + 100);
        Router.Run($"{RouteGen} -4 {Many} -6 0 -d r2 10.3.0.2", timeout: TimeSpan.FromSeconds(Converges));
        Product.WaitVerified(Converges);
        Assert.InRange(RoutesUsed(Product), 0, 100);
        FlowReport report = flow.Stop();
        int tolerated = daemon == "fastpath" ? Rate / 10 : 0; // until Linux forwards: 100 ms. Gaps tell less, for the sender has to wait for a CPU, too
        Assert.True(report.Missing <= tolerated, report.ToString());
        Product.AssertConserved();
    }

    [Fact]
    public void LostEventsAndASilentFlushEndInTheKernelsTable()
    {
        Lab.StopProduct();
        Lab.WarmUp();
        using Product product = new Product(Router).Start($"{Lab.StartOptions} --receive-buffer {Buffer}");
        int pid = product.PidOf("cmgrd");
        using UdpFlow flow = Lab.StartFlow(rate: 2_000, port: 5031);
        flow.WaitFlowing();
        Signal(pid, SIGSTOP);
        try
        {
            Router.Run($"{RouteGen} -4 {Many} -6 0 r2 10.3.0.2", timeout: TimeSpan.FromSeconds(Converges));
        }
        finally
        {
            Signal(pid, SIGCONT);
        }

        product.WaitVerified(Converges);
        Assert.True(product.Show("stats").GetProperty("sync").GetProperty("overruns").GetUInt64() > 0, "the socket's buffer was too small for what came meanwhile (ENOBUFS)");
        Assert.InRange(RoutesUsed(product), Many, Many + 100);
        Router.Run("ip link set r2 down", timeout: TimeSpan.FromSeconds(Converges)); // fib_sync_down_dev announces none of the routes
        try
        {
            product.WaitVerified(Converges);
            Assert.InRange(RoutesUsed(product), 0, 100);
        }
        finally
        {
            Router.Run("ip link set r2 up");
        }

        FlowReport report = flow.Stop();
        Assert.True(report.Missing == 0, report.ToString());
    }

    private static string RouteGen => $"{Repository.Out}/lab/routegen";

    private static int RoutesUsed(Product product) => product.Show("vrf show")[0].GetProperty("tables").GetProperty("routes").GetProperty("used").GetInt32();

    private void Signal(int pid, int signal)
    {
        Lab.Lab.Note($"kill -{signal} {pid}");
        LinuxException.ThrowIfNegative(Libc.kill(pid, signal), "kill", $"pid {pid}");
    }
}
