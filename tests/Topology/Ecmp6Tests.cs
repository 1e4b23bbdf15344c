namespace FastPathSync.Topology;

/// <summary>Several ways to one IPv6 destination: which packets go together, how many flows each way gets, and that they stay.</summary>
public sealed class Ecmp6Tests : TopologyTest, IClassFixture<Ipv6Lab>
{
    private const string Policy = "net.ipv6.fib_multipath_hash_policy", Seed = "net.ipv4.fib_multipath_hash_seed", Fields = "net.ipv6.fib_multipath_hash_fields";
    private const string First = "020000000A01", Second = "020000000A02", Third = "020000000A03";
    private const int Flows = 200;

    /// <summary>Matches nothing, but has Linux dissect every IPv6 packet before it looks for a route.</summary>
    private const string ProtocolRule = "priority 99 fwmark 1 ipproto tcp table main";

    public Ecmp6Tests(Ipv6Lab lab)
        : base(lab)
    {
        foreach ((int id, string link, string device) in new[] { (1, "fd02::11", "r1"), (2, "fd03::12", "r2"), (3, "fd02::13", "r1") })
        {
            Router.Run($"ip neigh replace {link} lladdr 02:00:00:00:0a:0{id} dev {device} nud permanent");
            Router.Run($"ip nexthop replace id {id} via {link} dev {device}");
        }
    }

    public override void Dispose()
    {
        base.Dispose();
        Router.Try("ip -6 route del fd72::/16");
        Router.Try("ip nexthop del id 10");
        Router.Try($"ip -6 rule del {ProtocolRule}");
        Router.Sysctl((Policy, "0"), (Fields, "7"));
    }

    /// <summary>The same packets are one flow for Linux alone, and with the product.</summary>
    [Fact]
    public void PoliciesTellFlowsApartAsLinuxDoes()
    {
        if (Lab.ProductStarted)
        {
            Lab.StopProduct();
        }

        byte[][] ports = [.. Enumerable.Range(0, Flows).Select(f => Udp(f, port: 1024 + f))];
        byte[][] hosts = [.. Enumerable.Range(0, Flows).Select(f => Udp(f, host: f))];
        byte[][] labels = [.. Enumerable.Range(0, Flows).Select(f => Udp(f, label: f))];
        byte[][] inner = [.. Enumerable.Range(0, Flows).Select(f => Tunnelled(f, host: f))];
        byte[][] innerPorts = [.. Enumerable.Range(0, Flows).Select(f => Tunnelled(f, port: 1000 + f))];
        byte[][] errors = [.. Enumerable.Range(0, Flows).Select(ErrorFrom)];
        byte[][] echoes = [.. Enumerable.Range(0, Flows).Select(f => Echo(f, label: 0x12300 + f))];
        byte[][] fragments = [.. Enumerable.Range(0, Flows).Select(f => Echo(f, label: 0x12300 + f, fragment: true))];
        List<(string Policy, string Fields, string What, byte[][] Frames, int Ways)> cases =
        [
            ("0", "7", "echoes", echoes, 2),
            ("0", "7", "fragments of echoes", fragments, 2),
            ("0", "7", "ports", ports, 1),
            ("0", "7", "hosts", hosts, 2),
            ("0", "7", "labels", labels, 2),
            ("0", "7", "inner addresses", inner, 1),
            ("0", "7", "errors about one flow", errors, 1),
            ("1", "7", "ports", ports, 2),
            ("1", "7", "labels", labels, 1),
            ("1", "7", "inner addresses", inner, 1),
            ("1", "7", "errors about one flow", errors, 2),
            ("2", "7", "ports", ports, 1),
            ("2", "7", "inner addresses", inner, 2),
            ("2", "7", "inner ports", innerPorts, 1),
            ("3", "2", "ports", ports, 1),
            ("3", "2", "hosts", hosts, 2),
            ("3", "8", "labels", labels, 2),
            ("3", "8", "hosts", hosts, 1),
            ("3", "16", "ports", ports, 2),
            ("3", "16", "hosts", hosts, 1),
            ("3", "32", "ports", ports, 1),
            ("3", "1024", "inner ports", innerPorts, 2),
            ("3", "64", "inner ports", innerPorts, 1),
        ];
        // Neither in the interfaces' order nor of one weight: who gets which part of the hashes has to be Linux's.
        Router.Run("ip -6 route add fd72::/16 nexthop via fd03::12 weight 3 nexthop via fd02::11 weight 2");
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
                Try(ours, policy, fields, what, frames, expected);
            }

            Router.Run($"ip -6 rule add {ProtocolRule}");
            Try(ours, "0", "7", "echoes with a rule", echoes, 2);
            Try(ours, "0", "7", "fragments of echoes with a rule", fragments, 2);
            Try(ours, "0", "7", "errors about one flow with a rule", errors, 1);
            Try(ours, "0", "7", "labels with a rule", labels, 2);
            Router.Run($"ip -6 rule del {ProtocolRule}");
        }

        Assert.NotEqual(linuxs["policy 0 fields 7, echoes"], linuxs["policy 0 fields 7, echoes with a rule"]);

        void Try(bool ours, string policy, string fields, string what, byte[][] frames, int expected)
        {
            Router.Sysctl((Policy, policy), (Fields, fields));
            Thread.Sleep(ours ? 250 : 20); // the setting is polled
            Dictionary<int, string> ways = ours ? OursOf(frames) : FlowPaths.Of6(Lab, frames);
            FlowPaths.AssertLinuxs(linuxs, $"policy {policy} fields {fields}, {what}", ways, Flows, expected, ours);
        }
    }

    [Theory]
    [InlineData(0, 3, 1)]
    [InlineData(1, 1, 4)]
    public void WeightsAreKeptWithinTwoPercentOverTenThousandFlows(int policy, int weight0, int weight1)
    {
        const int Many = 10_000;
        _ = Product;
        Router.Sysctl((Policy, $"{policy}"));
        Router.Run($"ip -6 route add fd72::/16 nexthop via fd02::11 weight {weight0} nexthop via fd03::12 weight {weight1}");
        Product.WaitVerified(3);
        Thread.Sleep(400);
        Dictionary<int, string> ways = OursOf(Enumerable.Range(0, Many).Select(f => policy == 0 ? Udp(f, host: f) : Udp(f, port: 1024 + f)));
        Assert.Equal(Many, ways.Count);
        double share = ways.Values.Count(w => w.StartsWith("s0", StringComparison.Ordinal)) / (double)Many;
        Assert.InRange(share - (weight0 / (double)(weight0 + weight1)), -0.02, 0.02);
    }

    [Fact]
    public void RemovedMemberOfAResilientGroupTakesOnlyItsOwnFlowsAway()
    {
        _ = Product;
        Router.Run("ip nexthop replace id 10 group 1/2/3 type resilient buckets 64 idle_timer 0");
        Router.Run("ip -6 route add fd72::/16 nhid 10");
        Product.WaitVerified(3);
        Dictionary<int, string> before = OursOf(Many());
        AssertSpread(before, First, Second, Third);
        Router.Run("ip nexthop del id 3");
        Product.WaitVerified(3);
        Dictionary<int, string> after = OursOf(Many());
        AssertSpread(after, First, Second);
        Assert.Equal(0, before.Count(b => !b.Value.EndsWith(Third, StringComparison.Ordinal) && after[b.Key] != b.Value));

        // A worker that starts anew tells flows apart as the one before it.
        int pid = Product.PidOf("fastpath");
        Lab.Lab.Host($"kill -9 {pid}");
        Wait.Until(() => Product.Status() is { Synced: true, State: "healthy" } s && s.Daemons.Single(d => d.Name == "fastpath").Pid != pid, TimeSpan.FromSeconds(20), "fastpath is back");
        Assert.Equal(after.OrderBy(w => w.Key), OursOf(Many()).OrderBy(w => w.Key));

        static IEnumerable<int> Numbers() => Enumerable.Range(0, 2000);
        IEnumerable<byte[]> Many() => Numbers().Select(f => Udp(f, host: f));
    }

    private static void AssertSpread(Dictionary<int, string> ways, params string[] macs) =>
        Assert.Equal(macs.Order(), ways.Values.Select(w => w.Split(' ')[1]).Distinct().Order());

    /// <summary>The ways that the fast path chose: Linux forwarded none of these packets.</summary>
    private Dictionary<int, string> OursOf(IEnumerable<byte[]> frames)
    {
        CounterReport before = Product.Stats().Total;
        Dictionary<int, string> ways = FlowPaths.Of6(Lab, frames);
        CounterReport after = Product.TotalOnceForwarded(before, (ulong)ways.Count);
        Assert.True(after.Forwarded - before.Forwarded >= (ulong)ways.Count, $"{ways.Count} came through, the fast path forwarded only {after.Forwarded - before.Forwarded}: {after.Describe()}");
        return ways;
    }

    private byte[] Udp(int flow, int host = 0, int port = 7, int label = 0) =>
        Lab.FromClient().Ipv6("fd01::2", $"fd72::{host + 1:x}", flowLabel: label).Udp((ushort)port, 9, FlowPaths.Number(flow)).Build();

    /// <summary>UDP over IPv4 in IPv6, to one host.</summary>
    private byte[] Tunnelled(int flow, int host = 0, int port = 7)
    {
        byte[] inner = new PacketBuilder().Ipv4($"30.0.{host}.1", "30.9.9.9").Udp((ushort)port, 9, FlowPaths.Number(flow)).Build();
        return Lab.FromClient().Ipv6("fd01::2", "fd72::1", protocol: 4).Raw(inner).Build();
    }

    private byte[] Echo(int flow, int label, bool fragment = false)
    {
        byte[] echo = [128, 0, 0, 0, 0, 1, 0, 1, .. FlowPaths.Number(flow)];
        return Lab.FromClient().Ipv6("fd01::2", "fd72::1", protocol: (byte)(fragment ? 44 : 58), flowLabel: label).Raw(fragment ? [58, 0, 0, 0, 0, 0, 0, 1, .. echo] : echo).Build();
    }

    /// <summary>"Port unreachable" from a host of its own, always about the same flow.</summary>
    private byte[] ErrorFrom(int host)
    {
        byte[] about = Lab.FromClient().Ipv6("fd72::1", "fd01::2").Udp(7, 9, [1, 2, 3, 4]).Build()[PacketBuilder.EtherLength..];
        return Lab.FromClient().Ipv6($"fd01::{host + 0x100:x}", "fd72::1", protocol: 58).Raw([1, 4, 0, 0, 0, 0, 0, 0, .. about, .. FlowPaths.Number(host)]).Build();
    }
}
