using System.Globalization;
using System.Net.Sockets;
using System.Text;
using FastPathSync.Linux;

namespace FastPathSync.Topology;

/// <summary>After everything: no frame lost, every packet accounted for, no daemon grown, and rubbish changes nothing.</summary>
public sealed class ConservationTests(RouterLab lab) : TopologyTest(lab), IClassFixture<RouterLab>
{
    [Fact]
    public void ChurnGrowsNobody()
    {
        _ = Product;
        Churn(seconds: 6); // working sets, caches and JIT settle
        Dictionary<string, long> before = Residents();
        Churn(seconds: 14); // some 250,000 changes
        Dictionary<string, long> after = Residents();
        foreach ((string daemon, long kilobytes) in after)
        {
            long grown = kilobytes - before[daemon];
            Assert.True(grown < 16_384, $"{daemon} grew by {grown} kB: {before[daemon]} → {kilobytes}");
        }

        Product.WaitVerified(2);
        Product.AssertConserved();
    }

    [Theory]
    [InlineData("fpc.sock", "fpmd")]
    [InlineData("netfpc.sock", "fastpath")]
    public void RubbishOnASocketChangesNothing(string socket, string daemon)
    {
        int pid = Product.PidOf(daemon);
        string routes = Product.Show("route show").ToString();
        Random random = new(2);
        for (int i = 0; i < 50; i++)
        {
            byte[] rubbish = new byte[random.Next(4, 5000)];
            random.NextBytes(rubbish);
            if (i % 2 == 0)
            {
                // A header that begins well (DESIGN, FPC: version, flags, type, sequence, length, vrf) and lies on.
                new byte[] { 1, 1, 0, (byte)random.Next(16) }.CopyTo(rubbish, 0);
            }

            using Socket s = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified) { SendTimeout = 1000 };
            s.Connect(new UnixDomainSocketEndPoint(Path.Combine(Product.Directory, socket)));
            try
            {
                s.Send(rubbish);
            }
            catch (SocketException)
            {
                // Disconnected, as it deserves.
            }
        }

        Thread.Sleep(300);
        Assert.Equal(pid, Product.PidOf(daemon));
        Product.WaitVerified(2);
        Assert.Equal(routes, Product.Show("route show").ToString());
        Assert.Equal("healthy", Product.Status().State);
        using UdpFlow flow = Lab.StartFlow(rate: 2_000, limit: 1_000);
        FlowReport report = flow.Finish();
        Assert.True(report.Missing == 0, report.ToString());
    }

    [Fact]
    public void DamagedBatchesAfterAValidHelloAreHealedByASynchronization()
    {
        const int SIGHUP = 1; // cmgrd synchronizes anew
        int pid = Product.PidOf("fpmd");
        Random random = new(3);
        for (int i = 0; i < 100; i++)
        {
            using Socket s = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified) { SendTimeout = 1000, ReceiveTimeout = 1000 };
            s.Connect(new UnixDomainSocketEndPoint(Path.Combine(Product.Directory, "fpc.sock")));
            DamagedBatches.Send(s, random);
        }

        Thread.Sleep(500); // cmgrd, which each of them has displaced, comes back
        Assert.Equal(pid, Product.PidOf("fpmd"));
        LinuxException.ThrowIfNegative(Libc.kill(Product.PidOf("cmgrd"), SIGHUP), "kill", "cmgrd");
        Product.WaitVerified(5);
        Wait.Until(() => Product.Status() is { State: "healthy", Demotions: [] }, TimeSpan.FromSeconds(5), "status is healthy, and no invented demotion is left");
        Assert.Equal(pid, Product.PidOf("fpmd"));
        using UdpFlow flow = Lab.StartFlow(rate: 2_000, port: 5021, limit: 1_000);
        FlowReport report = flow.Finish();
        Assert.True(report.Missing == 0, report.ToString());
    }

    private void Churn(int seconds)
    {
        using UdpFlow flow = Lab.StartFlow(rate: 2_000, port: 5020);
        StringBuilder add = new(), delete = new();
        for (int i = 0; i < 2000; i++)
        {
            add.Append(CultureInfo.InvariantCulture, $"route replace 10.90.{i >> 8}.{i & 255}/32 via 10.{2 + (i & 1)}.0.2\n");
            delete.Append(CultureInfo.InvariantCulture, $"route del 10.90.{i >> 8}.{i & 255}/32\n");
        }

        for (DateTime end = DateTime.UtcNow.AddSeconds(seconds); DateTime.UtcNow < end;)
        {
            Router.Run("ip -batch -", input: add.ToString());
            Router.Run("ip -batch -", input: delete.ToString());
            Thread.Sleep(50);
        }

        FlowReport report = flow.Stop();
        Assert.True(report.Missing == 0, report.ToString());
        Product.WaitVerified(2);
    }

    /// <summary>Anonymous resident memory in kB: shared segments are counted in advance and don't leak.</summary>
    private Dictionary<string, long> Residents() => Product.Status().Daemons.ToDictionary(
        d => d.Name,
        d => long.Parse(
            File.ReadLines($"/proc/{d.Pid}/status").Single(l => l.StartsWith("RssAnon:", StringComparison.Ordinal)).Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries)[1],
            CultureInfo.InvariantCulture));
}
