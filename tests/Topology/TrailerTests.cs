using System.Text.Json;

namespace FastPathSync.Topology;

/// <summary>
/// Nobody but the fast path can have Linux believe by an FPTUN trailer that a frame came in elsewhere, or have it sent elsewhere: not
/// from outside, not in the router's namespace. In each way of attaching and of punting.
/// </summary>
public sealed class TrailerTests(TrailerLab lab) : IClassFixture<TrailerLab>, IDisposable
{
    /// <summary>A TCP flag to which no host answers anything.</summary>
    private const byte Reset = 4;

    private Product? _product;

    private const string Native = "--mode native --punt egress", NativeTap = "--mode native --punt tap", Generic = "--mode generic --punt egress", GenericTap = "--mode generic --punt tap";

    public void Dispose()
    {
        TopologyTest.ExplainFailure(lab.Vrfs.Lab, _product);
        _product?.Dispose();
    }

    [Theory]
    [InlineData(Native)]
    [InlineData(NativeTap)]
    [InlineData(Generic)]
    public void WhatEndsInATrailerIsAPacketLikeAnyOther(string mode)
    {
        Product product = Start(mode);
        CounterReport before = product.SettledTotal();
        JsonElement fptun = Fptun(product);
        Delivery delivery = lab.Exchange();
        for (int i = 0; i < 4 && Delivery.Difference(lab.Kernel, delivery) is not null; i++)
        {
            delivery = lab.Exchange();
        }

        Assert.Null(Delivery.Difference(lab.Kernel, delivery));
        Assert.All(delivery.Arrived.Where(a => a.Key.StartsWith("red", StringComparison.Ordinal)), a => Assert.Empty(a.Value));

        // Guards the test itself: all kinds came where they were to come, and the fast path had its hands in it.
        int kinds = lab.Packets.Count / TrailerLab.Kinds;
        CounterReport after = product.SettledTotal();
        Assert.True(delivery.Arrived["blue s0 IPv4"].Count >= 2 * kinds && delivery.Arrived["blue s0 IPv6"].Count >= kinds && delivery.Arrived["blue c0 IPv4"].Count >= 6 * kinds);
        ulong lapsed = after.PassedBy("heartbeat-lost") - before.PassedBy("heartbeat-lost"); // while the machine gave the worker no CPU
        Assert.True(after.Forwarded - before.Forwarded + lapsed >= (ulong)(3 * kinds), $"forwarded; before {before.Describe()}; after {after.Describe()}");
        foreach (string reason in (string[])["ttl-expired", "local", "no-neighbour", "no-route"])
        {
            Assert.True(after.PuntedBy(reason) - before.PuntedBy(reason) + lapsed >= (ulong)kinds, $"punted {reason}; before {before.Describe()}; after {after.Describe()}");
        }

        JsonElement now = Fptun(product);
        Assert.Equal("basic", Changes(fptun, now, "commands").Single().Key);
        Assert.Equal(after.PuntedTotal - before.PuntedTotal, Changes(fptun, now, "commands").Single().Value);
        Assert.Empty(Changes(fptun, now, "refused"));
        Assert.Empty(Changes(fptun, now, "output"));
        product.AssertConserved();
    }

    [Theory]
    [InlineData(Native)]
    [InlineData(GenericTap)]
    public void WhatAnotherProcessSendsToTheCarrierIsRefused(string mode)
    {
        Require.Tools("bpftool");
        Product product = Start(mode);
        JsonElement before = Fptun(product);
        Dictionary<string, ulong> expected = new() { ["bad-command"] = 0, ["bad-target"] = 0, ["bad-version"] = 0, ["no-trailer"] = 0, ["forged"] = 0 };
        uint notTheSecret = CarrierSender.SecretOf(lab.Blue.Router) ^ 0x100;
        int ours = lab.Blue.Router.IfIndex("r0");
        byte[] frame = From("r0");
        Dictionary<int, byte[]> frames = ((string[])["r0", "r1", "r2"]).ToDictionary(lab.Blue.Router.IfIndex, From);
        Delivery delivery = lab.Watch(() =>
        {
            foreach (uint mark in (uint[])[0, 1, notTheSecret])
            {
                using CarrierSender stranger = new(lab.Blue.Router, mark);
                foreach (int target in lab.Targets.Distinct())
                {
                    for (byte command = 0; command <= 6; command++)
                    {
                        stranger.Send(frames.GetValueOrDefault(target, frame), CarrierSender.Trailer(command, target));
                        expected[command is 0 or 6 ? "bad-command" : IsTarget(target, command) ? "forged" : "bad-target"]++;
                    }
                }

                stranger.Send(frame, CarrierSender.Trailer(CarrierSender.Basic, ours, version: 2));
                stranger.Send(frame, CarrierSender.Trailer(CarrierSender.Basic, ours, magic: 0));
                stranger.Send(frame, []);
                expected["bad-version"]++;
                expected["no-trailer"] += 2;
                for (int length = 1; length < 16; length++)
                {
                    stranger.Send(frame, CarrierSender.Trailer(CarrierSender.Basic, ours)[..length]);
                    expected["no-trailer"]++;
                }
            }
        });
        Assert.All(delivery.Arrived, a => Assert.Empty(a.Value));
        Assert.All(delivery.Delivered, d => Assert.Equal(0ul, d.Value));
        JsonElement after = Settled(product, j => Sum(Changes(before, j, "refused")) >= Sum(expected));
        Assert.Equal(expected.OrderBy(e => e.Key, StringComparer.Ordinal), Changes(before, after, "refused").OrderBy(e => e.Key, StringComparer.Ordinal));
        Assert.Empty(Changes(before, after, "commands"));
        Assert.Empty(Changes(before, after, "output"));
    }

    [Theory]
    [InlineData(Native)]
    [InlineData(GenericTap)]
    public void WhatLinuxAsksToSendLeavesByThePort(string mode)
    {
        Require.Tools("bpftool");
        Product product = Start(mode);
        JsonElement before = Fptun(product);
        uint secret = CarrierSender.SecretOf(lab.Blue.Router);
        int r0 = lab.Blue.Router.IfIndex("r0"), r1 = lab.Blue.Router.IfIndex("r1");
        byte[] ipv4 = ToClient(), ipv6 = new PacketBuilder().Ether(lab.Blue.Client.MacOf("c0"), lab.Blue.Router.MacOf("r0")).Ipv6("fd09::1", "fd01::2", protocol: 6).Tcp(1, 9, 1, Reset, TrailerLab.Payload(2, new byte[1400])).Build();
        Delivery delivery = lab.Watch(() =>
        {
            using CarrierSender linux = new(lab.Blue.Router, secret), past = new(lab.Blue.Router, secret, pastHooks: true);
            for (int i = 0; i < 100; i++)
            {
                linux.Send(ipv4, CarrierSender.Trailer(CarrierSender.Output, r0));
            }

            linux.Send(ipv6, CarrierSender.Trailer(CarrierSender.Output, r0, mark: 5));
            linux.Send(ipv4, CarrierSender.Trailer(CarrierSender.Output, r1));

            // None of these: longer than the MTU; no port, the other VRF's port, cut off; past the hook.
            linux.Send([.. ipv4, .. new byte[1500]], CarrierSender.Trailer(CarrierSender.Output, r0));
            foreach (int target in lab.Targets.Where(t => !IsTarget(t, CarrierSender.Output)))
            {
                linux.Send(ipv4, CarrierSender.Trailer(CarrierSender.Output, target));
            }

            for (int length = 1; length < 16; length++)
            {
                linux.Send(ipv4, CarrierSender.Trailer(CarrierSender.Output, r0)[..length]);
            }

            past.Send(ipv4, CarrierSender.Trailer(CarrierSender.Output, r0));
        });
        Assert.Equal(Enumerable.Repeat(TrailerLab.Text(ipv4), 100), delivery.Arrived["blue c0 IPv4"]);
        Assert.Equal([TrailerLab.Text(ipv6)], delivery.Arrived["blue c0 IPv6"]);
        Assert.Equal([TrailerLab.Text(ipv4)], delivery.Arrived["blue s0 IPv4"]);
        Assert.Equal(102, delivery.Arrived.Values.Sum(a => a.Count));
        JsonElement after = Settled(product, j => Sum(Changes(before, j, "output")) >= 104);
        Assert.Equal("failed 1, refused 1, sent 102", Text(Changes(before, after, "output")));
        Assert.Equal($"bad-target {lab.Targets.Count(t => !IsTarget(t, CarrierSender.Output))}, no-trailer 15", Text(Changes(before, after, "refused")));
        Assert.Equal("output 103", Text(Changes(before, after, "commands")));
    }

    private Product Start(string mode)
    {
        lab.WarmUp();
        return _product = new Product(lab.Vrfs.Home).Start($"{lab.Ports} {mode}");
    }

    /// <summary>To the client, as from the server.</summary>
    private byte[] ToClient() => new PacketBuilder().Ether(lab.Blue.Client.MacOf("c0"), lab.Blue.Router.MacOf("r0")).Ipv4("10.9.0.1", "10.1.0.2", id: 3, protocol: 6).Tcp(1, 9, 1, Reset, TrailerLab.Payload(1, [])).Build();

    /// <summary>From a client of the interface: if it is taken for received there it is forwarded to the server, if it is sent it comes to the other end.</summary>
    private byte[] From(string ifname) =>
        new PacketBuilder().Ether(lab.Blue.Router.MacOf(ifname), [2, 0, 0, 0, 0, 1]).Ipv4("10.1.0.2", RouterLab.Target, id: 3, protocol: 6).Tcp(1, 9, 1, Reset, TrailerLab.Payload(1, [])).Build();

    /// <summary>Whether the trailer of a stranger names something that the command may lead to: blue's ports, for some lo.</summary>
    private bool IsTarget(int ifindex, byte command) =>
        ((string[])["r0", "r1", "r2"]).Select(lab.Blue.Router.IfIndex).Contains(ifindex)
        || (command is CarrierSender.IfaceInput or CarrierSender.IpsecDone && ifindex == lab.Blue.Router.IfIndex("lo"));

    private static JsonElement Fptun(Product product) => product.Show("stats").GetProperty("fptun");

    /// <summary>The counters once they are published, ten times a second.</summary>
    private static JsonElement Settled(Product product, Func<JsonElement, bool> complete)
    {
        JsonElement last = default;
        for (int i = 0; i < 20 && !complete(last = Fptun(product)); i++)
        {
            Thread.Sleep(100);
        }

        Thread.Sleep(200);
        return Fptun(product);
    }

    private static Dictionary<string, ulong> Changes(JsonElement before, JsonElement after, string what) =>
        after.GetProperty(what).EnumerateObject()
            .Select(p => (p.Name, N: p.Value.GetUInt64() - before.GetProperty(what).GetProperty(p.Name).GetUInt64()))
            .Where(p => p.N > 0)
            .ToDictionary(p => p.Name, p => p.N);

    private static ulong Sum(Dictionary<string, ulong> changes) => changes.Values.Aggregate(0ul, (a, n) => a + n);

    private static string Text(Dictionary<string, ulong> changes) => string.Join(", ", changes.OrderBy(c => c.Key, StringComparer.Ordinal).Select(c => $"{c.Key} {c.Value}"));
}
