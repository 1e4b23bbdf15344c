using System.Text.Json;
using FastPathSync.Linux;

namespace FastPathSync.Topology;

/// <summary>Floods of exceptions: each reason gets its rate, and what isn't flooded goes on as if nothing were.</summary>
public sealed class PuntLimitTests(RouterLab lab) : TopologyTest(lab), IClassFixture<RouterLab>
{
    private const int Rate = 2_000, Burst = 300;

    [Theory]
    [InlineData(Rate, Burst)]
    [InlineData(20_000, 2_000)]
    public void AFloodGetsItsRateAndLinuxSeesNoMore(int rate, int burst)
    {
        Product.Fpctl($"punt limit ttl-expired --rate {rate} --burst {burst}").MustSucceed();
        CounterReport before = Product.SettledTotal();
        ulong linux = Router.Snmp("Ip", "InHdrErrors");
        using Flood flood = StartFlood(TtlOne(), 3_000);
        (double offered, double seconds) = flood.Finish();
        CounterReport after = Product.SettledTotal();
        ulong punted = after.PuntedBy("ttl-expired") - before.PuntedBy("ttl-expired"), limited = after.LimitedBy("ttl-expired") - before.LimitedBy("ttl-expired");
        double expected = burst + (rate * seconds);
        Assert.True(offered > 2 * expected, $"a flood: {offered} packets");
        Assert.True(punted > 0.95 * expected && punted < 1.05 * expected, $"{punted} punted in {seconds} s, {expected} expected");
        Assert.Equal(limited, after.Dropped.GetValueOrDefault("punt-limited") - before.Dropped.GetValueOrDefault("punt-limited"));
        Assert.Equal(punted, Router.Snmp("Ip", "InHdrErrors") - linux); // each is a time exceeded to send, and counted there
        Product.AssertConserved();
    }

    [Fact]
    public void TheStartOptionHoldsForItsReasonAndDefaultsForTheRest()
    {
        using RouterLab other = new();
        using Product started = new Product(other.Router).Start($"--port r0 --port r1 --punt-limit ttl-expired={Rate}:{Burst}");
        JsonElement limits = started.Show("punt show");
        Assert.Equal((Rate, Burst, false), Settings(limits, "ttl-expired"));
        Assert.Equal((10_000, 1_000, true), Settings(limits, "no-route"));
        Assert.Equal((100_000, 10_000, true), Settings(limits, "redirect-needed"));
    }

    [Fact]
    public void WhatIsNotFloodedGoesOn()
    {
        _ = Product;
        byte[] ofAnotherReason = Lab.FromClient().Ipv4("10.1.0.2", RouterLab.Target, id: 14, options: [7, 15, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).Udp(1, RouterLab.SilentPort, [1]).Build();
        CounterReport before = Product.SettledTotal();
        using Flood flood = StartFlood(TtlOne(), 60_000);
        using PacketSocket client = Client.OpenPacketSocket("c0");
        using PacketSocket server = Server.OpenPacketSocket("s0");
        Wait.Until(() => Product.Stats().Total.LimitedBy("ttl-expired") > before.LimitedBy("ttl-expired") + 10_000, TimeSpan.FromSeconds(5), "the flood is on");

        // On the port that is flooded.
        using EchoSession ssh = new(Client, Router, "10.1.0.1");
        TimeSpan slowest = Enumerable.Range(0, 150).Max(_ => ssh.Type());

        // The flood fills the cable as well: some of the others may be lost there, as without us.
        int arrived = 0;
        for (int i = 0; i < 2_000 && arrived < 200; i++)
        {
            try
            {
                client.Send(ofAnotherReason);
            }
            catch (LinuxException e) when (e.ErrorNumber == Errno.ENOBUFS)
            {
                Thread.Sleep(1);
            }

            if (i % 20 == 19)
            {
                arrived += server.TakeWhenQuiet(quietSeconds: 0.02).Count(f => f.Bytes.Length > 50 && f.Bytes[14] == 0x49);
            }
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
            Assert.Equal((777, 99, false), Settings(Product.Show("punt show"), "no-route"));
        }

        Product.Fpctl("punt limit no-route --rate default").MustSucceed();
        Assert.Equal((10_000, 1_000, true), Settings(Product.Show("punt show"), "no-route"));
        Product.Fpctl("punt limit no-route --rate unlimited").MustSucceed();
        Assert.False(Of(Product.Show("punt show"), "no-route").TryGetProperty("rate", out _));
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

    private static (int Rate, int Burst, bool Default) Settings(JsonElement limits, string reason)
    {
        JsonElement l = Of(limits, reason);
        return (l.GetProperty("rate").GetInt32(), l.GetProperty("burst").GetInt32(), l.GetProperty("default").GetBoolean());
    }

    private static JsonElement Of(JsonElement limits, string reason) => limits.EnumerateArray().Single(l => l.GetProperty("reason").GetString() == reason);

    private byte[] TtlOne() => Lab.FromClient().Ipv4("10.1.0.2", RouterLab.Target, ttl: 1).Udp(1, RouterLab.SilentPort, new byte[18]).Build();

    private Flood StartFlood(byte[] frame, int milliseconds) => Flood.Start(Client, "c0", frame, milliseconds);
}
