namespace FastPathSync.Topology;

/// <summary>rp_filter while there are policy rules: the way back is theirs to say, by the rules of the opposite direction.</summary>
/// <remarks>In a lab of its own: a namespace that once had rules looks at sources more closely ever after.</remarks>
public sealed class ReversePathRuleTests(RouterLab lab) : TopologyTest(lab), IClassFixture<RouterLab>
{
    [Theory]
    [InlineData("0")]
    [InlineData("1")]
    [InlineData("2")]
    public void LetsInWhatLinuxLetsIn(string filter)
    {
        string[] sources = ["10.1.0.2", "10.1.0.77", "10.3.0.99", "99.1.1.1", "99.2.1.1", "99.3.1.1", "10.2.0.1", "10.2.0.255"];
        string[] rules =
        [
            $"priority 1000 from {RouterLab.Target} to 99.2.0.0/16 iif r1 lookup 100", // only the way back matches
            "priority 1001 to 99.3.0.0/16 prohibit",
            "priority 1002 iif r0 to 10.3.0.99 prohibit", // no way back comes in by r0
            "priority 1003 ipproto udp dport 7 to 10.1.0.77 iif r1 lookup 101", // ports change places
        ];
        if (Lab.ProductStarted)
        {
            Lab.StopProduct();
        }

        Lab.WarmUp();
        Router.Run("ip route add 99.2.0.0/16 via 10.1.0.2 table 100");
        Router.Run("ip route add 10.1.0.77/32 via 10.3.0.2 table 101");
        foreach (string rule in rules)
        {
            Router.Run($"ip rule add {rule}");
        }

        Router.Sysctl(("net.ipv4.conf.r0.rp_filter", filter));
        Thread.Sleep(50);
        string[] byLinux = [.. Send(sources).Order()];
        Product.WaitVerified(3);
        CounterReport before = Product.SettledTotal();
        string[] ours = [.. Send(sources).Order()];
        CounterReport after = Product.SettledTotal();
        foreach (string rule in rules)
        {
            Router.Run($"ip rule del {rule}");
        }

        Router.Run("ip route flush table 100");
        Router.Run("ip route flush table 101");
        Router.Sysctl(("net.ipv4.conf.r0.rp_filter", "0"));
        Assert.Equal(byLinux, ours);
        Assert.True(after.Forwarded - before.Forwarded == (ulong)ours.Length, $"{string.Join(' ', ours)} came through; {after.Describe()}");
        Assert.Contains("10.1.0.2", ours);
        Assert.Equal(filter == "0", ours.Contains("99.1.1.1"));
        Assert.Contains("99.2.1.1", ours);
        Assert.Equal(filter != "1", ours.Contains("10.1.0.77"));
    }

    /// <summary>One packet from each source; those that come out at the server.</summary>
    private HashSet<string> Send(string[] sources)
    {
        using PacketSocket client = Client.OpenPacketSocket("c0"), server = Server.OpenPacketSocket("s0");
        client.Send(sources.Select(s => Lab.FromClient().Ipv4(s, RouterLab.Target).Udp(7, RouterLab.SilentPort, [1]).Build()), 2_000);
        return [.. server.TakeWhenQuiet(quietSeconds: 0.15).Where(f => FlowPaths.DestinationOf(f).ToString() == RouterLab.Target).Select(f => FlowPaths.SourceOf(f).ToString())];
    }
}
