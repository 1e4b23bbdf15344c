using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.Topology;

public sealed class ExceptionsThroughEgress(ExceptionLab lab) : ExceptionTests(lab), IClassFixture<ExceptionLab>;

public sealed class ExceptionsThroughTap(ExceptionsThroughTap.TapLab lab) : ExceptionTests(lab), IClassFixture<ExceptionsThroughTap.TapLab>
{
    public sealed class TapLab : ExceptionLab
    {
        public override string StartOptions => base.StartOptions + " --punt tap";
    }
}

public sealed class ExceptionsInGenericMode(ExceptionsInGenericMode.GenericLab lab) : ExceptionTests(lab), IClassFixture<ExceptionsInGenericMode.GenericLab>
{
    public sealed class GenericLab : ExceptionLab
    {
        public override string StartOptions => base.StartOptions + " --mode generic";
    }
}

/// <summary>What the fast path can't do exactly, Linux does: what comes of a packet is what the kernel alone makes of it, and each reason has its counter.</summary>
public abstract class ExceptionTests(ExceptionLab lab) : TopologyTest(lab)
{
    public static TheoryData<string> Names => [.. ExceptionRows.All.Select(r => r.Name)];

    [Theory]
    [MemberData(nameof(Names))]
    public void LinuxReactsAsWithoutUs(string name)
    {
        ExceptionRow row = ExceptionRows.All.Single(r => r.Name == name);
        Assert.Equal(row.Reaction, lab.Kernel.Outcomes[name].Reaction);
        Assert.Equal(lab.Kernel.Outcomes[name].Frames, lab.Ours.Outcomes[name].Frames);

        // All packets of a stage are sent together, so that they are counted together, too. Neighbour discovery is passed beside them.
        int packets = ExceptionRows.All.Count(r => r.Stage == row.Stage && r.Way == row.Way);
        ulong counted = lab.Ours.Counted.GetValueOrDefault((row.Stage, row.Way));
        Assert.True(
            counted == (ulong)packets || (counted > (ulong)packets && row.Way.StartsWith("passed", StringComparison.Ordinal)),
            $"{row.Way}: {counted} instead of {packets}; all: {string.Join(", ", lab.Ours.Counted.Where(c => c.Key.Stage == row.Stage && c.Value > 0).Select(c => $"{c.Key.Way} {c.Value}"))}");
    }

    [Fact]
    public void PingToTheRouterIsAnsweredByLinux()
    {
        CounterReport before = Product.SettledTotal();
        Client.Run("ping -q -c 20 -i 0.01 -W 1 10.1.0.1");
        Client.Run("ping -q -c 20 -i 0.01 -W 1 10.2.0.1");
        CounterReport after = Product.SettledTotal();
        ulong passed = Ours(after) - Ours(before);
        Assert.True(passed >= 40, $"of 40 echo requests {passed} are counted; {after.Describe()}");

        // While a worker got no CPU for 60 ms, everything is passed as heartbeat-lost before anyone looks at addresses.
        static ulong Ours(CounterReport c) => c.PassedBy("local-address") + c.PuntedBy("local") + c.PassedBy("heartbeat-lost");
    }

    [Fact]
    public void TheFirstPacketResolvesTheNeighbourAndTheNextIsForwarded()
    {
        _ = Product;

        // The server must not ask for the router meanwhile: its ARP request would teach the router the neighbour.
        string mac = string.Join(':', Router.MacOf("r2").Select(b => b.ToString("x2", System.Globalization.CultureInfo.InvariantCulture)));
        Server.Run($"ip neigh replace 10.3.0.1 lladdr {mac} dev s1 nud permanent");
        Router.Run("ip neigh flush dev r2");
        Product.WaitVerified(10); // the table that was full (ExceptionRows) has room again after a few seconds
        CounterReport before = Product.SettledTotal();
        byte[] frame = Lab.FromClient().Ipv4("10.1.0.2", "10.3.0.2").Udp(1, 2, [9]).Build();
        using PacketSocket client = Client.OpenPacketSocket("c0");
        using PacketSocket server = Server.OpenPacketSocket("s1");
        client.Send(frame);
        Assert.Single(server.TakeWhenQuiet(1));
        CounterReport resolved = Product.SettledTotal();
        Assert.True(resolved.PuntedBy("no-neighbour") == before.PuntedBy("no-neighbour") + 1, $"punted once; before: {before.Describe()}; after: {resolved.Describe()}; {Router.Run("ip -s neigh show dev r2").Output}");
        client.Send(frame);
        Assert.Single(server.TakeWhenQuiet(1));
        CounterReport forwarded = Product.SettledTotal();
        Assert.Equal(resolved.Forwarded + 1, forwarded.Forwarded);
        Assert.Equal(resolved.PuntedBy("no-neighbour"), forwarded.PuntedBy("no-neighbour"));
    }

    [Fact]
    public void AFloodOfExceptionsDoesNotLoop()
    {
        CounterReport before = Product.SettledTotal();
        byte[] frame = ExceptionRows.All.Single(r => r.Name == "blackhole").Frame(lab);
        using PacketSocket client = Client.OpenPacketSocket("c0");
        client.Send(Enumerable.Repeat(frame, 500), packetsPerSecond: 2_000);
        CounterReport after = Product.SettledTotal();
        Assert.InRange(after.PuntedBy("blackhole") - before.PuntedBy("blackhole"), 1ul, 500ul);
        Assert.InRange(after.Rx - before.Rx, 500ul, 520ul);
        Product.AssertConserved();
    }
}

/// <summary>The table of reasons and the packets agree.</summary>
public sealed class ExceptionRowTests
{
    [Fact]
    public void EveryReasonIsProvokedOrSaysWhyNot()
    {
        string[] reasons = [.. Enum.GetValues<PuntReason>().Where(r => r != PuntReason.Count).Select(ReasonNames.Of)];
        string[] provoked = [.. ExceptionRows.All.Where(r => r.Way.StartsWith("punted ", StringComparison.Ordinal)).Select(r => r.Way["punted ".Length..]).Distinct()];
        Assert.Empty(provoked.Except(reasons));
        Assert.Empty(ExceptionRows.NotToBeProvoked.Keys.Intersect(provoked));
        Assert.Equal(reasons.Order(StringComparer.Ordinal), provoked.Concat(ExceptionRows.NotToBeProvoked.Keys).Order(StringComparer.Ordinal));
    }
}
