using System.Net;
using System.Net.Sockets;
using System.Text.Json;

namespace FastPathSync.Topology;

/// <summary>Floods of exceptions: each reason gets its rate, and what isn't flooded goes on as if nothing were.</summary>
public sealed class PuntLimitTests(PuntLimitTests.LimitedLab lab) : TopologyTest(lab), IClassFixture<PuntLimitTests.LimitedLab>
{
    private const int Rate = 2_000, Burst = 300;

    /// <summary>The limit at the start is of ttl-expired; of the rest the defaults.</summary>
    public sealed class LimitedLab : RouterLab
    {
        public LimitedLab()
        {
            Router.Run("ip route add blackhole 10.20.1.0/24");
        }

        public override string StartOptions => $"{base.StartOptions} --punt-limit ttl-expired={Rate}:{Burst}";
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void AFloodGetsItsRateAndLinuxSeesNoMore(bool setAtRunTime)
    {
        _ = Product;
        (double rate, double burst) = (Rate, Burst);
        if (setAtRunTime)
        {
            (rate, burst) = (20_000, 2_000);
            Product.Fpctl("punt limit ttl-expired --rate 20k").MustSucceed();
        }

        CounterReport before = Product.SettledTotal();
        ulong linux = Router.Snmp("Ip", "InHdrErrors");
        (double offered, double seconds) = Flood(TtlOne(), 3_000);
        CounterReport after = Product.SettledTotal();
        ulong punted = after.PuntedBy("ttl-expired") - before.PuntedBy("ttl-expired"), limited = after.LimitedBy("ttl-expired") - before.LimitedBy("ttl-expired");
        double expected = burst + (rate * seconds);
        Assert.True(offered > 5 * expected, $"a flood: {offered} packets");
        Assert.True(punted > 0.95 * expected && punted < 1.05 * expected, $"{punted} punted in {seconds} s, {expected} expected");
        Assert.Equal(limited, after.Dropped.GetValueOrDefault("punt-limited") - before.Dropped.GetValueOrDefault("punt-limited"));
        Assert.Equal(punted, Router.Snmp("Ip", "InHdrErrors") - linux); // each is a time exceeded to send, and counted there
        Product.AssertConserved();
        if (setAtRunTime)
        {
            Product.Fpctl($"punt limit ttl-expired --rate {Rate} --burst {Burst}").MustSucceed();
        }
    }

    [Fact]
    public void WhatIsNotFloodedGoesOn()
    {
        _ = Product;
        byte[] ofAnotherReason = Lab.FromClient().Ipv4("10.1.0.2", RouterLab.Target, id: 14, options: [7, 15, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).Udp(1, RouterLab.SilentPort, [1]).Build();
        CounterReport before = Product.SettledTotal();
        using BackgroundProcess flood = StartFlood(TtlOne(), 60_000);
        using PacketSocket client = Client.OpenPacketSocket("c0");
        using PacketSocket server = Server.OpenPacketSocket("s0");
        Wait.Until(() => Product.Stats().Total.LimitedBy("ttl-expired") > before.LimitedBy("ttl-expired") + 10_000, TimeSpan.FromSeconds(5), "the flood is on");

        // ssh-like: a keystroke and its echo, on the port that is flooded.
        TimeSpan slowest = Exchange(150);

        // The flood fills the cable as well: some of the others may be lost there, as without us.
        int arrived = 0;
        for (int i = 0; i < 50 && arrived < 200; i++)
        {
            client.Send(Enumerable.Repeat(ofAnotherReason, 20), packetsPerSecond: 1_000);
            arrived += server.TakeWhenQuiet(quietSeconds: 0.1).Count(f => f.Bytes.Length > 50 && f.Bytes[14] == 0x49);
        }

        CounterReport during = Product.Stats().Total;
        flood.Dispose();
        Assert.True(slowest < TimeSpan.FromSeconds(1), $"the slowest echo took {slowest.TotalMilliseconds} ms");
        Assert.True(arrived >= 200, $"{arrived} packets of another reason came through; {during.Describe()}");
        Assert.Equal(before.LimitedBy("ip-options"), during.LimitedBy("ip-options"));
        Product.AssertConserved();
    }

    [Fact]
    public void ALimitOutlivesTheFastPathAndTheSupervisor()
    {
        Product.Fpctl("punt limit no-route --rate 777 --burst 99").MustSucceed();
        foreach (string daemon in (string[])["fastpath", "supervisor", "fastpath"])
        {
            int pid = Product.PidOf(daemon);
            Command.Run(["kill", "-9", $"{pid}"], null, null).MustSucceed();
            Wait.Until(() => Product.Status() is { State: "healthy" } s && s.Daemons.Single(d => d.Name == daemon).Pid != pid, TimeSpan.FromSeconds(10), $"{daemon} is back");
            JsonElement limit = Limit("no-route");
            Assert.Equal((777, 99, false), (limit.GetProperty("rate").GetInt32(), limit.GetProperty("burst").GetInt32(), limit.GetProperty("default").GetBoolean()));
        }

        Assert.Equal(Rate, Limit("ttl-expired").GetProperty("rate").GetInt32());
        Product.Fpctl("punt limit no-route --rate default").MustSucceed();
        Assert.Equal((10_000, true), (Limit("no-route").GetProperty("rate").GetInt32(), Limit("no-route").GetProperty("default").GetBoolean()));
        Product.Fpctl("punt limit no-route --rate unlimited").MustSucceed();
        Assert.False(Limit("no-route").TryGetProperty("rate", out _));
        Product.Fpctl("punt limit no-route --rate default").MustSucceed();
    }

    [Theory]
    [InlineData("punt limit no-such --rate 5", "no punt reason")]
    [InlineData("punt limit no-route --rate fast", "no rate")]
    [InlineData("punt limit no-route --rate 0", "no rate")]
    [InlineData("punt limit no-route --rate 100 --burst 3", "no burst")]
    [InlineData("punt limit no-route --rate unlimited --burst 100", "goes with a rate")]
    [InlineData("start --port r0 --punt-limit no-route", "REASON=RATE")]
    public void WhatCannotBeIsRefusedInOneLine(string command, string why)
    {
        _ = Product;
        CommandResult result = Product.Fpctl(command);
        Assert.Equal(2, result.ExitCode);
        Assert.Contains(why, Assert.Single(result.Error.Trim().Split('\n')), StringComparison.Ordinal);
    }

    private JsonElement Limit(string reason) => Product.Show("punt show").EnumerateArray().Single(l => l.GetProperty("reason").GetString() == reason);

    private byte[] TtlOne() => Lab.FromClient().Ipv4("10.1.0.2", RouterLab.Target, ttl: 1).Udp(1, RouterLab.SilentPort, new byte[18]).Build();

    private BackgroundProcess StartFlood(byte[] frame, int milliseconds) =>
        Client.Start($"{Path.Combine(Repository.Out, "lab", "l2gen")} --cpu 0 --for {milliseconds} --frame {Convert.ToHexStringLower(frame)} c0");

    private (double Packets, double Seconds) Flood(byte[] frame, int milliseconds)
    {
        CommandResult result = Client.Run($"{Path.Combine(Repository.Out, "lab", "l2gen")} --cpu 0 --for {milliseconds} --frame {Convert.ToHexStringLower(frame)} c0");
        using JsonDocument json = JsonDocument.Parse(result.Output);
        double sent = json.RootElement.GetProperty("sent").GetDouble();
        return (sent, sent / json.RootElement.GetProperty("pps").GetDouble());
    }

    /// <summary>So many bytes to the router and back, one after the other.</summary>
    /// <returns>The longest that one took.</returns>
    private TimeSpan Exchange(int times)
    {
        using Socket listener = Router.Inside(() => new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp));
        listener.Bind(new IPEndPoint(IPAddress.Parse("10.1.0.1"), 0));
        listener.Listen();
        using Socket typist = Client.Inside(() => new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp));
        (typist.NoDelay, typist.ReceiveTimeout) = (true, 10_000);
        typist.Connect(listener.LocalEndPoint!);
        using Socket shell = listener.Accept();
        (shell.NoDelay, shell.ReceiveTimeout) = (true, 10_000);
        byte[] key = [42];
        TimeSpan longest = TimeSpan.Zero;
        for (int i = 0; i < times; i++)
        {
            long start = System.Diagnostics.Stopwatch.GetTimestamp();
            typist.Send(key);
            shell.Receive(key);
            shell.Send(key);
            typist.Receive(key);
            TimeSpan took = System.Diagnostics.Stopwatch.GetElapsedTime(start);
            longest = took > longest ? took : longest;
        }

        return longest;
    }
}
