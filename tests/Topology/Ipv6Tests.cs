using System.Globalization;
using System.Text.Json;

namespace FastPathSync.Topology;

public sealed class Ipv6Native(Ipv6Lab lab) : Ipv6Tests(lab), IClassFixture<Ipv6Lab>;

public sealed class Ipv6InGenericMode(Ipv6InGenericMode.GenericLab lab) : Ipv6Tests(lab), IClassFixture<Ipv6InGenericMode.GenericLab>
{
    public sealed class GenericLab : Ipv6Lab
    {
        public override string StartOptions => base.StartOptions + " --mode generic --punt tap";
    }
}

/// <summary>IPv6 through the whole system, against what the kernel did with the same packets.</summary>
public abstract class Ipv6Tests(Ipv6Lab lab) : TopologyTest(lab)
{
    [Fact]
    public void WhatArrivesIsByteForByteWhatTheKernelDelivers()
    {
        Assert.Equal(lab.Packets.Length, lab.KernelFrames.Count);
        CounterReport before = Product.SettledTotal();
        List<byte[]> ours = lab.SendThrough(lab.Packets);
        CounterReport after = Product.SettledTotal();
        RandomPackets.AssertSame(lab.KernelFrames, ours);
        ulong forwarded = after.Forwarded - before.Forwarded;
        Assert.True(forwarded >= (ulong)lab.Packets.Length, $"only {forwarded} of {lab.Packets.Length} were forwarded by the fast path; {after.Describe()}");
        Product.AssertConserved();
    }

    [Fact]
    public void PingToTheRouterIsAnsweredByLinux()
    {
        CounterReport before = Product.SettledTotal();
        Client.Run("ping -6 -q -c 20 -i 0.01 -W 1 fd01::1");
        Client.Run("ping -6 -q -c 20 -i 0.01 -W 1 fd02::1");
        CounterReport after = Product.SettledTotal();
        ulong passed = Ours(after) - Ours(before);
        Assert.True(passed >= 40, $"of 40 echo requests {passed} are counted; {after.Describe()}");

        static ulong Ours(CounterReport c) => c.PassedBy("local-address") + c.PuntedBy("local") + c.PassedBy("heartbeat-lost");
    }

    [Fact]
    public void TracerouteSeesTheRouter()
    {
        _ = Product;
        string[] hops = Client.Run("traceroute -6 -n -q 1 -w 2 -m 3 fd02::2").Output.Split('\n', StringSplitOptions.RemoveEmptyEntries)[1..];
        Assert.Equal(["fd01::1", "fd02::2"], hops.Select(h => h.Split(' ', StringSplitOptions.RemoveEmptyEntries)[1]));
    }

    [Fact]
    public void PathMtuDiscoveryFindsTheRoutesMtu()
    {
        _ = Product;
        Client.Run("ip -6 route flush cache");
        CommandResult first = Client.Try("ping -6 -n -c 1 -W 1 -M do -s 1440 fd0a::5");
        Assert.Contains("mtu=1400", first.Output, StringComparison.Ordinal);
        Client.Run("ping -6 -q -c 1 -W 1 -M do -s 1352 fd0a::5");
        Assert.Contains("mtu 1400", Client.Run("ip -6 route get fd0a::5").Output, StringComparison.Ordinal);
    }

    [Fact]
    public void TheFirstPacketResolvesTheNeighbourAndTheNextIsForwarded()
    {
        _ = Product;
        Router.Run("ip neigh flush dev r2");
        Product.WaitVerified(2);
        CounterReport before = Product.SettledTotal();
        byte[] frame = lab.ToTarget(destination: "fd03::2").Udp(1, RouterLab.SilentPort, [9]).Build();
        using PacketSocket client = Client.OpenPacketSocket("c0");
        using PacketSocket server = Server.OpenPacketSocket("s1", 0x86dd);
        client.Send(frame);
        Wait.Until(() => Delivered() == 1, TimeSpan.FromSeconds(3), "the first packet arrives");
        Wait.Until(() => Product.Show("neigh show").ToString().Contains("fd03::2", StringComparison.Ordinal), TimeSpan.FromSeconds(3), "the neighbour is shown");
        CounterReport resolved = Product.SettledTotal();
        Assert.True(resolved.PuntedBy("no-neighbour") == before.PuntedBy("no-neighbour") + 1, $"before: {before.Describe()}; after: {resolved.Describe()}");
        client.Send(frame);
        Wait.Until(() => Delivered() == 1, TimeSpan.FromSeconds(3), "the second packet arrives");
        CounterReport forwarded = Product.SettledTotal();
        Assert.Equal(resolved.Forwarded + 1, forwarded.Forwarded);
        Assert.Equal(resolved.PuntedBy("no-neighbour"), forwarded.PuntedBy("no-neighbour"));

        int Delivered() => server.TakeWhenQuiet(1).Count(f => f.Bytes[20] == 17);
    }

    [Fact]
    public void Ipv4RouteThroughAnIpv6GatewayIsForwarded()
    {
        _ = Product;
        Router.Run("ip route replace 10.50.0.0/16 via inet6 fd02::2");
        Product.WaitVerified(2);
        CounterReport before = Product.SettledTotal();
        using PacketSocket client = Client.OpenPacketSocket("c0");
        using PacketSocket server = Server.OpenPacketSocket("s0");
        client.Send(lab.FromClient().Ipv4("10.1.0.2", "10.50.0.1").Udp(1, RouterLab.SilentPort, [1]).Build());
        Assert.Single(server.TakeWhenQuiet(1));
        Assert.Equal(before.Forwarded + 1, Product.SettledTotal().Forwarded);
    }
}

/// <summary>TCP over IPv6 between stacks that leave their checksums to hardware that isn't there.</summary>
public sealed class Ipv6OffloadTests(Ipv6OffloadTests.Fixture lab) : TopologyTest(lab), IClassFixture<Ipv6OffloadTests.Fixture>
{
    public sealed class Fixture : Ipv6Lab
    {
        public Fixture()
        {
            // Packets of many segments aside: those are longer than the MTU, and Linux's.
            Client.Run("ethtool -K c0 tx on tso off gso off");
            Server.Run("ethtool -K s0 tx on tso off gso off");
        }
    }

    [Theory]
    [InlineData("")]
    [InlineData("-R")]
    public void ThroughputIsThatOfForwardedPackets(string direction)
    {
        CounterReport before = Product.SettledTotal();
        Server.Start("iperf3 -s -1");
        Wait.Until(() => Server.Run("ss -ltn").Output.Contains(":5201", StringComparison.Ordinal), TimeSpan.FromSeconds(5), "iperf3 listens");
        using JsonDocument report = JsonDocument.Parse(Client.Run($"iperf3 -6 -J -t 3 -c fd02::2 {direction}", timeout: TimeSpan.FromSeconds(20)).Output);
        double rate = report.RootElement.GetProperty("end").GetProperty("sum_received").GetProperty("bits_per_second").GetDouble();
        CounterReport after = Product.SettledTotal();
        TestContext.Current.TestOutputHelper?.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{rate / 1e6:0} Mb/s; {after.Describe()}"));
        Assert.True(rate > 50e6, $"{rate / 1e6:0.0} Mb/s");
        Assert.True((after.Forwarded - before.Forwarded) * 1400 * 8 > rate * 2, $"most of it was forwarded by Linux: {after.Describe()}");
    }
}
