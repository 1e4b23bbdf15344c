using System.Buffers.Binary;
using System.Text.Json;

namespace FastPathSync.Topology;

/// <summary>`ip rule` steers the fast path as it steers the kernel: for each kind of selector and action, packets go where `ip route get` says.</summary>
public sealed class RuleTests(RouterLab lab) : TopologyTest(lab), IClassFixture<RouterLab>
{
    /// <summary>A packet of the matrix, as the kernel is asked about it.</summary>
    private sealed record Probe(string From, string To, int Tos, string Protocol, int SourcePort, int DestinationPort, int Fragment = 0)
    {
        public string Question => $"{To} from {From} iif r0 tos 0x{Tos & 0xfc:x}"
            + (Fragment != 0 ? $" ipproto {Protocol}" : $" ipproto {Protocol} sport {SourcePort} dport {DestinationPort}");
    }

    private static readonly Probe[] s_probes =
    [
        new("10.1.0.2", "10.9.0.1", 0, "udp", 1000, 2000), new("10.1.0.2", "10.9.0.1", 0, "tcp", 1000, 2000),
        new("10.1.0.77", "10.9.0.1", 0, "udp", 1000, 2000), new("172.16.5.5", "10.9.0.1", 0, "udp", 1000, 2000),
        new("10.1.0.2", "10.9.7.1", 0, "udp", 1000, 2000), new("10.1.0.2", "10.64.0.1", 0, "udp", 1000, 2000),
        new("10.1.0.2", "10.9.0.1", 0x10, "udp", 1000, 2000), new("10.1.0.2", "10.9.0.1", 0xb8, "udp", 1000, 2000),
        new("10.1.0.2", "10.9.0.1", 0xf0, "udp", 1000, 2000), new("10.1.0.2", "10.9.0.1", 0x13, "udp", 1000, 2000),
        new("10.1.0.2", "10.9.0.1", 0, "udp", 1010, 2010), new("10.1.0.2", "10.9.0.1", 0, "udp", 2000, 1000),
        new("10.1.0.2", "10.9.0.1", 0, "udp", 1000, 2000, Fragment: 0x2000), new("10.1.0.2", "10.9.0.1", 0, "udp", 1000, 2000, Fragment: 0x0010),
    ];

    [Theory]
    [InlineData("from 10.1.0.2 lookup 100")]
    [InlineData("from 10.1.0.0/24 to 10.9.0.0/24 lookup 100")]
    [InlineData("not from 10.1.0.0/24 lookup 100")]
    [InlineData("iif r0 lookup 100")]
    [InlineData("iif r1 lookup 100")]
    [InlineData("iif lo lookup 100")]
    [InlineData("iif nowhere lookup 100")]
    [InlineData("not iif r1 lookup 100")]
    [InlineData("oif r1 lookup 100")]
    [InlineData("not oif r1 lookup 100")]
    [InlineData("fwmark 1 lookup 100")]
    [InlineData("fwmark 0 lookup 100")]
    [InlineData("fwmark 0x10/0x0f lookup 100")]
    [InlineData("tos 0x10 lookup 100")]
    [InlineData("ipproto tcp lookup 100")]
    [InlineData("ipproto udp sport 1000 lookup 100")]
    [InlineData("ipproto udp dport 2000-2005 lookup 100")]
    [InlineData("not dport 2000 lookup 100")]
    [InlineData("uidrange 0-0 lookup 100")]
    [InlineData("uidrange 1-5 lookup 100")]
    [InlineData("tun_id 5 lookup 100")]
    [InlineData("l3mdev")]
    [InlineData("realms 1/2 lookup 100")]
    [InlineData("lookup 4711")]
    [InlineData("nop")]
    [InlineData("from 10.1.0.77 prohibit")]
    [InlineData("from 10.1.0.77 blackhole")]
    [InlineData("from 10.1.0.77 unreachable")]
    [InlineData("goto 32766", "priority 2000 lookup 100")]
    [InlineData("goto 2000", "priority 1500 prohibit", "priority 2000 lookup 100")]
    [InlineData("goto 2500", "priority 2000 lookup 100")]
    [InlineData("lookup main suppress_prefixlength 0", "priority 2000 lookup 100")]
    [InlineData("lookup main suppress_prefixlength 16", "priority 2000 lookup 100")]
    [InlineData("lookup 101", "priority 2000 lookup 100")]
    [InlineData("from 10.1.0.2 lookup 100", "priority 1000 from 10.1.0.0/24 prohibit")]
    public void PacketsGoWhereTheKernelSays(string rule, string? second = null, string? third = null)
    {
        const string Routes = "default via 10.3.0.2 table 100\nthrow 10.9.7.0/24 table 101\n10.9.0.0/16 via 10.3.0.2 table 101\ndefault via 10.2.0.2 metric 9";
        Batch("route add", Routes.Split('\n'));
        string[] rules = [.. ((string?[])[$"priority 1000 {rule}", second, third]).OfType<string>()];
        try
        {
            Batch("rule add", rules);
            Agree();
            Compare();
        }
        finally
        {
            Router.Try("ip -force -batch -", input: string.Concat(rules.Reverse().Select(r => $"rule del {r}\n")));
            Batch("route del", Routes.Split('\n'));
        }

        Agree();
    }

    [Fact]
    public void TheDefaultRulesMayBeMovedAndMissing()
    {
        foreach (string[] change in (string[][])
        [
            ["ip rule del priority 32767", "ip rule add priority 32767 lookup default"],
            ["ip rule add priority 50 lookup main", "ip rule del priority 50"],
            ["ip rule add priority 10 lookup local", "ip rule del priority 0", "ip rule add priority 5 lookup main", "ip rule del priority 5", "ip rule add priority 0 lookup local", "ip rule del priority 10"],
            ["ip rule del priority 32766", "ip rule add priority 32766 lookup main"],
        ])
        {
            foreach (string command in change)
            {
                Router.Run(command);
                Agree();
                Compare();
            }
        }
    }

    [Fact]
    public void TableDefaultIsAskedLast()
    {
        Router.Run("ip route add default via 10.3.0.2 table default");
        Router.Run("ip route add 10.9.7.0/24 via 10.3.0.2 table default");
        Agree();
        Compare();
        Assert.Empty(Product.Status().Demotions);
        Router.Run("ip route flush table default");
        Agree();
        Compare();
    }

    [Fact]
    public void RulesComeAndGoUnderTrafficAndNobodyElseNotices()
    {
        Agree();
        Router.Run("ip route add default via 10.3.0.2 table 100");
        using UdpFlow flow = Lab.StartFlow(rate: 5_000, port: 5091);
        flow.WaitFlowing();
        for (int i = 0; i < 60; i++)
        {
            Router.Run($"ip rule add priority {1000 + i} from 10.77.{i}.0/24 lookup 100");
            if (i % 3 == 0)
            {
                Router.Run($"ip rule del priority {1000 + (i / 2)}");
                Router.Run($"ip rule add priority {1000 + (i / 2)} from 10.78.{i}.0/24 prohibit");
            }
        }

        Agree();
        while (Router.Try("ip rule del lookup 100").Ok || Router.Try("ip rule del prohibit").Ok)
        {
        }

        Router.Run("ip route flush table 100");
        Agree();
        FlowReport report = flow.Stop();
        Assert.True(report.Missing == 0 && report.Duplicates == 0, report.ToString());
    }

    [Fact]
    public void WhatIsNotUnderstoodIsPuntedAndListed()
    {
        Router.Run("ip rule add priority 900 to 10.9.7.0/24 lookup main suppress_ifgroup 5");
        Agree();
        ProductReports before = Count();
        Compare(forwardedAll: false);
        DemotionReport demotion = Assert.Single(Product.Status().Demotions);
        Assert.Equal("ip rule 900", demotion.Object);
        Assert.Contains("suppress_ifgroup", demotion.Reason, StringComparison.Ordinal);
        ProductReports after = Count();
        Assert.InRange(after.Unsupported - before.Unsupported, 1ul, 2ul); // the answer's source is looked up by the rules as well
        Router.Run("ip rule del priority 900");
        Agree();
        Assert.Empty(Product.Status().Demotions);
    }

    [Fact]
    public void AThousandRulesAreWalkedAndShownInOrder()
    {
        Router.Run("ip -batch -", input: string.Concat(Enumerable.Range(0, 1000).Select(i => $"rule add priority {5000 + i} from 10.{100 + (i >> 8)}.{i & 255}.0/24 lookup 100\n")));
        Router.Run("ip route add default via 10.3.0.2 table 100");
        Agree();
        Compare();
        JsonElement ours = Product.Show("rule show -4");
        using JsonDocument linux = JsonDocument.Parse(Router.Run("ip -j rule").Output);
        Assert.Equal(
            linux.RootElement.EnumerateArray().Select(r => $"{r.GetProperty("priority")} {r.GetProperty("src")} {r.GetProperty("table")}"),
            ours.EnumerateArray().Select(r => $"{r.GetProperty("priority")} {r.GetProperty("src")} {r.GetProperty("table")}"));
        Router.Run("ip -batch -", input: string.Concat(Enumerable.Range(0, 1000).Select(i => $"rule del priority {5000 + i}\n")));
        Router.Run("ip route flush table 100");
        Agree();
    }

    private void Batch(string verb, string[] objects) => Router.Run("ip -batch -", input: string.Concat(objects.Select(o => $"{verb} {o}\n")));

    private sealed record ProductReports(ulong Forwarded, ulong Unsupported);

    private ProductReports Count()
    {
        CounterReport total = Product.SettledTotal();
        return new ProductReports(total.Forwarded, total.PuntedBy("rule-unsupported"));
    }

    private void Agree() => Product.WaitVerified(3);

    /// <summary>Sends the whole matrix and sees what leaves where; what the kernel would forward, the fast path did.</summary>
    private void Compare(bool forwardedAll = true)
    {
        string[] expected = KernelsAnswers();
        CounterReport before = Product.Stats().Total;
        using PacketSocket client = Client.OpenPacketSocket("c0");
        using PacketSocket s0 = Server.OpenPacketSocket("s0"), s1 = Server.OpenPacketSocket("s1");
        for (int i = 0; i < s_probes.Length; i++)
        {
            client.Send(Frame(s_probes[i], i));
        }

        ulong wanted = (ulong)expected.Count(v => v != "nowhere");
        PacketSocket.WaitQuiet([s0, s1], (int)wanted, quietSeconds: 0.2); // one more than wanted shows as well
        Dictionary<int, string> found = Enumerable.Range(0, s_probes.Length).ToDictionary(i => i, _ => "nowhere");
        foreach ((PacketSocket socket, string name) in ((PacketSocket, string)[])[(s0, "s0"), (s1, "s1")])
        {
            foreach (CapturedFrame f in socket.Take())
            {
                if (IndexOf(f.Bytes) is int i)
                {
                    found[i] = name;
                }
            }
        }

        for (int i = 0; i < s_probes.Length; i++)
        {
            Assert.True(expected[i] == found[i], $"{s_probes[i]}: ip route get says {expected[i]}, it went to {found[i]}\n{Router.Run("ip rule").Output}");
        }

        CounterReport after = Product.TotalOnceForwarded(before, forwardedAll ? wanted : 0);
        Assert.True(
            !forwardedAll || after.Forwarded - before.Forwarded >= wanted,
            $"{wanted} packets were forwarded, {after.Forwarded - before.Forwarded} by the fast path; punted {string.Join(", ", after.Punted.Select(p => $"{p.Key} {p.Value - before.Punted.GetValueOrDefault(p.Key)}"))}");
    }

    /// <summary>By probe: the server's interface it comes to by `ip route get`, or "nowhere". All are asked for in one command.</summary>
    private string[] KernelsAnswers()
    {
        CommandResult get = Router.Try("ip -force -oneline -batch -", input: string.Concat(s_probes.Select(p => $"route get {p.Question}\n")));
        HashSet<int> refused = [.. System.Text.RegularExpressions.Regex.Matches(get.Error, @"Command failed -:(\d+)").Select(m => int.Parse(m.Groups[1].Value, System.Globalization.CultureInfo.InvariantCulture) - 1)];
        Queue<string> answers = new(get.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries).Where(l => l.Contains(" from ", StringComparison.Ordinal)));
        Assert.True(answers.Count + refused.Count == s_probes.Length, $"{get.Output}{get.Error}");
        return [.. Enumerable.Range(0, s_probes.Length).Select(i => refused.Contains(i) ? "nowhere" : Exit(answers.Dequeue()))];

        static string Exit(string answer) => answer.Contains(" dev r1 ", StringComparison.Ordinal) ? "s0" : answer.Contains(" dev r2 ", StringComparison.Ordinal) ? "s1" : "nowhere";
    }

    /// <summary>The identification field tells which probe it is.</summary>
    private byte[] Frame(Probe p, int index)
    {
        PacketBuilder b = Lab.FromClient().Ipv4(p.From, p.To, tos: (byte)p.Tos, id: (ushort)(0x7100 + index), flagsAndOffset: (ushort)p.Fragment, protocol: (byte)(p.Protocol == "tcp" ? 6 : 17));
        return p.Protocol == "tcp" ? b.Tcp((ushort)p.SourcePort, (ushort)p.DestinationPort, 1, 0x10, [9]).Build()
            : b.Udp((ushort)p.SourcePort, (ushort)p.DestinationPort, [9, 9, 9, 9, 9, 9, 9, 9]).Build();
    }

    private static int? IndexOf(byte[] frame)
    {
        int id = frame.Length < 34 ? 0 : BinaryPrimitives.ReadUInt16BigEndian(frame.AsSpan(18));
        return id >= 0x7100 && id < 0x7100 + s_probes.Length ? id - 0x7100 : null;
    }
}
