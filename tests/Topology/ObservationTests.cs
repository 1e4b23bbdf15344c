using System.Buffers.Binary;
using System.Text;
using System.Text.Json;
using FastPathSync.Linux;

namespace FastPathSync.Topology;

/// <summary>explain, trace, graph and capture tell the truth: about each packet, what then happens to it.</summary>
public sealed class ObservationTests(ObservationLab lab) : TopologyTest(lab), IClassFixture<ObservationLab>
{
    private readonly string _directory = Directory.CreateTempSubdirectory("fps-observation-").FullName;

    public override void Dispose()
    {
        base.Dispose();
        Directory.Delete(_directory, recursive: true);
    }

    [Theory]
    [InlineData(false, 1)]
    [InlineData(true, 2)]
    public void WhatExplainSaysOfTwentyFiveHundredPacketsThenHappensAndTheKernelAgrees(bool rules, int seed)
    {
        const int Count = 2500;
        _ = Product;
        if (rules)
        {
            lab.SetRules(on: true);
            Product.WaitVerified(5);
        }

        try
        {
            List<byte[]> packets = lab.OddPackets(seed, Count);
            CommandResult explained = Explain(packets, out JsonElement[] said);
            string[] mismatches = [.. said.Where(e => e.TryGetProperty("mismatch", out _)).Select(e => e.ToString())];
            Assert.True(mismatches.Length == 0, $"{mismatches.Length} mismatches:\n{string.Join('\n', mismatches.Take(5))}");
            explained.MustSucceed();
            Assert.True(said.Count(e => e.TryGetProperty("agrees", out JsonElement a) && a.GetBoolean()) > 1000, "the kernel was asked");

            Dictionary<string, string> happened = Capture("", () => Send(packets)).ToDictionary(p => Convert.ToHexString(p.Frame), p => p.Comment);
            for (int i = 0; i < Count; i++)
            {
                string? what = happened.GetValueOrDefault(Convert.ToHexString(packets[i]));
                Assert.True(Comment(said[i]) == what, $"packet {i} {Convert.ToHexString(packets[i])}:\n  said     {said[i]}\n  happened {what ?? "no worker saw it"}");
            }

            // The packets come by most ways, or this says little.
            int ways = said.Select(e => Comment(e) ?? e.GetProperty("reason").GetString()).Distinct().Count();
            Assert.True(ways > 25, $"only {ways} ways");
            Assert.Contains(said, e => rules == e.TryGetProperty("rule", out _) && e.GetProperty("verdict").GetString() == "forward");
            Product.AssertConserved();
        }
        finally
        {
            if (rules)
            {
                lab.SetRules(on: false);
                Product.WaitVerified(5);
            }
        }
    }

    [Fact]
    public void ExplainNamesRouteNexthopNeighbourAndWay()
    {
        _ = Product;
        JsonElement e = Explained("--src 10.1.0.2 --dst 10.9.0.1 --proto udp --sport 1 --dport 2", exitCode: 0);
        Assert.Equal(("r0", "forward", "r1"), (Text(e, "port"), Text(e, "verdict"), Text(e, "out")));
        Assert.Equal("10.9.0.0/16", Text(e.GetProperty("route"), "dst"));
        Assert.Equal("10.2.0.2", Text(e.GetProperty("neighbour"), "dst"));
        Assert.Equal(["ethernet-input", "ipv4-input", "ipv4-lookup", "ipv4-forward", "interface-output", "l4-checksum"], e.GetProperty("nodes").EnumerateArray().Select(n => n.GetString()));
        Assert.Equal("10.9.0.0/16", Text(e.GetProperty("kernel"), "dst"));
        Assert.Equal(("punt", "ttl-expired"), Verdict("--src 10.1.0.2 --dst 10.9.0.1 --ttl 1"));
        Assert.Equal(("punt", "fragmentation-needed"), Verdict("--src 10.1.0.2 --dst 10.20.4.1 --length 1200"));
        Assert.Equal(("pass", "local-address"), Verdict("--src 10.1.0.2 --dst 10.2.0.1"));
        Assert.Equal(("punt", "no-neighbour"), Verdict("--src fd01::2 --dst fd22::1"));
        Assert.Equal(("forward", null), Verdict("--port r1 --src fd09::1 --dst fd01::2 --proto tcp"));
        string text = Product.Fpctl("explain --src 10.1.0.2 --dst 10.9.0.1").MustSucceed().Output;
        Assert.Contains("route      10.9.0.0/16 via 10.2.0.2 dev r1 table main", text, StringComparison.Ordinal);
        Assert.Contains("kernel     10.9.0.0/16 via 10.2.0.2 dev r1 table main: agrees", text, StringComparison.Ordinal);
        CounterReport before = Product.SettledTotal();
        Assert.Equal(("punt", "ttl-expired"), Verdict("--src 10.1.0.2 --dst 10.9.0.1 --ttl 1"));
        CounterReport after = Product.SettledTotal();
        Assert.Equal((before.Rx, before.Forwarded, before.PuntedTotal), (after.Rx, after.Forwarded, after.PuntedTotal));
        Assert.Equal((before.PassedBy("local-address"), before.PassedBy("not-ip")), (after.PassedBy("local-address"), after.PassedBy("not-ip")));

        (string?, string?) Verdict(string arguments) => Explained(arguments, 0) is JsonElement x ? (Text(x, "verdict"), x.TryGetProperty("reason", out JsonElement r) ? r.GetString() : null) : default;
    }

    [Fact]
    public void ExplainFlagsWhatTheKernelSaysOtherwise()
    {
        int cmgrd = Product.PidOf("cmgrd");
        LinuxException.ThrowIfNegative(Libc.kill(cmgrd, 19), "kill", "cmgrd"); // SIGSTOP: the tables stay behind
        try
        {
            Router.Run("ip route replace 10.9.0.0/16 via 10.3.0.2");
            JsonElement e = Explained("--src 10.1.0.2 --dst 10.9.0.1", exitCode: 5);
            Assert.False(e.GetProperty("agrees").GetBoolean());
            Assert.Equal("the fast path sends to 10.2.0.2 by r1, the kernel to 10.3.0.2 by r2", Text(e, "mismatch"));
            Router.Run("ip route replace blackhole 10.9.0.0/16");
            Assert.StartsWith("the fast path forwards, the kernel says", Text(Explained("--src 10.1.0.2 --dst 10.9.0.1", exitCode: 5), "mismatch"), StringComparison.Ordinal);
        }
        finally
        {
            Router.Run("ip route replace 10.9.0.0/16 via 10.2.0.2");
            Libc.kill(cmgrd, 18); // SIGCONT
        }

        Product.WaitVerified(5);
        Explained("--src 10.1.0.2 --dst 10.9.0.1", exitCode: 0);
    }

    [Fact]
    public void TraceShowsTheWayOfRealPackets()
    {
        _ = Product;
        using BackgroundProcess trace = Product.StartFpctl("trace 3 --port r0 --json udp dst port 4242"), text = Product.StartFpctl("trace 1 'udp dst port 4242 and ip[8] = 1'");
        WaitFor(trace, "tracing");
        WaitFor(text, "tracing");
        Send([Udp(4242, 64), Udp(4243, 64), Udp(4242, 1), Udp(4242, 64, "10.22.0.1")]);
        Wait.Until(() => trace.HasExited && text.HasExited, TimeSpan.FromSeconds(5), "three packets, and one, were traced");
        JsonElement[] packets = [.. JsonDocument.Parse(trace.Output[trace.Output.IndexOf('{', StringComparison.Ordinal)..(trace.Output.LastIndexOf('}') + 1)]).RootElement.GetProperty("packets").EnumerateArray()];
        Assert.Equal(["forward", "punt", "punt"], packets.Select(p => Text(p, "verdict")));
        Assert.Equal(["ttl-expired", "no-neighbour"], packets.Skip(1).Select(p => Text(p, "reason")));
        Assert.Equal(["ipv4-forward", "ipv4-lookup"], packets.Skip(1).Select(p => Text(p.GetProperty("nodes").EnumerateArray().Last(), "node")));
        Assert.Contains("to 10.2.0.2 dev r1", Text(packets[0].GetProperty("nodes").EnumerateArray().Single(n => Text(n, "node") == "ipv4-lookup"), "detail"), StringComparison.Ordinal);
        string[] lines = [.. text.Output.Split('\n').Select(l => l.Trim()).Where(l => l.Length > 0)];
        Assert.Contains(lines, l => l.StartsWith("ipv4-forward", StringComparison.Ordinal) && l.EndsWith("punt: ttl-expired", StringComparison.Ordinal));
        Assert.Contains("ethernet-input", lines);
    }

    [Fact]
    public void ADeadFpctlLeavesNoTraceOn()
    {
        _ = Product;
        List<BackgroundProcess> traces = [.. Enumerable.Range(0, 8).Select(_ => Product.StartFpctl("trace 0"))];
        traces.ForEach(t => WaitFor(t, "tracing"));
        CommandResult refused = Product.Fpctl("trace 1");
        Assert.Equal(1, refused.ExitCode);
        Assert.Contains("8 traces and captures are on already", Assert.Single(refused.ErrorLines), StringComparison.Ordinal);
        traces.ForEach(t => t.Signal(9));
        Wait.Until(() => Product.Fpctl("capture -c 1 --only dropped -w /nowhere/at/all").Error.Contains("/nowhere/at/all", StringComparison.Ordinal), TimeSpan.FromSeconds(10), "the traces of the dead have ended", TimeSpan.FromSeconds(1));
        traces.ForEach(t => t.Dispose());
        Product.AssertConserved();
    }

    [Fact]
    public void CaptureWritesWhatTcpdumpReadsWithTheReasons()
    {
        _ = Product;
        byte[][] packets = [Udp(4242, 64), Udp(4242, 1), Udp(4243, 1), Udp(4242, 64, "10.20.1.1"), Udp(4242, 64, "172.31.0.1")];
        Assert.Equal(
            ["forward by r1", "punt: ttl-expired at ipv4-forward", "punt: blackhole at ipv4-lookup", "punt: no-route at ipv4-lookup"],
            Capture("-c 4 udp dst port 4242", () => Send(packets)).Select(p => p.Comment));
        Assert.Equal(
            ["punt: ttl-expired at ipv4-forward", "punt: ttl-expired at ipv4-forward", "punt: blackhole at ipv4-lookup", "punt: no-route at ipv4-lookup"],
            Capture("--only punted --only dropped udp", () => Send(packets)).Select(p => p.Comment));
        string[] read = Lab.Lab.Host($"tcpdump -nn -r {Path.Combine(_directory, "capture.pcapng")}").MustSucceed().Output.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal(4, read.Length);
        Assert.All(read, l => Assert.Contains("IP 10.1.0.2.7", l, StringComparison.Ordinal));
    }

    [Fact]
    public void TheGraphsCountersAddUp()
    {
        _ = Product;
        Send(lab.OddPackets(3, 1000));
        CounterReport total = Product.SettledTotal();
        JsonElement graph = Product.Show("graph");
        Dictionary<string, ulong> nodes = graph.GetProperty("nodes").EnumerateArray().Where(n => n.TryGetProperty("packets", out _)).ToDictionary(n => Text(n, "name"), n => n.GetProperty("packets").GetUInt64());
        JsonElement[] edges = [.. graph.GetProperty("edges").EnumerateArray()];
        Assert.Equal(total.Rx, nodes["ethernet-input"]);
        Assert.Equal(total.Forwarded + total.DroppedTotal, nodes["interface-output"] + total.Dropped.GetValueOrDefault("punt-overrun"));
        Assert.Equal(nodes["ipv4-input"] + nodes["ipv6-input"] + Sum("ethernet-input"), nodes["ethernet-input"]);
        foreach ((string reason, ulong n) in total.Punted.Where(p => p.Key != "packet-socket"))
        {
            Assert.Equal(n, edges.Where(e => Text(e, "to") == "punt" && Text(e, "reason") == reason).Aggregate(0ul, (s, e) => s + e.GetProperty("packets").GetUInt64()));
        }

        Assert.Contains("ethernet-input", Product.Fpctl("graph").MustSucceed().Output, StringComparison.Ordinal);
        string svg = Path.Combine(_directory, "graph.svg");
        Product.Fpctl($"graph --svg {svg}").MustSucceed();
        Assert.Contains($">{total.Rx}</text>", File.ReadAllText(svg), StringComparison.Ordinal);

        ulong Sum(string from) => edges.Where(e => Text(e, "from") == from && e.TryGetProperty("reason", out _)).Aggregate(0ul, (s, e) => s + e.GetProperty("packets").GetUInt64());
    }

    [Theory]
    [InlineData("explain", 2, "say one packet")]
    [InlineData("explain 0a0", 2, "is no packet in hexadecimal")]
    [InlineData("explain --src 10.1.0.2", 2, "needs both --src and --dst")]
    [InlineData("explain --src 10.1.0.2 --dst fd09::1", 2, "of different families")]
    [InlineData("explain --port nowhere 00", 2, "'nowhere' is no port of the fast path")]
    [InlineData("explain --pcap /etc/hostname", 2, "is no pcap or pcapng file")]
    [InlineData("trace 5 udp prt 9", 2, "can't parse filter expression")]
    [InlineData("trace --port nowhere", 2, "'nowhere' is no port of the fast path")]
    [InlineData("capture -w /nowhere/at/all", 1, "/nowhere/at/all")]
    [InlineData("capture -c 0 -w /dev/null", 2, "one packet or more")]
    [InlineData("graph --svg /nowhere/at/all", 1, "/nowhere/at/all")]
    public void MistakesAreOneLineThatNamesThem(string arguments, int exitCode, string words)
    {
        _ = Product;
        CommandResult result = Product.Fpctl(arguments);
        Assert.Equal(exitCode, result.ExitCode);
        Assert.Contains(words, Assert.Single(result.ErrorLines), StringComparison.Ordinal);
    }

    private static string Text(JsonElement e, string key) => e.GetProperty(key).GetString()!;

    private static void WaitFor(BackgroundProcess process, string words) =>
        Wait.Until(() => process.Output.Contains(words, StringComparison.Ordinal), TimeSpan.FromSeconds(10), $"it says '{words}': {process.Output}");

    /// <summary>What capture writes beside a packet of which explain said this; null: no worker sees it.</summary>
    private static string? Comment(JsonElement said) => Text(said, "verdict") switch
    {
        "forward" => $"forward by {Text(said, "out")}",
        "punt" => $"punt: {Text(said, "reason")} at {said.GetProperty("nodes").EnumerateArray().Last().GetString()}",
        _ => null,
    };

    private byte[] Udp(ushort port, byte ttl, string to = RouterLab.Target) => lab.FromClient().Ipv4("10.1.0.2", to, ttl: ttl).Udp(7, port, [1, 2, 3]).Build();

    private void Send(IReadOnlyList<byte[]> packets)
    {
        using PacketSocket client = Client.OpenPacketSocket("c0");
        client.Send(packets, packetsPerSecond: 4000);
    }

    private JsonElement Explained(string arguments, int exitCode)
    {
        CommandResult result = Product.Fpctl($"explain {arguments} --json");
        Assert.True(result.ExitCode == exitCode, $"{result.CommandLine}: exit code {result.ExitCode}: {result.Error} {result.Output}");
        return JsonDocument.Parse(result.Output).RootElement[0];
    }

    private CommandResult Explain(List<byte[]> packets, out JsonElement[] said)
    {
        string path = Path.Combine(_directory, "packets.pcap");
        using (BinaryWriter file = new(File.Create(path)))
        {
            foreach (uint word in (uint[])[0xa1b2c3d4, 0x00040002, 0, 0, 65535, 1])
            {
                file.Write(word);
            }

            foreach (byte[] p in packets)
            {
                file.Write(0L);
                file.Write(p.Length);
                file.Write(p.Length);
                file.Write(p);
            }
        }

        CommandResult result = Product.Fpctl($"explain --port r0 --pcap {path} --json");
        Assert.True(result.ExitCode is 0 or 5, $"{result.CommandLine}: {result.Error}");
        said = [.. JsonDocument.Parse(result.Output).RootElement.EnumerateArray()];
        Assert.Equal(packets.Count, said.Length);
        return result;
    }

    /// <summary>What `fpctl capture` on r0 writes while something is done.</summary>
    private List<(byte[] Frame, string Comment)> Capture(string arguments, Action traffic)
    {
        string path = Path.Combine(_directory, "capture.pcapng");
        using BackgroundProcess capture = Product.StartFpctl($"capture -w {path} --port r0 {arguments}");
        WaitFor(capture, "capturing");
        traffic();
        Thread.Sleep(300);
        if (!capture.HasExited)
        {
            capture.Signal(15); // SIGINT is ignored by what a shell has started in the background
        }

        Wait.Until(() => capture.HasExited, TimeSpan.FromSeconds(5), "the capture ends");
        Assert.DoesNotContain("no time to look at", capture.Output, StringComparison.Ordinal);
        return Read(File.ReadAllBytes(path));
    }

    /// <summary>The packets of a little-endian pcapng file, each with its opt_comment, read by the draft alone.</summary>
    private static List<(byte[] Frame, string Comment)> Read(ReadOnlySpan<byte> file)
    {
        const uint EnhancedPacket = 6;
        List<(byte[], string)> packets = [];
        while (!file.IsEmpty)
        {
            int length = (int)BinaryPrimitives.ReadUInt32LittleEndian(file[4..]);
            ReadOnlySpan<byte> block = file[..length];
            file = file[length..];
            if (BinaryPrimitives.ReadUInt32LittleEndian(block) != EnhancedPacket)
            {
                continue;
            }

            int captured = (int)BinaryPrimitives.ReadUInt32LittleEndian(block[20..]);
            string comment = "";
            for (ReadOnlySpan<byte> options = block[(28 + ((captured + 3) & ~3))..^4]; options.Length >= 4 && options[0] != 0;)
            {
                int size = BinaryPrimitives.ReadUInt16LittleEndian(options[2..]);
                comment = options[0] == 1 ? Encoding.UTF8.GetString(options.Slice(4, size)) : comment;
                options = options[(4 + ((size + 3) & ~3))..];
            }

            packets.Add((block.Slice(28, captured).ToArray(), comment));
        }

        return packets;
    }
}
