namespace FastPathSync.Topology;

/// <summary>Settings that change forwarding are honoured as they change.</summary>
public sealed class SysctlTests(RouterLab lab) : TopologyTest(lab), IClassFixture<RouterLab>
{
    private const string Back = "10.60.0.1"; // leaves by r0, where the client is
    private const string AllRedirects = "net.ipv4.conf.all.send_redirects", Redirects = "net.ipv4.conf.r0.send_redirects";

    /// <summary>The larger of both settings counts (IN_DEV_TX_REDIRECTS).</summary>
    [Fact]
    public void PacketThatTurnsBackIsForwardedByTheFastPathWhenNoRedirectIsDue()
    {
        if (Lab.ProductStarted)
        {
            Lab.StopProduct();
        }

        Router.Run("ip neigh replace 10.1.0.3 lladdr 02:00:00:00:0c:03 dev r0 nud permanent");
        Router.Run("ip route add 10.60.0.0/16 via 10.1.0.3");
        Router.Sysctl((AllRedirects, "0"), (Redirects, "0"));
        CapturedFrame byLinux = Assert.Single(Turned().Frames);
        _ = Product;
        Product.WaitVerified(3);
        CounterReport before = Product.SettledTotal();
        (List<CapturedFrame> frames, int redirects) = Turned();
        Assert.Equal(byLinux.Bytes, Assert.Single(frames).Bytes);
        Assert.Equal(0, redirects);
        Assert.Equal(1ul, Product.SettledTotal().Forwarded - before.Forwarded);

        Router.Sysctl((AllRedirects, "1"));
        Thread.Sleep(300);
        (frames, redirects) = Turned();
        Assert.Equal(byLinux.Bytes, Assert.Single(frames).Bytes);
        Assert.Equal(1, redirects); // Linux was asked, and says so
        Assert.Equal(before.PuntedBy("redirect-needed") + 1, Product.SettledTotal().PuntedBy("redirect-needed"));

        Router.Sysctl((AllRedirects, "0"));
        Thread.Sleep(300);
        before = Product.SettledTotal();
        Assert.Equal(byLinux.Bytes, Assert.Single(Turned().Frames).Bytes);
        Assert.Equal(1ul, Product.SettledTotal().Forwarded - before.Forwarded);
        Router.Run("ip route del 10.60.0.0/16");
    }

    [Fact]
    public void ForwardingOfOneInterfaceIsItsOwn()
    {
        _ = Product;
        Assert.True(Passes());
        Router.Sysctl(("net.ipv4.conf.r0.forwarding", "0"));
        Wait.Until(() => !Passes(), TimeSpan.FromSeconds(1), "nothing that r0 receives is forwarded");
        Router.Sysctl(("net.ipv4.conf.r1.forwarding", "0"), ("net.ipv4.conf.r0.forwarding", "1"));
        Wait.Until(() => Passes(), TimeSpan.FromSeconds(1), "what r0 receives is forwarded, also through r1");
        CounterReport before = Product.SettledTotal();
        Assert.True(Passes());
        Assert.Equal(1ul, Product.SettledTotal().Forwarded - before.Forwarded);
        Router.Sysctl(("net.ipv4.conf.r1.forwarding", "1"));
    }

    /// <summary>Settings that concern only what the fast path leaves to Linux anyway: it forwards on, and Linux obeys them.</summary>
    [Fact]
    public void SettingsOfOddPacketsStopNothing()
    {
        _ = Product;
        foreach (string name in new[] { "accept_local", "route_localnet", "log_martians", "accept_source_route", "src_valid_mark", "drop_unicast_in_l2_multicast" })
        {
            Router.Sysctl(($"net.ipv4.conf.all.{name}", "1"), ($"net.ipv4.conf.r0.{name}", "1"));
            Thread.Sleep(200);
            Assert.DoesNotContain(Product.Status().Demotions, d => d.Object.Contains(name, StringComparison.Ordinal));
            CounterReport before = Product.SettledTotal();
            Assert.True(Passes(), $"with {name} forwarding stopped");
            Assert.True(Product.SettledTotal().Forwarded - before.Forwarded == 1, $"with {name} the fast path did not forward");
            if (name == "accept_local")
            {
                // A packet from an address of ours: Linux lets it in now.
                Assert.True(Passes(source: "10.3.0.1"), "accept_local is Linux's to obey");
            }

            Router.Sysctl(($"net.ipv4.conf.all.{name}", "0"), ($"net.ipv4.conf.r0.{name}", "0"));
        }

        Assert.False(Passes(source: "10.3.0.1"), "without accept_local a packet from an address of ours is refused");
    }

    [Fact]
    public void AcceptedRedirectsLeaveThatWayOutToLinux()
    {
        _ = Product;
        Router.Sysctl(("net.ipv4.conf.all.accept_redirects", "1"));
        Wait.Until(() => Product.Status().Demotions.Any(d => d.Object == "r1 accept_redirects"), TimeSpan.FromSeconds(2), "r1 accept_redirects is a demotion");
        CounterReport before = Product.SettledTotal();
        Assert.True(Passes());
        Assert.Equal(before.Forwarded, Product.SettledTotal().Forwarded);
        Router.Sysctl(("net.ipv4.conf.all.accept_redirects", "0"));
        Wait.Until(() => Product.Status().Demotions.Length == 0, TimeSpan.FromSeconds(2), "the demotions end");
    }

    /// <summary>What of a packet to the client's own side comes back, and how many ICMP redirects with it.</summary>
    private (List<CapturedFrame> Frames, int Redirects) Turned()
    {
        using PacketSocket client = Client.OpenPacketSocket("c0");
        client.Send(Lab.FromClient().Ipv4("10.1.0.2", Back, id: 7).Udp(7, 9, [1]).Build());
        List<CapturedFrame> all = client.TakeWhenQuiet();
        int redirects = all.Count(f => f.Bytes[PacketBuilder.EtherLength + 9] == 1 && f.Bytes[PacketBuilder.EtherLength + 20] == 5);
        return ([.. all.Where(f => FlowPaths.DestinationOf(f).ToString() == Back)], redirects);
    }

    private bool Passes(string source = "10.1.0.2")
    {
        using PacketSocket client = Client.OpenPacketSocket("c0"), server = Server.OpenPacketSocket("s0");
        client.Send(Lab.FromClient().Ipv4(source, RouterLab.Target).Udp(7, RouterLab.SilentPort, [1]).Build());
        return server.TakeWhenQuiet(1).Any(f => FlowPaths.DestinationOf(f).ToString() == RouterLab.Target);
    }
}
