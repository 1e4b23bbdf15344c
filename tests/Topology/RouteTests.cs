using System.Net;
using System.Text;

namespace FastPathSync.Topology;

/// <summary>`ip route` and its kin steer the fast path; whatever they do, tables and kernel agree and nobody else notices.</summary>
public sealed class RouteTests(RouterLab lab) : TopologyTest(lab), IClassFixture<RouterLab>
{
    /// <summary>From a command's end to tables that agree. The promise is one second; fpctl's own start counts in.</summary>
    private const double AgreeSeconds = 1.0;

    [Fact]
    public void ARouteIsAddedReplacedAndWithdrawn()
    {
        Reaches("10.70.0.1", reachable: null);
        Router.Run("ip route add 10.70.0.0/24 via 10.2.0.2");
        Reaches("10.70.0.1", reachable: "s0");
        Router.Run("ip route replace 10.70.0.0/24 via 10.3.0.2");
        Reaches("10.70.0.1", reachable: "s1");
        Router.Run("ip route add 10.70.0.1/32 via 10.2.0.2");
        Reaches("10.70.0.1", reachable: "s0");
        Router.Run("ip route del 10.70.0.1/32");
        Reaches("10.70.0.1", reachable: "s1");
        Router.Run("ip route del 10.70.0.0/24");
        Reaches("10.70.0.1", reachable: null);
    }

    [Fact]
    public void TheLowestMetricWinsAndTheNextTakesOver()
    {
        Router.Run("ip route add 10.71.0.0/24 via 10.2.0.2 metric 100");
        Router.Run("ip route add 10.71.0.0/24 via 10.3.0.2 metric 50");
        Reaches("10.71.0.1", reachable: "s1");
        Router.Run("ip route del 10.71.0.0/24 metric 50");
        Reaches("10.71.0.1", reachable: "s0");
        Router.Run("ip route append 10.71.0.0/24 via 10.3.0.2 metric 100");
        Reaches("10.71.0.1", reachable: "s0");
        Router.Run("ip route del 10.71.0.0/24 via 10.2.0.2");
        Reaches("10.71.0.1", reachable: "s1");
        Router.Run("ip route del 10.71.0.0/24");
    }

    [Fact]
    public void AMultipathRouteUsesBothWays()
    {
        Router.Run("ip route add 10.72.0.0/16 nexthop via 10.2.0.2 nexthop via 10.3.0.2");
        UseBothWays("10.72");
        Router.Run("ip route del 10.72.0.0/16");
    }

    [Fact]
    public void NexthopObjectsAndGroupsAreFollowed()
    {
        Router.Run("ip nexthop add id 11 via 10.2.0.2 dev r1");
        Router.Run("ip nexthop add id 12 via 10.3.0.2 dev r2");
        Router.Run("ip nexthop add id 20 group 11/12");
        Router.Run("ip route add 10.73.0.0/16 nhid 11");
        Reaches("10.73.0.1", reachable: "s0");
        Router.Run("ip nexthop replace id 11 via 10.3.0.2 dev r2");
        Reaches("10.73.0.1", reachable: "s1");
        Router.Run("ip nexthop replace id 11 via 10.2.0.2 dev r1");
        Router.Run("ip route replace 10.73.0.0/16 nhid 20");
        UseBothWays("10.73");

        // The kernel deletes the routes of a deleted nexthop without saying so.
        Router.Run("ip nexthop del id 20");
        Reaches("10.73.0.1", reachable: null);
        Router.Run("ip nexthop del id 11");
        Router.Run("ip nexthop del id 12");
        Product.WaitVerified(AgreeSeconds + 1);
    }

    [Fact]
    public void TheRoutesOfALinkGoDownWithIt()
    {
        Router.Run("ip route add 10.74.0.0/24 via 10.3.0.2");
        Reaches("10.74.0.1", reachable: "s1");
        using UdpFlow other = Lab.StartFlow(rate: 2_000, port: 5074);
        other.WaitFlowing();
        Router.Run("ip link set r2 down");
        Product.WaitVerified(AgreeSeconds + 1);
        Reaches("10.74.0.1", reachable: null);
        Router.Run("ip link set r2 up");
        Router.Run("ip route add 10.74.0.0/24 via 10.3.0.2");
        Reaches("10.74.0.1", reachable: "s1");
        Router.Run("ip route del 10.74.0.0/24");
        FlowReport report = other.Stop();
        Assert.True(report.Missing == 0, $"a flow by another link: {report}");
    }

    [Fact]
    public void TenThousandRoutesChurnAndNoOtherPacketIsLost()
    {
        Product.WaitVerified(5);
        using UdpFlow flow = Lab.StartFlow(rate: 5_000, port: 5075);
        flow.WaitFlowing();
        Random random = new(75);
        string[] prefixes = [.. Enumerable.Range(0, 10_000).Select(i => $"10.{80 + (i >> 12)}.{(i >> 4) & 255}.{(i & 15) << 4}/{28 + (i % 4 == 3 ? 0 : i % 4)}")];
        string[] ways = ["via 10.2.0.2", "via 10.3.0.2", "via 10.3.0.2 metric 0"];
        StringBuilder add = new(), replace = new(), delete = new();
        foreach ((StringBuilder text, string verb, bool gateway) in new[] { (add, "add", true), (replace, "replace", true), (delete, "del", false) })
        {
            random.Shuffle(prefixes);
            foreach (string prefix in prefixes)
            {
                text.Append("route ").Append(verb).Append(' ').Append(prefix).Append(' ').Append(gateway ? ways[random.Next(2)] : "").Append('\n');
            }
        }

        foreach (StringBuilder text in new[] { add, replace, delete })
        {
            Router.Run("ip -batch -", input: text.ToString());
            TimeSpan agreed = Product.WaitVerified(10);
            TestContext.Current.TestOutputHelper?.WriteLine($"verify was equal {agreed.TotalMilliseconds:0} ms after the batch");
            Assert.True(agreed.TotalSeconds < AgreeSeconds + 0.5, $"verify was equal only {agreed.TotalMilliseconds:0} ms after the batch");
        }

        FlowReport report = flow.Stop();
        Assert.True(report.Missing == 0 && report.Duplicates == 0, report.ToString());
    }

    /// <summary>A packet to this address leaves by the named link (seen at its far end), or nowhere.</summary>
    private void Reaches(string destination, string? reachable)
    {
        Product.WaitVerified(AgreeSeconds + 1);
        CounterReport before = Product.Stats().Total;
        byte[] frame = Lab.FromClient().Ipv4("10.1.0.2", destination).Udp(1, 2, [9]).Build();
        using PacketSocket client = Client.OpenPacketSocket("c0");
        using PacketSocket s0 = Server.OpenPacketSocket("s0"), s1 = Server.OpenPacketSocket("s1");

        // After a link came up, the first packet may have to resolve the neighbour.
        for (int i = 0; i < 2; i++)
        {
            client.Send(frame);
            Thread.Sleep(150);
        }

        int want0 = reachable == "s0" ? 2 : 0, want1 = reachable == "s1" ? 2 : 0;
        int got0 = CountTo(destination, s0), got1 = CountTo(destination, s1);
        Assert.True((got0, got1) == (want0, want1), $"{destination}: s0 received {got0} (expected {want0}), s1 {got1} (expected {want1})");
        Assert.True(reachable is null || Product.Stats().Total.Forwarded > before.Forwarded, $"{destination}: Linux forwarded both packets");
    }

    private void UseBothWays(string prefix)
    {
        Product.WaitVerified(AgreeSeconds + 1);
        using PacketSocket client = Client.OpenPacketSocket("c0");
        using PacketSocket s0 = Server.OpenPacketSocket("s0"), s1 = Server.OpenPacketSocket("s1");
        client.Send(Enumerable.Range(0, 200).Select(i => Lab.FromClient().Ipv4("10.1.0.2", $"{prefix}.{i}.{i}").Udp((ushort)i, 2, [9]).Build()), 2_000);
        Thread.Sleep(200);
        int a = CountTo(prefix + ".", s0), b = CountTo(prefix + ".", s1);
        Assert.Equal(200, a + b);
        Assert.InRange(a, 60, 140);
    }

    private static int CountTo(string destination, PacketSocket socket) => socket.Take()
        .Count(f => new IPAddress(f.Bytes.AsSpan(PacketBuilder.EtherLength + 16, 4)).ToString().StartsWith(destination, StringComparison.Ordinal));
}
