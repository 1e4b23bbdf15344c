using System.Text;

namespace FastPathSync.Topology;

/// <summary>
/// IPv6 from netlink to workers: whatever `ip` does, `fpctl verify` is equal right after, and packets go where Linux says.
/// Neighbours of the router's links age fast.
/// </summary>
public sealed class Ipv6ControlTests(Ipv6ControlTests.ControlLab lab) : TopologyTest(lab), IClassFixture<Ipv6ControlTests.ControlLab>
{
    private const ushort Ipv6 = 0x86dd;

    /// <summary>From the end of a command until verify is equal: the engine asks for what it was not told 50 ms later, and verify itself takes a while.</summary>
    private const double AgreeSeconds = 10;

    /// <summary>The lab with IPv6: fd01::/64 to the client, fd02::/64 and fd03::/64 to the server, which owns fd09::/16.</summary>
    public sealed class ControlLab : RouterLab
    {
        public ControlLab()
        {
            foreach (LabNamespace ns in (LabNamespace[])[Client, Router, Server])
            {
                ns.Sysctl(
                    ("net.ipv6.conf.default.accept_dad", "0"), ("net.ipv6.conf.all.accept_dad", "0"),
                    ("net.ipv6.conf.default.disable_ipv6", "0"), ("net.ipv6.conf.all.disable_ipv6", "0"));
            }

            Router.Sysctl(("net.ipv6.conf.all.forwarding", "1"), ("net.ipv6.conf.all.keep_addr_on_down", "1"));
            foreach (string link in (ReadOnlySpan<string>)["r1", "r2"])
            {
                Router.Sysctl(($"net.ipv6.neigh.{link}.base_reachable_time_ms", "2000"), ($"net.ipv6.neigh.{link}.gc_stale_time", "3"), ($"net.ipv6.neigh.{link}.delay_first_probe_time", "1"));
            }

            Client.Run("ip address add fd01::2/64 dev c0 nodad");
            Router.Run("ip address add fd01::1/64 dev r0 nodad");
            Router.Run("ip address add fd02::1/64 dev r1 nodad");
            Router.Run("ip address add fd03::1/64 dev r2 nodad");
            Server.Run("ip address add fd02::2/64 dev s0 nodad");
            Server.Run("ip address add fd03::2/64 dev s1 nodad");
            Client.Run("ip route add default via fd01::1");
            Server.Run("ip route add default via fd02::1");
            Server.Run("ip route add local fd09::/16 dev lo");
            Router.Run("ip route add fd09::/16 via fd02::2");
            Client.Run("ping -6 -q -c 1 -W 2 fd01::1");
            Router.Run("ping -6 -q -c 1 -W 2 fd02::2");
            Router.Run("ping -6 -q -c 1 -W 2 fd03::2");
        }
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void RandomChangesEndInEqualTables(int seed)
    {
        _ = Product;
        Random random = new(seed);
        for (int round = 0; round < 3; round++)
        {
            StringBuilder batch = new();
            for (int i = 0; i < 300; i++)
            {
                batch.Append(RandomCommand(random)).Append('\n');
            }

            Router.Try(["ip", "-force", "-batch", "-"], input: batch.ToString()); // many fail, and are meant to
            Product.WaitVerified(AgreeSeconds);
        }

        Heal();
    }

    [Fact]
    public void EachDaemonMayDieWithoutDisturbingWhatIsRight()
    {
        _ = Product;
        Router.Run("ip -batch -", input: string.Concat(Enumerable.Range(0, 5000).Select(i => $"route add 2001:db8:{i:x}::/48 via fd02::2\n")));
        Product.WaitVerified(AgreeSeconds);
        foreach (string daemon in (ReadOnlySpan<string>)["fpmd", "cmgrd"])
        {
            Router.Run($"kill -9 {Product.PidOf(daemon)}");
            Sent(200, i => $"fd09::{i + 1:x}", "s0"); // while it is away
            Router.Run("ip route add 2001:db8:ffff::/48 via fd03::2");
            Product.WaitVerified(AgreeSeconds);
            Router.Run("ip route del 2001:db8:ffff::/48");
        }

        Router.Run("ip -batch -", input: string.Concat(Enumerable.Range(0, 5000).Select(i => $"route del 2001:db8:{i:x}::/48\n")));
        Product.WaitVerified(AgreeSeconds);
    }

    [Fact]
    public void AnIpv4RouteLeavesByAnIpv6Gateway()
    {
        Router.Run("ip route add 10.64.0.0/16 via inet6 fd02::2 dev r1");
        Product.WaitVerified(AgreeSeconds);
        using PacketSocket server = Server.OpenPacketSocket("s0"), client = Client.OpenPacketSocket("c0");
        CounterReport before = Product.SettledTotal();
        client.Send(Enumerable.Range(0, 100).Select(i => Lab.FromClient().Ipv4("10.1.0.2", $"10.64.0.{i + 1}").Udp(1, 2, [9]).Build()), 2_000);
        Assert.Equal(100, server.TakeWhenQuiet(100).Count(f => f.Bytes[23] == 17 && f.Bytes[30] == 10 && f.Bytes[31] == 64));
        Assert.True(Product.SettledTotal().Forwarded - before.Forwarded >= 99, "Linux forwarded them");
        Router.Run("ip route del 10.64.0.0/16");
    }

    [Fact]
    public void SiblingsShareTheFlowsAndALostLinkLeavesThemToTheOthers()
    {
        Router.Run("ip route add fd09:5::/32 nexthop via fd02::2 nexthop via fd03::2");
        Product.WaitVerified(AgreeSeconds);
        (int r1, int r2) = Shares();
        Assert.InRange(r1, 60, 140);
        Assert.Equal(200, r1 + r2);
        Router.Run("ip link set r2 down");
        Product.WaitVerified(AgreeSeconds);
        Assert.Equal((200, 0), Shares());
        Heal();
        Assert.InRange(Shares().R1, 60, 140);
        Router.Run("ip route del fd09:5::/32");
    }

    [Fact]
    public void ForwardingThatIsOffIsLinuxsToSay()
    {
        _ = Product;
        Router.Sysctl(("net.ipv6.conf.all.forwarding", "0"));
        Wait.Until(() => Sent(20, i => $"fd09::{i + 1:x}", null) == 0, TimeSpan.FromSeconds(2), "nothing is forwarded");
        Assert.Equal("healthy", Product.Status().State);
        Router.Sysctl(("net.ipv6.conf.all.forwarding", "1"));
        Wait.Until(() => Sent(20, i => $"fd09::{i + 1:x}", null) == 20, TimeSpan.FromSeconds(2), "all is forwarded");
        Product.WaitVerified(AgreeSeconds);
    }

    [Fact]
    public void FastPathTrafficKeepsAnIpv6NeighbourAliveAndAnIdleOneAges()
    {
        _ = Product;
        Router.Run("ping -6 -q -c 1 fd03::2");
        List<string> used = [];
        for (int i = 0; i < 20; i++)
        {
            Sent(100, n => $"fd09::{n + 1:x}", "s0");
            used.Add(StateOf("fd02::2"));
        }

        Assert.True(used.Skip(4).Count(s => s == "REACHABLE") >= 4, $"states of the used neighbour: {string.Join(' ', used)}");
        Wait.Until(() => StateOf("fd03::2") is "STALE" or "", TimeSpan.FromSeconds(10), "the idle neighbour ages");
    }

    private (int R1, int R2) Shares()
    {
        using PacketSocket s0 = Server.OpenPacketSocket("s0", Ipv6), s1 = Server.OpenPacketSocket("s1", Ipv6), client = Client.OpenPacketSocket("c0");
        client.Send(Enumerable.Range(0, 200).Select(i => Lab.FromClient().Ipv6("fd01::2", $"fd09:5::{i + 1:x}").Udp((ushort)(1000 + i), RouterLab.SilentPort, [9]).Build()), 2_000);
        Thread.Sleep(300);
        return (Count(s0), Count(s1));

        static int Count(PacketSocket s) => s.Take().Count(f => f.Bytes[20] == 17 && f.Bytes[38] == 0xfd && f.Bytes[39] == 9);
    }

    /// <summary>Sends packets from the client; how many arrive at the server's first link. All must, when it is named.</summary>
    private int Sent(int count, Func<int, string> destination, string? link)
    {
        using PacketSocket server = Server.OpenPacketSocket("s0", Ipv6), client = Client.OpenPacketSocket("c0");
        client.Send(Enumerable.Range(0, count).Select(i => Lab.FromClient().Ipv6("fd01::2", destination(i)).Udp((ushort)i, RouterLab.SilentPort, [9]).Build()), 1_000);
        int arrived = server.TakeWhenQuiet(count, quietSeconds: 0.3).Count(f => f.Bytes[20] == 17);
        Assert.True(link is null || arrived == count, $"{arrived} of {count} arrived");
        return arrived;
    }

    /// <summary>
    /// Links, addresses, routes and neighbours as the lab made them. Addresses are made anew: one that was there when its link
    /// came up (keep_addr_on_down) and was touched in the same moment is left by Linux without its local route.
    /// </summary>
    private void Heal()
    {
        Router.Try(["ip", "-force", "-batch", "-"], input: """
            link set r1 up
            link set r2 up
            address del fd02::1/64 dev r1
            address del fd03::1/64 dev r2
            address add fd02::1/64 dev r1 nodad
            address add fd03::1/64 dev r2 nodad
            route replace fd09::/16 via fd02::2

            """);
        Server.Try(["ip", "-force", "-batch", "-"], input: "link set s0 up\nlink set s1 up\n");
        foreach ((string link, string host) in (ReadOnlySpan<(string, string)>)[("r1", "fd02::2"), ("r2", "fd03::2")])
        {
            Router.Run($"ip -6 neigh flush dev {link} nud all"); // some have wrong addresses for good
            Wait.Until(() => Router.Try($"ping -6 -q -c 1 -W 1 {host}").Ok, TimeSpan.FromSeconds(5), $"{host} answers");
        }

        Product.WaitVerified(AgreeSeconds);
    }

    private string StateOf(string address)
    {
        string[] words = Router.Run($"ip -6 neigh show {address}").Output.Split([' ', '\n'], StringSplitOptions.RemoveEmptyEntries);
        return words.Length == 0 ? "" : words.Last(w => w != "router");
    }

    private static string RandomCommand(Random random)
    {
        string prefix = $"2001:db8:{100 + random.Next(12):x}::/{(int[])[48, 48, 48, 56, 64] switch { int[] l => l[random.Next(l.Length)] }}";
        int link = 1 + random.Next(2), id = 1 + random.Next(6);
        string dev = $"r{link}", via = $"fd0{link + 1}::{2 + random.Next(3)}";
        return random.Next(28) switch
        {
            0 or 1 => $"route add {prefix} via {via}",
            2 or 3 => $"route append {prefix} via {via}",
            4 => $"route append {prefix} dev {dev}",
            5 => $"route replace {prefix} via {via} metric {1 + random.Next(2)}",
            6 => $"route replace {prefix} nexthop via fd02::2 nexthop via fd03::2 weight {1 + random.Next(3)}",
            7 => $"route append {prefix} nexthop via fd02::7 nexthop via fd03::8",
            8 or 9 => $"route del {prefix}",
            10 => $"route del {prefix} via {via}",
            11 => $"route del {prefix} dev {dev}",
            12 => $"nexthop replace id {id} via {via} dev {dev}",
            13 => $"nexthop replace id {10 + random.Next(3)} group {id}/{1 + (id % 6)}",
            14 => $"nexthop del id {(random.Next(2) == 0 ? id : 10 + random.Next(3))}",
            15 => $"route replace {prefix} nhid {(random.Next(2) == 0 ? id : 10 + random.Next(3))} metric {100 + random.Next(2)}",
            16 or 17 => $"link set {dev} {(random.Next(3) == 0 ? "down" : "up")}",
            18 => $"address {(random.Next(3) == 0 ? "del" : "add")} fd0{link + 1}::1/64 dev {dev} nodad",
            19 => $"route append {prefix} via {via} mtu 1300 from 2001:db8:5::/48",
            20 => $"route add {(string[])["blackhole", "unreachable", "prohibit", "throw"] switch { string[] t => t[random.Next(4)] }} {prefix} metric {5 + random.Next(3)}",
            21 => $"route {(random.Next(2) == 0 ? "add" : "del")} local 2001:db8:{200 + random.Next(3):x}::/48 dev lo",
            22 => $"route replace {prefix} via {via} mtu {1300 + (random.Next(3) * 100)} table {(random.Next(2) == 0 ? 100 : 254)}",
            23 => $"neigh replace {via} lladdr 02:00:00:00:00:{random.Next(10, 99)} dev {dev} nud {(random.Next(2) == 0 ? "permanent" : "stale")}",
            24 => $"neigh del {via} dev {dev}",
            25 => $"route replace {prefix} via {via} expires {2 + random.Next(3)} metric 50",
            26 => $"route replace 10.{100 + random.Next(4)}.0.0/16 via inet6 {via} dev {dev}",
            _ => $"route replace 10.{100 + random.Next(4)}.0.0/16 nhid {id}",
        };
    }
}
