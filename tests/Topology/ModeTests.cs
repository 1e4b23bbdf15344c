namespace FastPathSync.Topology;

/// <summary>Each way of attaching forwards, and says which it is.</summary>
public sealed class ModeTests(RouterLab lab) : TopologyTest(lab), IClassFixture<RouterLab>
{
    [Theory]
    [InlineData("native", "native")]
    [InlineData("generic", "generic")]
    [InlineData("auto", "native")]
    public void ForwardsInMode(string asked, string expected)
    {
        Lab.WarmUp();
        using Product product = new(Router);
        product.Start($"--port r0 --port r1 --mode {asked}");
        StatusReport status = product.Status();
        Assert.Equal(["r0", "r1"], status.Ports.Select(p => p.Ifname));
        Assert.All(status.Ports, p => Assert.Equal(expected, p.Mode));
        ulong kernel = Router.Snmp("Ip", "ForwDatagrams");
        using UdpFlow flow = Lab.StartFlow(rate: 5_000, limit: 5_000);
        FlowReport report = flow.Finish();
        Assert.True(report.Missing <= 5, report.ToString());
        ulong byLinux = Router.Snmp("Ip", "ForwDatagrams") - kernel;
        CounterReport total = product.SettledTotal();

        // On a machine that gives the worker no CPU for 60 ms the heartbeat hands over to Linux, as it must.
        Assert.True(byLinux < 100 + total.PassedBy("heartbeat-lost"), $"Linux forwarded {byLinux}; {total.Describe()}");
        product.AssertConserved();
        product.Stop();
        product.AssertNothingLeft();
    }
}
