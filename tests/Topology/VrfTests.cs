using System.Text.Json;
using FastPathSync.Linux;

namespace FastPathSync.Topology;

/// <summary>One system serves ports in two namespaces that have the same addresses, and none in its own.</summary>
public sealed class VrfTests(VrfLab lab) : IClassFixture<VrfLab>, IDisposable
{
    private const double ComesBackSeconds = 5;

    private Product Product => lab.Product;

    public void Dispose() => TopologyTest.ExplainFailure(lab.Lab, lab.ProductStarted ? lab.Product : null);

    [Fact]
    public void SameAddressesAreForwardedEachInItsVrf()
    {
        CounterReport before = Product.SettledTotal();
        ulong blueKernel = lab.Blue.Router.Snmp("Ip", "ForwDatagrams"), redKernel = lab.Red.Router.Snmp("Ip", "ForwDatagrams");
        using UdpFlow blue = lab.Blue.StartFlow(rate: 3_000, limit: 6_000);
        using UdpFlow red = lab.Red.StartFlow(rate: 2_000, limit: 4_000);
        FlowReport inBlue = blue.Finish(), inRed = red.Finish();
        Assert.True(inBlue is { Missing: <= 6, Duplicates: 0 }, $"blue: {inBlue}");
        Assert.True(inRed is { Missing: <= 4, Duplicates: 0 }, $"red: {inRed}");
        CounterReport after = Product.SettledTotal();
        Assert.True(after.Forwarded - before.Forwarded >= 9_980, $"forwarded counts {after.Forwarded - before.Forwarded} of 10000; {after.Describe()}");
        Assert.True(lab.Blue.Router.Snmp("Ip", "ForwDatagrams") - blueKernel < 100, "Linux forwarded in blue");
        Assert.True(lab.Red.Router.Snmp("Ip", "ForwDatagrams") - redKernel < 100, "Linux forwarded in red");
        Product.AssertConserved();
    }

    [Fact]
    public void WhatArrivesInEachVrfIsByteForByteWhatItsKernelDelivers()
    {
        byte[][] inBlue = RandomPackets.Forwardable(lab.Blue, seed: 20261121, count: 300), inRed = RandomPackets.Forwardable(lab.Red, seed: 20261122, count: 300);
        Product.Stop();
        List<byte[]> blueKernel = RandomPackets.SendThrough(lab.Blue, inBlue), redKernel = RandomPackets.SendThrough(lab.Red, inRed);
        Assert.Equal((300, 300), (blueKernel.Count, redKernel.Count));
        Product.Start(lab.StartOptions);
        CounterReport before = Product.SettledTotal();
        List<byte[]> blue = RandomPackets.SendThrough(lab.Blue, inBlue), red = RandomPackets.SendThrough(lab.Red, inRed);
        RandomPackets.AssertSame(blueKernel, blue);
        RandomPackets.AssertSame(redKernel, red);
        Assert.True(Product.SettledTotal().Forwarded - before.Forwarded >= 600, "the fast path forwarded them");
    }

    [Fact]
    public void ExplainAsksTheTablesAndTheKernelOfThePortsVrf()
    {
        (string port, string other) = (VrfLab.Port(lab.Red, "r0"), VrfLab.Port(lab.Red, "r1"));
        JsonElement e = Product.Show($"explain --port {port} --src 10.1.0.2 --dst {RouterLab.Target}")[0];
        Assert.Equal((port, other), (e.GetProperty("port").GetString(), e.GetProperty("out").GetString()));
        Assert.True(e.GetProperty("agrees").GetBoolean());
        lab.Red.Router.Run("ip route add blackhole 10.9.77.0/24");
        Product.WaitVerified(5);
        e = Product.Show($"explain --port {port} --src 10.1.0.2 --dst 10.9.77.1")[0];
        Assert.Equal(("blackhole", true), (e.GetProperty("reason").GetString(), e.GetProperty("agrees").GetBoolean()));
        e = Product.Show($"explain --vrf {lab.Blue.Router.Name} --src 10.1.0.2 --dst 10.9.77.1")[0];
        Assert.Equal((VrfLab.Port(lab.Blue, "r0"), "forward"), (e.GetProperty("port").GetString(), e.GetProperty("verdict").GetString()));
        lab.Red.Router.Run("ip route del blackhole 10.9.77.0/24");
    }

    [Fact]
    public void ExceptionsAreAnsweredInTheirOwnVrf()
    {
        _ = Product;
        byte[] frame = lab.Red.FromClient().Ipv4("10.1.0.2", RouterLab.Target, ttl: 1).Udp(7, 8, [1, 2, 3]).Build();
        CounterReport before = Product.SettledTotal();
        using PacketSocket red = lab.Red.Client.OpenPacketSocket("c0"), blue = lab.Blue.Client.OpenPacketSocket("c0");
        red.Send(frame);
        byte[] answer = Assert.Single(red.TakeWhenQuiet(1).Select(f => f.Bytes), f => f[PacketBuilder.EtherLength + 9] == 1);
        Assert.Equal(11, answer[PacketBuilder.EtherLength + 20]); // ICMP time exceeded
        Assert.DoesNotContain(blue.Take(), f => f.Bytes[PacketBuilder.EtherLength + 9] == 1);
        Assert.Equal(before.PuntedBy("ttl-expired") + 1, Product.SettledTotal().PuntedBy("ttl-expired"));
    }

    [Fact]
    public void ANeighbourIsResolvedInItsOwnVrf()
    {
        _ = Product;
        lab.Red.Router.Run("ip neigh flush dev r1");
        Product.WaitVerified(2);
        CounterReport before = Product.SettledTotal();
        byte[] frame = lab.Red.FromClient().Ipv4("10.1.0.2", RouterLab.Target).Udp(1, RouterLab.SilentPort, [9]).Build();
        using PacketSocket red = lab.Red.Client.OpenPacketSocket("c0");
        using PacketSocket server = lab.Red.Server.OpenPacketSocket("s0");
        red.Send(frame);
        Assert.Contains(server.TakeWhenQuiet(1), f => f.Bytes.AsSpan(PacketBuilder.EtherLength + 12, 8).SequenceEqual(frame.AsSpan(PacketBuilder.EtherLength + 12, 8)));
        CounterReport after = Product.SettledTotal();
        Assert.InRange(after.PuntedBy("no-neighbour") - before.PuntedBy("no-neighbour"), 0ul, 1ul);
        Product.WaitVerified(2);
    }

    [Fact]
    public void FpctlShowsEachVrf()
    {
        Product.WaitVerified(ComesBackSeconds);
        string blue = lab.Blue.Router.Name, red = lab.Red.Router.Name;
        Assert.Equal([blue, blue, red, red], Product.Status().Ports.Select(p => p.Vrf));
        Assert.Equal(["up", "up", "up", "up"], Product.Status().Ports.Select(p => p.State));
        Assert.Equal([blue, red], Product.Show("vrf show").EnumerateArray().Where(v => v.GetProperty("ports").GetInt32() == 2).Select(v => v.GetProperty("name").GetString()).Order());
        lab.Red.Router.Run("ip route add 10.77.0.0/16 via 10.2.0.2");
        Product.WaitVerified(2);
        Assert.Contains("10.77.0.0/16", Routes(red));
        Assert.DoesNotContain("10.77.0.0/16", Routes(blue));
        Assert.DoesNotContain("10.77.0.0/16", Product.Show("route show").EnumerateArray().Select(r => r.GetProperty("dst").GetString()));
        Assert.Equal("forward", Product.Show($"route get 10.77.1.1 --vrf {red}").GetProperty("fastpath").GetString());
        Assert.Equal("punt", Product.Show($"route get 10.77.1.1 --vrf {blue}").GetProperty("fastpath").GetString());
        lab.Red.Router.Run("ip route del 10.77.0.0/16");

        IEnumerable<string?> Routes(string vrf) => Product.Show($"route show --vrf {vrf}").EnumerateArray().Select(r => r.GetProperty("dst").GetString());
    }

    [Fact]
    public void ADemotionIsOfItsVrfAlone()
    {
        _ = Product;
        lab.Red.Router.Run("iptables -A FORWARD -s 192.0.2.1 -j DROP");
        try
        {
            Wait.Until(() => Product.Status().Demotions.Any(d => d.Vrf == lab.Red.Router.Name), TimeSpan.FromSeconds(3), "status lists the demotion of red");
            Assert.DoesNotContain(Product.Status().Demotions, d => d.Vrf != lab.Red.Router.Name);
            ulong blueKernel = lab.Blue.Router.Snmp("Ip", "ForwDatagrams"), redKernel = lab.Red.Router.Snmp("Ip", "ForwDatagrams");
            using UdpFlow blue = lab.Blue.StartFlow(rate: 1_000, limit: 500, port: 5020);
            using UdpFlow red = lab.Red.StartFlow(rate: 1_000, limit: 500, port: 5020);
            Assert.True(blue.Finish().Missing <= 1 && red.Finish().Missing <= 1);
            Assert.True(lab.Blue.Router.Snmp("Ip", "ForwDatagrams") - blueKernel < 50, "the fast path forwards in blue");
            Assert.True(lab.Red.Router.Snmp("Ip", "ForwDatagrams") - redKernel > 450, "Linux forwards in red");
        }
        finally
        {
            lab.Red.Router.Run("iptables -F FORWARD");
        }

        Wait.Until(() => Product.Status().Demotions.Length == 0, TimeSpan.FromSeconds(3), "the demotion ends");
    }

    [Fact]
    public void ANamespaceDeletedUnderTrafficGoesAloneAndIsServedAgainWhenItReturns()
    {
        _ = Product;
        using UdpFlow blue = lab.Blue.StartFlow(rate: 5_000, port: 5030);
        UdpFlow red = lab.Red.StartFlow(rate: 2_000, port: 5030);
        blue.WaitFlowing();
        red.WaitFlowing();
        lab.Lab.Host($"ip netns delete {lab.Red.Router.Name}").MustSucceed();
        Wait.Until(() => Product.Status().Ports.Count(p => p.State == "gone") == 2, TimeSpan.FromSeconds(3), "the ports of red are gone");

        // The namespace itself has gone, and not only its name: its end of the cable took ours with it.
        Wait.Until(() => !lab.Red.Client.Try("ip link show dev c0").Ok, TimeSpan.FromSeconds(5), "nothing keeps the namespace alive");
        Assert.DoesNotContain(Product.Show("vrf show").EnumerateArray(), v => v.GetProperty("name").GetString() == lab.Red.Router.Name);
        red.Stop();
        red.Dispose();

        lab.RemakeRedRouter();
        Wait.Until(() => Product.Status() is { State: "healthy" } s && s.Ports.All(p => p.State == "up"), TimeSpan.FromSeconds(ComesBackSeconds), "red is served again");
        Product.WaitVerified(ComesBackSeconds);
        ulong kernel = lab.Red.Router.Snmp("Ip", "ForwDatagrams");
        using UdpFlow again = lab.Red.StartFlow(rate: 2_000, port: 5031, limit: 2_000);
        FlowReport inRed = again.Finish();
        Assert.True(inRed.Missing <= 2, $"red, made anew: {inRed}");
        Assert.True(lab.Red.Router.Snmp("Ip", "ForwDatagrams") - kernel < 100, "the fast path forwards in red again");
        FlowReport inBlue = blue.Stop();
        Assert.True(inBlue is { Missing: 0, Duplicates: 0 }, $"blue must not notice: {inBlue}");
        Product.AssertConserved();
    }

    [Theory]
    [InlineData("cmgrd")]
    [InlineData("fpmd")]
    [InlineData("hitflagsd")]
    [InlineData("supervisor")]
    public void KillingADaemonLosesNoPacketInAnyVrf(string daemon)
    {
        (FlowReport blue, FlowReport red) = Kill(daemon);
        Assert.True(blue is { Missing: 0, Duplicates: 0 } && red is { Missing: 0, Duplicates: 0 }, $"blue: {blue}; red: {red}");
    }

    [Fact]
    public void KillingTheFastPathInterruptsForLessThan100MillisecondsInEachVrf()
    {
        (FlowReport blue, FlowReport red) = Kill("fastpath");
        Assert.True(blue.LongestGap < TimeSpan.FromMilliseconds(100) && red.LongestGap < TimeSpan.FromMilliseconds(100), $"blue: {blue}; red: {red}");
        Product.AssertConserved();
    }

    [Theory]
    [InlineData("--port {red}/r0 --port {red}/r0", "is given twice", 2)]
    [InlineData("--port nowhere/r0", "there is no VRF (network namespace) 'nowhere'", 1)]
    [InlineData("--port {red}/eth9", "no such interface in VRF '{red}'", 1)]
    [InlineData("--port r0", "it is in '", 1)]
    [InlineData("--port {red}/b/c", "no such interface", 1)]
    [InlineData("--port ../r0", "is no name of a VRF", 2)]
    [InlineData("--port {red}/r0 --vrfs a/b", "is no name of a VRF", 2)]
    public void AWrongStartIsRefusedInOneClearLine(string options, string says, int status)
    {
        Product other = new(lab.Home);
        CommandResult result = other.Fpctl($"start {options.Replace("{red}", lab.Red.Router.Name, StringComparison.Ordinal)}");
        Assert.Contains(says.Replace("{red}", lab.Red.Router.Name, StringComparison.Ordinal), result.Error);
        Assert.Equal(status, result.ExitCode);
        Assert.Single(result.Error.Trim().Split('\n'));
        Assert.False(Directory.Exists(other.Directory));
    }

    [Theory]
    [InlineData("route show")]
    [InlineData("status")]
    [InlineData("verify")]
    [InlineData("vrf show")]
    public void AnUnknownVrfIsRefusedInOneClearLine(string command)
    {
        CommandResult result = Product.Fpctl($"{command} --vrf nowhere");
        Assert.Equal(2, result.ExitCode);
        Assert.Contains("vrf 'nowhere'", result.Error);
        Assert.Single(result.Error.Trim().Split('\n'));
    }

    private (FlowReport Blue, FlowReport Red) Kill(string daemon)
    {
        int pid = Product.PidOf(daemon);
        using UdpFlow blue = lab.Blue.StartFlow(rate: 3_000, port: 5040), red = lab.Red.StartFlow(rate: 3_000, port: 5040);
        blue.WaitFlowing();
        red.WaitFlowing();
        _ = Libc.kill(pid, Libc.SIGKILL);
        Wait.Until(() => Product.Status() is { State: "healthy" } s && s.Daemons.Single(d => d.Name == daemon).Pid != pid, TimeSpan.FromSeconds(ComesBackSeconds), $"{daemon} is back");
        Product.WaitVerified(ComesBackSeconds);
        Assert.Equal(["up", "up", "up", "up"], Product.Status().Ports.Select(p => p.State));
        return (blue.Stop(), red.Stop());
    }
}
