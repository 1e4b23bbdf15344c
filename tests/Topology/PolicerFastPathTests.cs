using System.Text.Json;

namespace FastPathSync.Topology;

/// <summary>A policer beside the fast path: where Linux forwards through it, it works; the fast path never goes past one on ingress.</summary>
public sealed class PolicerFastPathTests(RouterLab lab) : TopologyTest(lab), IClassFixture<RouterLab>
{
    public override void Dispose()
    {
        Fpctl("del --all").MustSucceed();
        Wait.Until(() => Product.Status().Demotions.Length == 0, TimeSpan.FromSeconds(2), "the demotion ends with the policer");
        base.Dispose();
    }

    /// <summary>It is a tc filter like any other: Linux takes the port's traffic, and polices it.</summary>
    [Fact]
    public void OnAPortsIngressItDemotesThePortAndHolds()
    {
        const int Burst = 50;
        _ = Product;
        using UdpFlow flow = Lab.StartFlow(rate: 1_000, port: 5000);
        flow.WaitFlowing();
        Fpctl($"add --dev r0 --rate 1 --burst {Burst} --match udp,dport={RouterLab.SilentPort}").MustSucceed();
        Wait.Until(() => Product.Status().Demotions.Any(d => d.Object == "tc filter dev r0 ingress"), TimeSpan.FromSeconds(1), "status lists the filter");
        SendToSilent(500);
        JsonElement policer = Assert.Single(Show());
        Assert.Equal(500ul, Number(policer, "passed") + Number(policer, "dropped"));
        Assert.InRange(Number(policer, "passed"), (ulong)Burst, (ulong)Burst + 3);
        Fpctl("del --dev r0").MustSucceed();
        Wait.Until(() => Product.Status().Demotions.Length == 0, TimeSpan.FromSeconds(2), "the demotion ends with the policer");
        FlowReport report = flow.Stop();
        Assert.True(report.Missing == 0, $"demoting and back lost packets: {report}");
    }

    /// <summary>On a port's egress: what Linux itself sends passes it, what the fast path sends doesn't, and status says so.</summary>
    [Fact]
    public void OnAPortsEgressItSeesWhatLinuxSends()
    {
        _ = Product;
        Fpctl("add --dev r0 --direction egress --rate 1 --burst 5 --per class --match icmp").MustSucceed();
        Wait.Until(
            () => Product.Show("status").GetProperty("bypassed").EnumerateArray().Any(b => b.GetProperty("object").GetString() == "tc filter dev r0 egress"),
            TimeSpan.FromSeconds(1),
            "status lists it as bypassed");
        Assert.Empty(Product.Status().Demotions);
        string ours = Client.Try("ping -q -c 30 -i 0.002 -w 1 10.1.0.1").Output; // Linux answers
        JsonElement policer = Assert.Single(Show());
        Assert.InRange(Number(policer, "passed"), 5ul, 8ul);
        Assert.True(Number(policer, "dropped") >= 20, ours);
        Assert.Contains(" 0% packet loss", Client.Run("ping -q -c 30 -i 0.002 -w 5 10.9.0.1").Output, StringComparison.Ordinal); // the fast path forwards these answers
    }

    /// <summary>
    /// On fpn0's egress (with --punt tap its ingress) it polices exceptions before they cost Linux anything: no demotion, the other punts go on, what passes is
    /// still injected, and a drop is none to the worker.
    /// </summary>
    [Fact]
    public void OnTheCarrierItLimitsExceptionsOfAKind()
    {
        const int Burst = 20, Flood = 3_000;
        _ = Product;
        Router.Run("ip route replace 10.9.7.0/24 via 10.2.0.2 mtu 600"); // too long for it, and fragmented by Linux
        Product.WaitVerified(3);
        string hook = StartDefaults.PuntsThroughTap ? "ingress" : "egress";
        Fpctl($"add --dev fpn0 --direction {hook} --rate 1 --burst {Burst} --per class --match ttl=1").MustSucceed();
        Assert.Empty(Product.Status().Demotions);
        CounterReport before = Product.SettledTotal();
        ulong errors = Router.Snmp("Icmp", "OutTimeExcds") + Router.Snmp("Icmp", "OutRateLimitGlobal") + Router.Snmp("Icmp", "OutRateLimitHost");
        using PacketSocket client = Client.OpenPacketSocket("c0"), server = Server.OpenPacketSocket("s0");
        byte[] expired = Lab.FromClient().Ipv4("10.1.0.2", RouterLab.Target, ttl: 1).Udp(1, RouterLab.SilentPort, [1]).Build();
        byte[] large = Lab.FromClient().Ipv4("10.1.0.2", "10.9.7.1").Udp(1, RouterLab.SilentPort, new byte[800]).Build();

        // Trains of forty that are policed, and one between that is not: the injector must not take the drops for a full device.
        client.Send(Enumerable.Range(0, Flood).Select(i => i % 41 == 40 ? large : expired), packetsPerSecond: 10_000);
        int innocent = Flood / 41, guilty = Flood - innocent;
        Assert.Equal(2 * innocent, server.TakeWhenQuiet(2 * innocent).Count(f => f.Bytes[PacketBuilder.EtherLength + 18] == 7));
        CounterReport after = Product.SettledTotal();
        Assert.Equal((ulong)guilty, after.PuntedBy("ttl-expired") - before.PuntedBy("ttl-expired"));
        Assert.Equal((ulong)innocent, after.PuntedBy("fragmentation-needed") - before.PuntedBy("fragmentation-needed"));
        Assert.Equal(before.DroppedTotal, after.DroppedTotal);

        JsonElement policer = Assert.Single(Show());
        Assert.Equal((ulong)guilty, Number(policer, "passed") + Number(policer, "dropped"));
        Assert.InRange(Number(policer, "passed"), (ulong)Burst, (ulong)Burst + 5);
        Assert.Equal((ulong)innocent, Number(policer, "unmatched"));

        // Linux saw those that passed, and no others: it answers them, or counts that it has answered enough.
        ulong seen = Router.Snmp("Icmp", "OutTimeExcds") + Router.Snmp("Icmp", "OutRateLimitGlobal") + Router.Snmp("Icmp", "OutRateLimitHost") - errors;
        Assert.InRange(seen, 1ul, Number(policer, "passed"));
        Product.AssertConserved();
        Router.Run("ip route del 10.9.7.0/24");
    }

    private void SendToSilent(int count)
    {
        using PacketSocket client = Client.OpenPacketSocket("c0");
        byte[] frame = Lab.FromClient().Ipv4("10.1.0.2", RouterLab.Target).Udp(1, RouterLab.SilentPort, [1, 2, 3]).Build();
        client.Send(Enumerable.Repeat(frame, count), packetsPerSecond: 5_000);
        client.TakeWhenQuiet(quietSeconds: 0.1);
    }

    private static ulong Number(JsonElement of, string key) => of.GetProperty(key).GetUInt64();

    private CommandResult Fpctl(string arguments) => Router.Try($"{Path.Combine(Repository.Out, "fpctl")} policer {arguments}");

    private JsonElement.ArrayEnumerator Show() => JsonDocument.Parse(Fpctl("show --json").MustSucceed().Output).RootElement.EnumerateArray();
}
