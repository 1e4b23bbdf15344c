using System.Net;
using System.Text;

namespace FastPathSync.Topology;

/// <summary>Several ways to one destination: which packets go together, how many flows each way gets, and that they stay.</summary>
public sealed class EcmpTests(RouterLab lab) : TopologyTest(lab), IClassFixture<RouterLab>
{
    private const string Policy = "net.ipv4.fib_multipath_hash_policy", Seed = "net.ipv4.fib_multipath_hash_seed", Fields = "net.ipv4.fib_multipath_hash_fields";

    [Theory]
    [InlineData(0, 3, 1)]
    [InlineData(1, 1, 4)]
    public void WeightsAreKeptWithinTwoPercentOverTenThousandFlows(int policy, int weight0, int weight1)
    {
        const int Flows = 10_000;
        Begin();
        Router.Sysctl((Policy, $"{policy}"));
        Router.Run($"ip route add 10.72.0.0/16 nexthop via 10.2.0.2 weight {weight0} nexthop via 10.3.0.2 weight {weight1}");
        Product.WaitVerified(3);
        Dictionary<int, string> ways = OursOf(Enumerable.Range(0, Flows).Select(f => policy == 0 ? FlowPaths.ByDestination(Lab, f) : FlowPaths.BySourcePort(Lab, f)));
        Assert.Equal(Flows, ways.Count);
        double share = ways.Values.Count(w => w.StartsWith("s0", StringComparison.Ordinal)) / (double)Flows;
        Note($"policy {policy}, weights {weight0}:{weight1}: {FlowPaths.Describe(ways)}");
        Assert.InRange(share - (weight0 / (double)(weight0 + weight1)), -0.02, 0.02);
        Router.Run("ip route del 10.72.0.0/16");
        Router.Sysctl((Policy, "0"));
    }

    /// <summary>The same packets are one flow for Linux alone, and with the product.</summary>
    [Fact]
    public void PoliciesTellFlowsApartAsLinuxDoes()
    {
        const int Flows = 200;
        if (Lab.ProductStarted)
        {
            Lab.StopProduct();
        }

        byte[][] ports = [.. Enumerable.Range(0, Flows).Select(f => FlowPaths.BySourcePort(Lab, f))];
        byte[][] hosts = [.. Enumerable.Range(0, Flows).Select(f => FlowPaths.ByDestination(Lab, f))];
        byte[][] inner = [.. Enumerable.Range(0, Flows).Select(f => Tunnelled(f, $"30.0.{f}.1", 7, 9))];
        byte[][] innerPorts = [.. Enumerable.Range(0, Flows).Select(f => Tunnelled(f, "30.0.0.1", (ushort)(1000 + f), 9))];
        byte[][] errors = [.. Enumerable.Range(0, Flows).Select(IcmpErrorFrom)];
        List<(string Policy, string Fields, string What, byte[][] Frames, int Ways)> cases =
        [
            ("0", "7", "ports", ports, 1),
            ("0", "7", "hosts", hosts, 2),
            ("0", "7", "inner addresses", inner, 1),
            ("0", "7", "errors about one flow", errors, 1),
            ("1", "7", "ports", ports, 2),
            ("1", "7", "inner addresses", inner, 1),
            ("1", "7", "errors about one flow", errors, 2),
            ("2", "7", "ports", ports, 1),
            ("2", "7", "inner addresses", inner, 2),
            ("2", "7", "inner ports", innerPorts, 1),
            ("3", "2", "ports", ports, 1),
            ("3", "2", "hosts", hosts, 2),
            ("3", "16", "ports", ports, 2),
            ("3", "16", "hosts", hosts, 1),
            ("3", "32", "ports", ports, 1),
            ("3", "1024", "inner ports", innerPorts, 2),
            ("3", "64", "inner ports", innerPorts, 1),
        ];
        Lab.WarmUp();
        Router.Run("ip route add 10.72.0.0/16 nexthop via 10.3.0.2 weight 3 nexthop via 10.2.0.2 weight 2");
        Router.Sysctl((Seed, "77")); // both make the same choice then
        Dictionary<string, Dictionary<int, string>> linuxs = [];
        foreach (bool ours in new[] { false, true })
        {
            if (ours)
            {
                Product.WaitVerified(3);
            }

            foreach ((string policy, string fields, string what, byte[][] frames, int expected) in cases)
            {
                Router.Sysctl((Policy, policy), (Fields, fields));
                Thread.Sleep(ours ? 250 : 20); // the setting is polled
                Dictionary<int, string> ways = ours ? OursOf(frames) : FlowPaths.Of(Lab, frames);
                FlowPaths.AssertLinuxs(linuxs, $"policy {policy} fields {fields}, {what}", ways, Flows, expected, ours);
            }
        }

        Router.Run("ip route del 10.72.0.0/16");
        Router.Sysctl((Policy, "0"), (Fields, "7"));
    }

    [Fact]
    public void AFlowKeepsItsWayWhateverElseHappens()
    {
        byte[][] frames = [.. Enumerable.Range(0, 500).Select(f => FlowPaths.ByDestination(Lab, f))];
        Begin();
        Router.Run("ip route add 10.72.0.0/16 nexthop via 10.2.0.2 nexthop via 10.3.0.2");
        Product.WaitVerified(3);
        Dictionary<int, string> before = OursOf(frames);
        Assert.Equal(500, before.Count);
        Assert.Equal(2, FlowPaths.Shares(before).Count);
        StringBuilder churn = new();
        foreach (string verb in new[] { "add", "del" })
        {
            for (int i = 0; i < 500; i++)
            {
                churn.Append("route ").Append(verb).Append($" 10.73.{i >> 4}.{(i & 15) << 4}/28 nexthop via 10.2.0.2 weight {1 + (i % 5)} nexthop via 10.3.0.2\n");
            }
        }

        Unchanged("routes were added and deleted", () => Router.Run("ip -batch -", input: churn.ToString()));
        Unchanged("a more specific route came and went", () =>
        {
            Router.Run("ip route add 10.72.99.0/24 via 10.2.0.2");
            Router.Run("ip route del 10.72.99.0/24");
        });
        foreach (string daemon in new[] { "cmgrd", "fpmd", "fastpath" })
        {
            Unchanged($"{daemon} was killed", () => Kill(daemon));
        }

        Router.Run("ip route del 10.72.0.0/16");

        void Unchanged(string what, Action happens)
        {
            happens();
            Product.WaitVerified(10);
            Dictionary<int, string> after = OursOf(frames);
            int moved = before.Count(b => after.GetValueOrDefault(b.Key) != b.Value);
            Assert.True(moved == 0, $"after {what}, {moved} of {before.Count} flows took another way");
        }
    }

    [Fact]
    public void GroupOfObjectsPassesOverAMemberWhoseNeighbourHasFailed()
    {
        Begin();
        Router.Run("ip neigh replace 10.3.0.9 lladdr 02:00:00:00:09:09 dev r2 nud permanent");
        Router.Run("ip nexthop add id 71 via 10.2.0.2 dev r1");
        Router.Run("ip nexthop add id 72 via 10.3.0.9 dev r2");
        Router.Run("ip nexthop add id 70 group 71/72");
        Router.Run("ip route add 10.72.0.0/16 nhid 70");
        byte[][] frames = [.. Enumerable.Range(0, 300).Select(f => FlowPaths.ByDestination(Lab, f))];
        Product.WaitVerified(3);
        Dictionary<int, string> both = OursOf(frames);
        Assert.Equal(2, FlowPaths.Shares(both).Count);
        Router.Run("ip neigh replace 10.3.0.9 dev r2 nud failed");
        Product.WaitVerified(3);
        Dictionary<int, string> one = OursOf(frames);
        Assert.Equal(300, one.Count);
        Assert.All(one.Values, w => Assert.StartsWith("s0", w, StringComparison.Ordinal));
        Router.Run("ip route del 10.72.0.0/16");
        foreach (int id in new[] { 70, 71, 72 })
        {
            Router.Run($"ip nexthop del id {id}");
        }

        Router.Run("ip neigh del 10.3.0.9 dev r2");
        Product.WaitVerified(3);
    }

    /// <summary>With ignore_routes_with_linkdown a member without carrier gets nothing; without, Linux still sends that way.</summary>
    [Theory]
    [InlineData("route")]
    [InlineData("objects")]
    public void MemberWithoutCarrierIsLeftOutWhenTheSettingSaysSo(string how)
    {
        Begin();
        Router.Sysctl(("net.ipv4.conf.r2.ignore_routes_with_linkdown", "1"));
        if (how == "route")
        {
            Router.Run("ip route add 10.72.0.0/16 nexthop via 10.2.0.2 nexthop via 10.3.0.2");
        }
        else
        {
            Router.Run("ip nexthop add id 71 via 10.2.0.2 dev r1");
            Router.Run("ip nexthop add id 72 via 10.3.0.2 dev r2");
            Router.Run("ip nexthop add id 70 group 71/72");
            Router.Run("ip route add 10.72.0.0/16 nhid 70");
        }

        byte[][] frames = [.. Enumerable.Range(0, 300).Select(f => FlowPaths.ByDestination(Lab, f))];
        Product.WaitVerified(3);
        Dictionary<int, string> both = OursOf(frames);
        Assert.Equal(2, FlowPaths.Shares(both).Count);
        Server.Run("ip link set s1 down");
        Product.WaitVerified(3);
        Dictionary<int, string> one = OursOf(frames);
        Assert.Equal(300, one.Count);
        Assert.All(one.Values, w => Assert.StartsWith("s0", w, StringComparison.Ordinal));
        Server.Run("ip link set s1 up");
        Product.WaitVerified(3);
        if (how == "objects")
        {
            Router.Run("ip route del 10.72.0.0/16");
            foreach (int id in new[] { 70, 71, 72 })
            {
                Router.Try($"ip nexthop del id {id}"); // 72 went with its carrier
            }
        }
        else
        {
            Lab.WarmUp();
            Product.WaitVerified(3);
            Assert.Equal(2, FlowPaths.Shares(OursOf(frames)).Count);
            Router.Run("ip route del 10.72.0.0/16");
        }

        Router.Sysctl(("net.ipv4.conf.r2.ignore_routes_with_linkdown", "0"));
        Product.WaitVerified(3);
    }

    [Fact]
    public void TenThousandGroups()
    {
        const int Groups = 10_000;
        Begin();
        StringBuilder up = new("nexthop add id 1 via 10.2.0.2 dev r1\nnexthop add id 2 via 10.3.0.2 dev r2\n");
        for (int g = 0; g < Groups; g++)
        {
            up.Append($"nexthop add id {100 + g} group 1,{1 + (g % 3)}/2,{1 + (g % 5)}\nroute add 10.{74 + (g >> 12)}.{(g >> 4) & 255}.{(g & 15) << 4}/28 nhid {100 + g}\n");
        }

        Router.Run("ip -batch -", input: up.ToString(), timeout: TimeSpan.FromSeconds(60));
        TimeSpan agreed = Product.WaitVerified(20);
        Note($"10,000 groups and their routes: verify was equal {agreed.TotalMilliseconds:0} ms after the batch");
        Dictionary<int, string> ways = OursOf(Enumerable.Range(0, 1000).Select(f => FlowPaths.Frame(Lab, f, "10.1.0.2", $"10.{74 + (f * 10 >> 12)}.{(f * 10 >> 4) & 255}.{((f * 10) & 15) << 4}", 1, 2)));
        Assert.Equal(1000, ways.Count);
        Assert.Equal(2, FlowPaths.Shares(ways).Count);

        // The kernel takes the groups' only other member away, and all groups and routes with the last one, without a word.
        Router.Run("ip nexthop del id 2");
        Product.WaitVerified(20);
        Dictionary<int, string> left = OursOf(Enumerable.Range(0, 1000).Select(f => FlowPaths.Frame(Lab, f, "10.1.0.2", $"10.{74 + (f * 10 >> 12)}.{(f * 10 >> 4) & 255}.{((f * 10) & 15) << 4}", 1, 2)));
        Assert.Equal(1000, left.Count);
        Assert.Single(FlowPaths.Shares(left));
        Router.Run("ip nexthop del id 1");
        Product.WaitVerified(20);
    }

    /// <summary>Both gateways are known, and a test that failed before has left nothing.</summary>
    private void Begin()
    {
        _ = Product;
        Router.Try("ip route flush root 10.72.0.0/14");
        Router.Try("ip nexthop flush");
        Lab.WarmUp();
    }

    /// <summary>The ways that the fast path chose: Linux forwarded none of these packets.</summary>
    private Dictionary<int, string> OursOf(IEnumerable<byte[]> frames)
    {
        CounterReport before = Product.Stats().Total;
        Dictionary<int, string> ways = FlowPaths.Of(Lab, frames);
        CounterReport after = Product.TotalOnceForwarded(before, (ulong)ways.Count);
        Assert.True(after.Forwarded - before.Forwarded >= (ulong)ways.Count, $"{ways.Count} came through, the fast path forwarded only {after.Forwarded - before.Forwarded}: {after.Describe()}");
        return ways;
    }

    /// <summary>UDP in IPIP, from the client to one host.</summary>
    private byte[] Tunnelled(int flow, string innerSource, ushort sourcePort, ushort destinationPort)
    {
        byte[] inner = new PacketBuilder().Ipv4(innerSource, "30.9.9.9").Udp(sourcePort, destinationPort, FlowPaths.Number(flow)).Build();
        return Lab.FromClient().Ipv4("10.1.0.2", "10.72.0.1", protocol: 4).Raw(inner).Build();
    }

    /// <summary>"Port unreachable" from a host of its own, always about the same flow.</summary>
    private byte[] IcmpErrorFrom(int host)
    {
        byte[] about = new PacketBuilder().Ipv4("10.72.0.1", "10.1.0.2").Udp(7, 9, []).Build();
        byte[] icmp = [3, 3, 0, 0, 0, 0, 0, 0, .. about, .. FlowPaths.Number(host)];
        ushort sum = PacketBuilder.Checksum(icmp, 0);
        (icmp[2], icmp[3]) = ((byte)(sum >> 8), (byte)sum);
        return Lab.FromClient().Ipv4($"10.1.0.{3 + (host % 250)}", "10.72.0.1", protocol: 1).Raw(icmp).Build();
    }

    private void Kill(string daemon)
    {
        int pid = Product.PidOf(daemon);
        Lab.Lab.Host($"kill -9 {pid}");
        Wait.Until(() => Product.Status() is { Synced: true, State: "healthy" } s && s.Daemons.Single(d => d.Name == daemon).Pid != pid, TimeSpan.FromSeconds(20), $"{daemon} is back");
    }

    private static void Note(string text) => TestContext.Current.TestOutputHelper?.WriteLine(text);
}
