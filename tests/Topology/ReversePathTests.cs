using System.Globalization;

namespace FastPathSync.Topology;

/// <summary>rp_filter: what Linux refuses doesn't come through, what it lets in is forwarded by the fast path.</summary>
public sealed class ReversePathTests(RouterLab lab) : TopologyTest(lab), IClassFixture<RouterLab>
{
    private const string All = "net.ipv4.conf.all.rp_filter", R0 = "net.ipv4.conf.r0.rp_filter";

    /// <summary>Sources, and whether Linux lets them in by r0: without filter, strict, loose.</summary>
    private static readonly (string Source, string What, bool Off, bool Strict, bool Loose)[] s_sources =
    [
        ("10.1.0.2", "on-link", true, true, true),
        ("10.1.0.77", "on-link, unknown neighbour", true, true, true),
        ("10.50.0.1", "multipath, one way is r0", true, true, true),
        ("10.51.0.1", "gateway on r0", true, true, true),
        ("10.3.0.99", "on-link elsewhere", true, false, true),
        ("10.9.0.7", "gateway elsewhere", true, false, true),
        ("10.54.0.1", "multipath elsewhere", true, false, true),
        ("10.55.0.1", "nexthop group, one way is r0", true, true, true),
        ("99.1.1.1", "no route", true, false, false),
        ("10.52.0.1", "unreachable", true, false, false),
        ("10.53.0.1", "blackhole", true, false, false),
        ("10.2.0.1", "our own address", false, false, false),
        ("10.2.0.255", "broadcast", true, false, false),
    ];

    [Fact]
    public void LetsInWhatLinuxLetsIn()
    {
        if (Lab.ProductStarted)
        {
            Lab.StopProduct();
        }

        Lab.WarmUp();
        Router.Run("ip route add 10.50.0.0/16 nexthop via 10.1.0.2 nexthop via 10.3.0.2");
        Router.Run("ip route add 10.51.0.0/16 via 10.1.0.2");
        Router.Run("ip route add unreachable 10.52.0.0/16");
        Router.Run("ip route add blackhole 10.53.0.0/16");
        Router.Run("ip route add 10.54.0.0/16 nexthop via 10.2.0.2 nexthop via 10.3.0.2");
        Router.Run("ip nexthop add id 51 via 10.1.0.2 dev r0");
        Router.Run("ip nexthop add id 52 via 10.2.0.2 dev r1");
        Router.Run("ip nexthop add id 50 group 51/52");
        Router.Run("ip route add 10.55.0.0/16 nhid 50");
        foreach (bool ours in new[] { false, true })
        {
            if (ours)
            {
                Product.WaitVerified(3);
            }

            foreach ((string all, string r0, Func<(string Source, string What, bool Off, bool Strict, bool Loose), bool> expected) in
                new (string, string, Func<(string Source, string What, bool Off, bool Strict, bool Loose), bool>)[]
                {
                    ("0", "0", s => s.Off),
                    ("0", "1", s => s.Strict),
                    ("0", "2", s => s.Loose),
                    ("1", "0", s => s.Strict), // the larger of the two
                    ("1", "2", s => s.Loose),
                })
            {
                Router.Sysctl((All, all), (R0, r0));
                Thread.Sleep(ours ? 200 : 20);
                CounterReport? before = ours ? Product.Stats().Total : null; // settled by the round before, or nothing sent yet
                ulong refused = Refused();
                HashSet<string> came = Send();
                foreach ((string Source, string What, bool Off, bool Strict, bool Loose) s in s_sources)
                {
                    Assert.True(expected(s) == came.Contains(s.Source), $"{(ours ? "product" : "Linux")}, all {all} r0 {r0}: {s.What} {s.Source} {(expected(s) ? "was refused" : "came through")}");
                }

                if (before is not null)
                {
                    // None refused needlessly: what comes through did so by the fast path. And Linux counts what it refuses.
                    CounterReport after = Product.SettledTotal();
                    ulong forwarded = after.Forwarded - before.Forwarded, punted = after.PuntedBy("reverse-path") - before.PuntedBy("reverse-path");
                    int let = s_sources.Count(expected), broadcast = all == "0" && r0 == "0" ? 0 : 1; // refused or not, broadcast sources are Linux's
                    Assert.True(forwarded == (ulong)(let - 1 + broadcast), $"all {all} r0 {r0}: {let} came through, the fast path forwarded {forwarded}: {after.Describe()}");
                    Assert.Equal((ulong)(s_sources.Length - let - 1 - broadcast), punted);
                    Assert.True(Refused() - refused >= punted, "Linux counts what it refuses");
                }
            }
        }

        Router.Sysctl((All, "0"), (R0, "0"));
        Assert.DoesNotContain(Product.Status().Demotions, d => d.Object.Contains("rp_filter", StringComparison.Ordinal));
    }

    [Fact]
    public void FollowsRouteChangesAtOnce()
    {
        _ = Product;
        Router.Sysctl((R0, "1"));
        Router.Run("ip route add 10.56.0.0/16 via 10.3.0.2");
        Product.WaitVerified(3);
        Assert.DoesNotContain("10.56.0.1", Send("10.56.0.1"));
        Router.Run("ip route replace 10.56.0.0/16 via 10.1.0.2");
        Product.WaitVerified(3);
        Assert.Contains("10.56.0.1", Send("10.56.0.1"));
        Router.Run("ip route del 10.56.0.0/16");
        Router.Sysctl((R0, "0"));
    }

    /// <summary>Loose refuses what doesn't come back this way where the interface has no address at all.</summary>
    [Fact]
    public void LooseWithoutAnAddressIsStrict()
    {
        _ = Product;
        Router.Sysctl((R0, "2"));
        Router.Run("ip route add 10.1.0.2/32 dev r0");
        Router.Run("ip address del 10.1.0.1/24 dev r0");
        Router.Run("ip route add 10.1.0.2/32 dev r0");
        Product.WaitVerified(3);
        Assert.Equal(["10.1.0.2"], Send("10.1.0.2", "10.3.0.99"));
        Router.Run("ip route del 10.1.0.2/32 dev r0");
        Router.Run("ip address add 10.1.0.1/24 dev r0");
        Lab.WarmUp();
        Product.WaitVerified(3);
        Assert.Equal(["10.1.0.2", "10.3.0.99"], Send("10.1.0.2", "10.3.0.99").Order());
        Router.Sysctl((R0, "0"));
    }

    /// <summary>One packet from each source; those that come out at the server.</summary>
    private HashSet<string> Send(params string[] sources)
    {
        string[] from = sources.Length > 0 ? sources : [.. s_sources.Select(s => s.Source)];
        using PacketSocket client = Client.OpenPacketSocket("c0"), server = Server.OpenPacketSocket("s0");
        client.Send(from.Select(s => Lab.FromClient().Ipv4(s, RouterLab.Target).Udp(7, RouterLab.SilentPort, [1]).Build()), 2_000);
        return [.. server.TakeWhenQuiet(quietSeconds: 0.15).Where(f => FlowPaths.DestinationOf(f).ToString() == RouterLab.Target).Select(f => FlowPaths.SourceOf(f).ToString())];
    }

    private ulong Refused()
    {
        string[][] lines = [.. Router.Inside(() => File.ReadAllLines("/proc/thread-self/net/netstat")).Where(l => l.StartsWith("TcpExt:", StringComparison.Ordinal)).Select(l => l.Split(' '))];
        return ulong.Parse(lines[1][Array.IndexOf(lines[0], "IPReversePathFilter")], CultureInfo.InvariantCulture);
    }
}
