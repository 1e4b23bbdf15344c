namespace FastPathSync.Topology;

/// <summary>Never a silent bypass: what the fast path doesn't honour yet sends the traffic to Linux until the cause is gone.</summary>
public sealed class DemotionTests(RouterLab lab) : TopologyTest(lab), IClassFixture<RouterLab>
{
    [Theory]
    [InlineData("iptables")]
    [InlineData("iptables-legacy")]
    public void ADropRuleStopsTheTrafficWithin300Milliseconds(string iptables)
    {
        Require.Tools(iptables);
        CommandResult probe = Router.Try($"{iptables} -S FORWARD");
        Assert.SkipUnless(probe.Ok, $"{iptables} does not work on this kernel: {probe.Error.Trim()}");
        _ = Product;
        using UdpFlow flow = Lab.StartFlow(rate: 2_000, port: 5001);
        flow.WaitFlowing();
        Router.Run($"{iptables} -A FORWARD -p udp --dport 5001 -j DROP");
        TimeSpan stopped = flow.WaitStopped();
        Assert.True(stopped < TimeSpan.FromMilliseconds(300), $"the last packet came {stopped.TotalMilliseconds:0} ms after the rule");
        DemotionReport demotion = Assert.Single(Product.Status().Demotions);
        Assert.NotEmpty(demotion.Object);
        Assert.NotEmpty(demotion.Reason);
        Router.Run($"{iptables} -D FORWARD -p udp --dport 5001 -j DROP");
        flow.WaitFlowing();
        ForwardsAgain();
    }

    [Fact]
    public void AnNftablesForwardChainDemotes() => Demotes(
        () => Router.Run("nft -f -", input: "table inet t {\nchain f {\ntype filter hook forward priority 0; policy accept;\nip daddr 10.99.0.1 drop\n}\n}\n"),
        () => Router.Run("nft delete table inet t"),
        "nft",
        "nft chain inet t f");

    [Fact]
    public void AMasqueradeRuleDemotes() => Demotes(
        () => Router.Run("iptables -t nat -A POSTROUTING -o r1 -j MASQUERADE"),
        () => Router.Run("iptables -t nat -D POSTROUTING -o r1 -j MASQUERADE"),
        "iptables",
        "nft chain ip nat POSTROUTING",
        "iptables-legacy table nat");

    [Fact]
    public void ForwardingSwitchedOffStopsTheTraffic()
    {
        _ = Product;
        using UdpFlow flow = Lab.StartFlow(rate: 2_000, port: 5003);
        flow.WaitFlowing();
        Router.Sysctl(("net.ipv4.ip_forward", "0"));
        TimeSpan stopped = flow.WaitStopped();
        Assert.True(stopped < TimeSpan.FromMilliseconds(300), $"the last packet came {stopped.TotalMilliseconds:0} ms after ip_forward=0");
        Assert.Contains(Product.Status().Demotions, d => d.Object == "r0 forwarding");
        Router.Sysctl(("net.ipv4.ip_forward", "1"));
        flow.WaitFlowing();
        ForwardsAgain();
    }

    /// <param name="cause">What Linux would do from then on.</param>
    /// <param name="mend">Its end.</param>
    /// <param name="tool">The program they need.</param>
    /// <param name="objects">What status may call the demotion.</param>
    private void Demotes(Action cause, Action mend, string tool, params string[] objects)
    {
        Require.Tools(tool);
        _ = Product;
        Assert.Empty(Product.Status().Demotions);
        using UdpFlow flow = Lab.StartFlow(rate: 1_000, port: 5004);
        flow.WaitFlowing();
        cause();
        Wait.Until(() => Product.Status().Demotions.Length > 0, TimeSpan.FromSeconds(1), "status lists a demotion");
        Assert.All(Product.Status().Demotions, d => Assert.True(objects.Contains(d.Object) && d.Reason.Length > 0, $"{d}"));
        ulong kernel = Router.Snmp("Ip", "ForwDatagrams");
        Thread.Sleep(300);
        Assert.True(Router.Snmp("Ip", "ForwDatagrams") - kernel > 200, "while demoted, Linux forwards");
        mend();
        ForwardsAgain();
        FlowReport report = flow.Stop();
        Assert.True(report.Missing == 0, $"demoting and back lost packets: {report}");
    }

    private void ForwardsAgain()
    {
        Wait.Until(() => Product.Status().Demotions.Length == 0, TimeSpan.FromSeconds(2), "the demotion ends by itself");
        using UdpFlow flow = Lab.StartFlow(rate: 2_000, port: 5005);
        flow.WaitFlowing();
        Wait.Until(
            () =>
            {
                ulong kernel = Router.Snmp("Ip", "ForwDatagrams");
                Thread.Sleep(200);
                return Router.Snmp("Ip", "ForwDatagrams") - kernel < 20;
            },
            TimeSpan.FromSeconds(1),
            "the fast path forwards again");
    }
}
