using System.Diagnostics;
using System.Text.Json;

namespace FastPathSync.Topology;

/// <summary>Policers on a router's interfaces, without the fast path: real floods, and what fpctl says.</summary>
public sealed class PolicerTests(RouterLab lab) : TopologyTest(lab), IClassFixture<RouterLab>
{
    private static readonly TimeSpan s_flood = TimeSpan.FromSeconds(4);

    public override void Dispose()
    {
        Fpctl("del --all").MustSucceed();
        base.Dispose();
    }

    [Fact]
    public void AFloodOfManySourcesIsHeldToTheRateAndTheRestPassesWhole()
    {
        const int Rate = 2_000, Burst = 400;
        Lab.WarmUp();
        Fpctl($"add --dev r0 --rate {Rate} --burst {Burst} --per class --match udp,dport={RouterLab.SilentPort}").MustSucceed();
        using UdpFlow flow = Lab.StartFlow(rate: 2_000, port: 5000);
        flow.WaitFlowing();
        using PacketSocket server = Server.OpenPacketSocket("s0");
        (int sent, double longest, double shortest) = Flood(sources: 1_000, packetsPerSecond: 12_000, s_flood);
        FlowReport report = flow.Stop();
        Assert.True(report.Missing == 0, $"what doesn't match lost packets: {report}");

        JsonElement policer = Assert.Single(Show("show"));
        ulong passed = policer.GetProperty("passed").GetUInt64(), dropped = policer.GetProperty("dropped").GetUInt64();
        Assert.Equal((ulong)sent, passed + dropped);
        Assert.True(policer.GetProperty("unmatched").GetUInt64() >= (ulong)report.Sent, "the flow was seen and left alone");

        // No more than B + d x Q, whatever the machine did meanwhile; and all but 5 % of Q, though the sender may have paused.
        Assert.True(passed <= Burst + (longest * Rate) + 1, $"{passed} passed in {longest:0.000} s");
        Assert.True(passed >= 0.95 * shortest * Rate, $"{passed} passed in {shortest:0.000} s");
        Assert.Equal((int)passed, server.TakeWhenQuiet((int)passed).Count(f => f.Bytes[PacketBuilder.EtherLength + 12] == 198));

        JsonElement only = Assert.Single(policer.GetProperty("flows").EnumerateArray());
        Assert.Equal(("class", passed, dropped), (only.GetProperty("source").GetString(), only.GetProperty("passed").GetUInt64(), only.GetProperty("dropped").GetUInt64()));
    }

    [Fact]
    public void EachSourceHasABucketOfItsOwn()
    {
        const int Burst = 5, Sources = 300, Each = 20;
        Lab.WarmUp();
        Fpctl($"add --dev r0 --rate 1 --burst {Burst} --per source --match dport={RouterLab.SilentPort} --flows 1000").MustSucceed();
        using PacketSocket client = Client.OpenPacketSocket("c0");
        Stopwatch clock = Stopwatch.StartNew();
        byte[][] frames = [.. Enumerable.Range(0, Sources).Select(i => i % 3 == 0 ? From6($"2001:db8::{i + 1:x}") : From($"198.18.{i / 256}.{i % 256}"))];
        client.Send(Enumerable.Range(0, Sources * Each).Select(i => frames[i % Sources]), packetsPerSecond: 20_000);
        client.TakeWhenQuiet(quietSeconds: 0.1);
        int most = Burst + (int)clock.Elapsed.TotalSeconds + 1;

        JsonElement policer = Assert.Single(Show("show --dev r0 --flows"));
        Assert.Equal((300, 1000), (policer.GetProperty("flowsKnown").GetInt32(), policer.GetProperty("flowsMax").GetInt32()));
        JsonElement[] flows = [.. policer.GetProperty("flows").EnumerateArray()];
        Assert.Equal(Sources, flows.Select(f => f.GetProperty("source").GetString()).Distinct().Count());
        Assert.All(flows, f =>
        {
            Assert.Equal((ulong)Each, f.GetProperty("passed").GetUInt64() + f.GetProperty("dropped").GetUInt64());
            Assert.InRange(f.GetProperty("passed").GetInt32(), Burst, most);
        });
        Assert.Contains(flows, f => f.GetProperty("source").GetString() == "2001:db8::1");
        Assert.Contains(flows, f => f.GetProperty("state").GetString() == "exceeding" && f.GetProperty("windowStartMs").GetDouble() > -60_000);
        Assert.Equal(10, Assert.Single(Show("show")).GetProperty("flows").GetArrayLength());
        Assert.Equal(3, Assert.Single(Show("show --flows 3")).GetProperty("flows").GetArrayLength());
        Assert.Contains("exceeding", Fpctl("show").MustSucceed().Output, StringComparison.Ordinal);
    }

    /// <summary>Both see the packets: a pass is no end of classification. And each direction has its own.</summary>
    [Fact]
    public void PolicersOfOneHookFollowEachOther()
    {
        Lab.WarmUp();
        Fpctl("add --dev r0 --rate 1 --burst 100 --per source --match icmp --priority 2").MustSucceed();
        Fpctl("add --dev r0 --rate 1 --burst 7 --per class --match icmp --priority 3").MustSucceed();
        Fpctl("add --dev r1 --direction egress --rate 1 --burst 4 --per class --match icmp --priority 3").MustSucceed();
        Client.Try("ping -q -c 20 -i 0.002 -W 1 10.9.0.7");
        JsonElement[] all = [.. Show("show")];
        Assert.Equal(["r0 ingress 2", "r0 ingress 3", "r1 egress 3"], all.Select(p => $"{p.GetProperty("dev")} {p.GetProperty("direction")} {p.GetProperty("priority")}"));
        ulong[] passed = [.. all.Select(p => p.GetProperty("passed").GetUInt64())];
        Assert.Equal(20ul, passed[0]);
        Assert.InRange(passed[1], 7ul, 10ul);
        Assert.InRange(passed[2], 4ul, 7ul);
        Assert.Equal(passed[0], passed[1] + all[1].GetProperty("dropped").GetUInt64());
        Assert.Equal(passed[1], passed[2] + all[2].GetProperty("dropped").GetUInt64());
    }

    [Fact]
    public void DelRemovesTheFilterAndLeavesClsactToWhoeverElseUsesIt()
    {
        Fpctl("add --dev r2 --rate 10 --burst 1").MustSucceed();
        Router.Run("tc filter add dev r2 ingress prio 500 protocol ip u32 match ip dport 80 0xffff");
        Fpctl("add --dev r2 --rate 10 --burst 1 --priority 7 --direction egress").MustSucceed();
        Assert.Contains("fps_policer", Router.Run("tc filter show dev r2 ingress").Output, StringComparison.Ordinal);
        Fpctl("del --dev r2 --direction ingress").MustSucceed();
        Assert.DoesNotContain("fps_policer", Router.Run("tc filter show dev r2 ingress").Output, StringComparison.Ordinal);
        Assert.Contains("u32", Router.Run("tc filter show dev r2 ingress").Output, StringComparison.Ordinal);
        Assert.Contains("fps_policer", Router.Run("tc filter show dev r2 egress").Output, StringComparison.Ordinal);
        Fpctl("del --dev r2 --priority 7").MustSucceed();
        Assert.Empty(Show("show"));
        Assert.Contains("clsact", Router.Run("tc qdisc show dev r2").Output, StringComparison.Ordinal);
        Router.Run("tc qdisc del dev r2 clsact");
    }

    [Fact]
    public void AnotherNamespaceIsNamedByVrf()
    {
        string fpctl = Path.Combine(Repository.Out, "fpctl");
        Lab.Lab.Host($"{fpctl} policer add --dev s1 --vrf {Server.Name} --rate 5k/s --burst 10 --match arp").MustSucceed();
        Assert.Contains("fps_policer", Server.Run("tc filter show dev s1 ingress").Output, StringComparison.Ordinal);
        Assert.Contains("5000/s", Lab.Lab.Host($"{fpctl} policer show --vrf {Server.Name}").MustSucceed().Output, StringComparison.Ordinal);
        Assert.Empty(Show("show"));
        Lab.Lab.Host($"{fpctl} policer del --all --vrf {Server.Name}").MustSucceed();
        Assert.DoesNotContain("fps_policer", Server.Run("tc filter show dev s1 ingress").Output, StringComparison.Ordinal);
        OneLine(Lab.Lab.Host($"{fpctl} policer show --vrf no-such"), 1, "vrf 'no-such'", "ip netns");
    }

    [Fact]
    public void WhatCantBeDoneIsSaidInOneLine()
    {
        Fpctl("add --dev r2 --rate 10 --burst 1").MustSucceed();
        OneLine(Fpctl("add --dev r2 --rate 20 --burst 1"), 1, "'r2' has a policer on ingress with priority 100 already", "fpctl policer del --dev r2 --direction ingress --priority 100");
        Router.Run("tc filter add dev r2 egress prio 100 protocol ip u32 match ip dport 80 0xffff");
        OneLine(Fpctl("add --dev r2 --rate 20 --burst 1 --direction egress"), 1, "'r2' has a tc filter (u32) on egress with priority 100 already", "another --priority");
        OneLine(Fpctl("add --dev nosuch0 --rate 10 --burst 1"), 1, "'nosuch0'", "ip link");
        OneLine(Fpctl("show --dev nosuch0"), 1, "'nosuch0'", "ip link");
        OneLine(Fpctl("add --dev r2 --rate fast --burst 1"), 2, "--rate fast", "such as 100");
        OneLine(Fpctl("add --dev r2 --rate 10 --burst 0"), 2, "--burst 0");
        OneLine(Fpctl("add --dev r2 --rate 10 --burst 1 --match sctp"), 2, "--match sctp", "dport=N");
        OneLine(Fpctl("add --dev r2 --rate 10 --burst 1 --per flow"), 2, "--per flow", "source, class");
        OneLine(Fpctl("add --dev r2 --rate 10 --burst 1 --priority 0"), 2, "--priority 0");
        OneLine(Fpctl("add --dev r2 --rate 10 --burst 1 --flows 1"), 2, "--flows 1");
        OneLine(Fpctl("add --dev r2 --burst 1"), 2, "--rate");
        OneLine(Fpctl("add --rate 10 --burst 1"), 2, "--dev");
        OneLine(Fpctl("del"), 2, "--dev IF", "--all");
        OneLine(Fpctl("del --dev r2 --priority 9"), 1, "'r2' has no policer with priority 9", "fpctl policer show");
        OneLine(Fpctl("del --dev r1 --direction egress"), 1, "'r1' has no policer on egress");
        OneLine(Fpctl("show --dev r1"), 1, "'r1' has no policer");
        Fpctl("del --dev r2").MustSucceed();
        OneLine(Fpctl("del --dev r2"), 1, "'r2' has no policer");
        Router.Run("tc qdisc del dev r2 clsact");
        Router.Run("tc qdisc add dev r2 ingress");
        OneLine(Fpctl("add --dev r2 --rate 10 --burst 1 --direction egress"), 1, "'r2' has the qdisc 'ingress'", "tc qdisc del dev r2 ingress");
        Fpctl("add --dev r2 --rate 10 --burst 1").MustSucceed();
        Assert.Single(Show("show"));
        Router.Run("tc qdisc del dev r2 ingress");
    }

    [Fact]
    public void NoCapabilities()
    {
        Require.Tools("setpriv");
        CommandResult result = Router.Try(
            ["setpriv", "--inh-caps=-all", "--bounding-set=-all", Path.Combine(Repository.Out, "fpctl"), "policer", "add", "--dev", "r0", "--rate", "1", "--burst", "1"]);
        OneLine(result, 1, "root");
    }

    /// <summary>UDP from ever other sources. How many packets, and the longest and the shortest span of time in which they all arrived.</summary>
    private (int Sent, double Longest, double Shortest) Flood(int sources, int packetsPerSecond, TimeSpan span)
    {
        byte[][] frames = [.. Enumerable.Range(0, sources).Select(i => From($"198.18.{i / 256}.{i % 256}"))];
        using PacketSocket client = Client.OpenPacketSocket("c0");
        int count = (int)(span.TotalSeconds * packetsPerSecond);
        Stopwatch clock = Stopwatch.StartNew();
        client.Send(Enumerable.Range(0, count).Select(i => frames[i % sources]), packetsPerSecond);
        double sending = clock.Elapsed.TotalSeconds;
        Wait.Until(
            () => Assert.Single(Show("show")) is JsonElement p && p.GetProperty("passed").GetUInt64() + p.GetProperty("dropped").GetUInt64() >= (ulong)count,
            TimeSpan.FromSeconds(3),
            $"all of the {count} packets are judged");
        return (count, clock.Elapsed.TotalSeconds, sending);
    }

    private byte[] From(string source) => Lab.FromClient().Ipv4(source, RouterLab.Target).Udp(1, RouterLab.SilentPort, [1, 2, 3]).Build();

    private byte[] From6(string source) => Lab.FromClient().Ipv6(source, "2001:db8:1::1").Udp(1, RouterLab.SilentPort, [1, 2, 3]).Build();

    private CommandResult Fpctl(string arguments) => Router.Try($"{Path.Combine(Repository.Out, "fpctl")} policer {arguments}");

    private JsonElement.ArrayEnumerator Show(string arguments) => JsonDocument.Parse(Fpctl($"{arguments} --json").MustSucceed().Output).RootElement.EnumerateArray();

    private static void OneLine(CommandResult result, int exitCode, params string[] says)
    {
        Assert.True(result.ExitCode == exitCode, $"{result.CommandLine}: exit code {result.ExitCode}, expected {exitCode}: {result.Error.Trim()}");
        string line = Assert.Single(result.ErrorLines);
        Assert.All(says, s => Assert.Contains(s, line, StringComparison.Ordinal));
    }
}
