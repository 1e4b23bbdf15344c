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
        Product product = new(Router);
        product.Start($"--port r0 --port r1 --mode {asked}");
        StatusReport status = product.Status();
        Assert.Equal(["r0", "r1"], status.Ports.Select(p => p.Ifname));
        Assert.All(status.Ports, p => Assert.Equal(expected, p.Mode));
        ulong kernel = Router.Snmp("Ip", "ForwDatagrams");
        using UdpFlow flow = Lab.StartFlow(rate: 5_000, limit: 5_000);
        FlowReport report = flow.Finish();
        Assert.True(report.Missing <= 5, report.ToString());
        Assert.True(Router.Snmp("Ip", "ForwDatagrams") - kernel < 100, "Linux forwarded instead");
        product.AssertConserved();
        product.Stop();
        product.AssertNothingLeft();
    }
}
