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

/// <summary>A packet that is an exception, and what the kernel alone answers to it.</summary>
public sealed record ExceptionCase(string Name, string PuntReason, byte[] Frame)
{
    public List<string> AtClient { get; set; } = [];

    public List<string> AtServer { get; set; } = [];
}

/// <summary>The lab with routes of every unaccelerated kind; notes the kernel's answers before the product starts.</summary>
public class ExceptionLab : RouterLab
{
    public ExceptionLab()
    {
        try
        {
            Router.Run("ip route add blackhole 10.20.1.0/24");
            Router.Run("ip route add unreachable 10.20.2.0/24");
            Router.Run("ip route add prohibit 10.20.3.0/24");
            Router.Run("ip route add 10.20.4.0/24 via 10.2.0.2 mtu 1000");
            WarmUp();

            // The kernel limits its ICMP errors per receiver: each case is sent by an address of its own.
            for (int host = 20; host < 30; host++)
            {
                Client.Run($"ip address add 10.1.0.{host}/24 dev c0");
            }

            byte[] small = [1, 2, 3, 4], large = new byte[1200];
            Cases =
            [
                new("ttl-1", "ttl-expired", FromClient().Ipv4("10.1.0.20", Target, ttl: 1, id: 7).Udp(1, 2, small).Build()),
                new("ttl-0", "ttl-expired", FromClient().Ipv4("10.1.0.21", Target, ttl: 0, id: 7).Udp(1, 2, small).Build()),
                new("too-big-df", "fragmentation-needed", FromClient().Ipv4("10.1.0.22", "10.20.4.1", id: 8, flagsAndOffset: 0x4000).Udp(1, 2, large).Build()),
                new("too-big", "fragmentation-needed", FromClient().Ipv4("10.1.0.23", "10.20.4.1", id: 9).Udp(1, 2, large).Build()),
                new("no-route", "no-route", FromClient().Ipv4("10.1.0.24", "172.31.1.1", id: 10).Udp(1, 2, small).Build()),
                new("blackhole", "blackhole", FromClient().Ipv4("10.1.0.25", "10.20.1.1", id: 11).Udp(1, 2, small).Build()),
                new("unreachable", "unreachable", FromClient().Ipv4("10.1.0.26", "10.20.2.1", id: 12).Udp(1, 2, small).Build()),
                new("prohibit", "prohibit", FromClient().Ipv4("10.1.0.27", "10.20.3.1", id: 13).Udp(1, 2, small).Build()),
                // Record route with room for three addresses (RFC 791): Linux writes its own into the first.
                new("record-route", "ip-options", FromClient().Ipv4("10.1.0.28", Target, id: 14, options: [7, 15, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).Udp(1, 2, small).Build()),
                new("bad-checksum", "checksum-error", Corrupt(FromClient().Ipv4("10.1.0.29", Target, id: 15).Udp(1, 2, small).Build())),
            ];
            foreach (ExceptionCase c in Cases)
            {
                (c.AtClient, c.AtServer) = Exchange(c.Frame);
            }
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public ExceptionCase[] Cases { get; }

    /// <summary>Sends one frame from the client; gives what comes back and what comes through.</summary>
    public (List<string> AtClient, List<string> AtServer) Exchange(byte[] frame)
    {
        using PacketSocket client = Client.OpenPacketSocket("c0");
        using PacketSocket server = Server.OpenPacketSocket("s0");
        client.Send(frame);
        List<string> through = [.. server.TakeWhenQuiet(quietSeconds: 0.2).Where(f => IsOurs(f.Bytes)).Select(f => Normal(f.Bytes))];
        return ([.. client.Take().Where(f => IsOurs(f.Bytes)).Select(f => Normal(f.Bytes))], through);
    }

    private static byte[] Corrupt(byte[] frame)
    {
        frame[PacketBuilder.EtherLength + 10] ^= 0x5a;
        return frame;
    }

    /// <summary>The packet sent itself, or the ICMP that quotes it; not the server's own ICMP about the unused port.</summary>
    private static bool IsOurs(byte[] frame) =>
        frame[PacketBuilder.EtherLength + 9] != 1 || frame[PacketBuilder.EtherLength + 15] == 1 && frame[PacketBuilder.EtherLength + 12] == 10;

    /// <summary>ICMP from the router carries an IP id of its own (and so a checksum): those are blanked.</summary>
    private static string Normal(byte[] frame)
    {
        int ip = PacketBuilder.EtherLength;
        if (frame[ip + 9] == 1)
        {
            frame.AsSpan(ip + 4, 2).Clear();
            frame.AsSpan(ip + 10, 2).Clear();
        }

        return Convert.ToHexString(frame);
    }
}

/// <summary>What the fast path can't do exactly, Linux does: the answers are the kernel's own, and each has its counter.</summary>
public abstract class ExceptionTests(ExceptionLab lab) : TopologyTest(lab)
{
    public static TheoryData<string, string> Names => new()
    {
        { "ttl-1", "11.0" }, { "ttl-0", "" }, { "too-big-df", "3.4" }, { "too-big", "" }, { "no-route", "3.0" }, { "blackhole", "" },
        { "unreachable", "3.1" }, { "prohibit", "3.13" }, { "record-route", "" }, { "bad-checksum", "" },
    };

    [Theory]
    [MemberData(nameof(Names))]
    public void LinuxAnswersAsWithoutUs(string name, string icmp)
    {
        ExceptionCase c = lab.Cases.Single(x => x.Name == name);
        if (icmp.Length > 0)
        {
            // Guards the test itself: this is what the kernel alone was expected to answer (ICMP type.code).
            byte[] answer = Convert.FromHexString(Assert.Single(c.AtClient));
            Assert.Equal(icmp, $"{answer[34]}.{answer[35]}");
        }

        CounterReport before = Product.SettledTotal();
        (List<string> atClient, List<string> atServer) = lab.Exchange(c.Frame);
        CounterReport after = Product.SettledTotal();
        Assert.Equal(c.AtClient, atClient);
        Assert.Equal(c.AtServer, atServer);
        Assert.True(after.PuntedBy(c.PuntReason) == before.PuntedBy(c.PuntReason) + 1, $"punted by {c.PuntReason}: {before.PuntedBy(c.PuntReason)} → {after.PuntedBy(c.PuntReason)}; all: {string.Join(", ", after.Punted)}");
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
        Product.WaitVerified(2);
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
        byte[] frame = lab.Cases.Single(x => x.Name == "blackhole").Frame;
        using PacketSocket client = Client.OpenPacketSocket("c0");
        client.Send(Enumerable.Repeat(frame, 500), packetsPerSecond: 2_000);
        CounterReport after = Product.SettledTotal();
        Assert.InRange(after.PuntedBy("blackhole") - before.PuntedBy("blackhole"), 1ul, 500ul);
        Assert.InRange(after.Rx - before.Rx, 500ul, 520ul);
        Product.AssertConserved();
    }
}
