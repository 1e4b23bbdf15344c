using System.CommandLine;
using System.Text.Json;
using FastPathSync.Fpctl.Cli;
using FastPathSync.Fpctl.Features.Capture;
using FastPathSync.Fpctl.Features.Rpc;
using FastPathSync.Fpctl.Features.Verify;
using FastPathSync.Fpctl.Inspection;
using FastPathSync.Hosting;
using FastPathSync.Linux;
using FastPathSync.NetFpc;
using FastPathSync.NetFpc.Protocol;
using FastPathSync.Netlink.Rtnetlink;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.Fpctl.Features.Explain;

/// <summary>What would the fast path do with this packet, and why? And what would the kernel?</summary>
internal static class ExplainCommand
{
    /// <summary>Of one call: frames, and their bytes, which come back rewritten.</summary>
    private const int Frames = 64, Bytes = 40 << 10;

    private static readonly Argument<string?> s_hex = new("HEX")
    {
        Description = "the packet from its Ethernet header on, in hexadecimal; blanks and colons are passed over",
        Arity = ArgumentArity.ZeroOrOne,
    };

    private static readonly Option<string?> s_pcap = new("--pcap") { Description = "every packet of a pcap or pcapng file", HelpName = "FILE" };
    private static readonly Option<string?> s_port = new("--port")
    {
        Description = "where it would be received; default: where Linux would send to its source, or the first port",
        HelpName = "[VRF/]IF",
    };

    public static Command Create()
    {
        Command explain = CliContext.Action(
            new Command("explain",
                "what the fast path would do with a packet, and why: its own code says so, nothing is counted or sent. The kernel's answer stands beside it. "
                + "Exit 0: they agree, or there is nothing to compare; 5: they don't"),
            Run);
        explain.Arguments.Add(s_hex);
        explain.Options.Add(s_pcap);
        explain.Options.Add(s_port);
        PacketFields.AddTo(explain);
        return explain;
    }

    private static int Run(CliContext context, ParseResult parsed)
    {
        List<byte[]>? given = Given(parsed);
        using NetFpcClient client = FastPathCall.Connect(context);
        IReadOnlyList<PortInfo> ports = FastPathCall.Do(context, client.ListPorts);
        using InstanceTables home = new(context.TryOpenSegment);
        string? text = parsed.GetValue(s_port);
        PortInfo port = text is null ? Default(context, home, ports, parsed, given) : FastPathCall.FindPort(context, client, text);
        PortName name = PortName.Parse(port.Name);
        InstanceTables tables = home.OfVrf(name.Vrf) ?? throw new CliError($"port '{port.Name}': its VRF has gone; see `fpctl status`");
        given ??= [PacketFields.Build(parsed, Ipv4Text.Mac(port.Address.Span))];
        using RtnetlinkDump dump = RtnetlinkDump.InNamespace(VerifyCommand.NamespacePath(context, tables));
        ExplanationReader reader = new(tables, new KernelAnswers(dump, tables));
        List<ExplanationView> views = [];
        foreach (List<byte[]> batch in Batches(given))
        {
            IReadOnlyList<ExplainedPacket> answers = FastPathCall.Do(context, () => client.Explain(port.Port, batch.Select(f => (ReadOnlyMemory<byte>)f)));
            views.AddRange(batch.Zip(answers, (f, a) => reader.View(port, f, a)));
        }

        Write(context, views);
        return views.Exists(v => v.Agrees == false) ? CliError.Different : 0;
    }

    private static void Write(CliContext context, List<ExplanationView> views)
    {
        if (context.Json)
        {
            CliContext.WriteJson(w => JsonSerializer.Serialize(w, views, FpctlJson.Default.IEnumerableExplanationView));
            return;
        }

        foreach (ExplanationView v in views)
        {
            foreach (string line in ExplanationText.Lines(v))
            {
                Console.Out.WriteLine(line);
            }
        }

        if (views.Count > 1)
        {
            Console.Out.WriteLine(
                $"{views.Count} packets: {string.Join(", ", views.CountBy(v => v.Reason is null ? v.Verdict : $"{v.Verdict} {v.Reason}").OrderByDescending(c => c.Value).Select(c => $"{c.Value} {c.Key}"))}; "
                + $"with the kernel {views.Count(v => v.Agrees == true)} agree, {views.Count(v => v.Agrees == false)} don't, {views.Count(v => v.Agrees is null)} have nothing to compare");
        }
    }

    /// <summary>Null: a packet said by its fields.</summary>
    private static List<byte[]>? Given(ParseResult parsed)
    {
        string? hex = parsed.GetValue(s_hex), pcap = parsed.GetValue(s_pcap);
        bool fields = PacketFields.Are(parsed);
        if ((hex is null ? 0 : 1) + (pcap is null ? 0 : 1) + (fields ? 1 : 0) != 1)
        {
            throw new CliError("say one packet: in hexadecimal, by --pcap FILE, or by --src and --dst; see `fpctl explain --help`", CliError.Usage);
        }

        if (pcap is not null)
        {
            List<byte[]> frames = PcapFile.Read(pcap);
            frames.RemoveAll(f => f.Length == 0);
            return frames.Count == 0 ? throw new CliError($"'{pcap}' has no packets", CliError.Usage) : frames;
        }

        return hex is null ? null : [Hex(hex)];
    }

    private static byte[] Hex(string text)
    {
        string digits = string.Concat(text.Where(c => !char.IsWhiteSpace(c) && c is not (':' or '-' or '.')));
        digits = digits.StartsWith("0x", StringComparison.OrdinalIgnoreCase) ? digits[2..] : digits;
        return digits.Length > 0 && digits.Length % 2 == 0 && digits.All(char.IsAsciiHexDigit)
            ? Convert.FromHexString(digits)
            : throw new CliError($"'{(text.Length > 40 ? text[..40] + "..." : text)}' is no packet in hexadecimal: an even number of digits, from the Ethernet header on", CliError.Usage);
    }

    /// <summary>Where Linux would send to the first packet's source; else the first port there is.</summary>
    private static PortInfo Default(CliContext context, InstanceTables home, IReadOnlyList<PortInfo> ports, ParseResult parsed, List<byte[]>? given)
    {
        string vrf = context.Vrf is null or NetworkNamespace.Unnamed ? "" : context.Vrf;
        PortInfo[] candidates = [.. ports.Where(p => !p.Gone && (context.Vrf is null || PortName.Parse(p.Name).Vrf == vrf))];
        if (candidates.Length == 0)
        {
            throw new CliError($"there is no port{(context.Vrf is null ? "" : $" in vrf '{context.Vrf}'")} now; `fpctl port show` lists the ports", context.Vrf is null ? CliError.Failed : CliError.Usage);
        }

        PacketText first = given is null ? default : PacketText.Of(given[0], given[0].Length);
        IpAddress source = given is null ? PacketFields.Source(parsed) : first.IsIp ? first.Source : default;
        if (!source.IsNone && home.OfVrf(PortName.Parse(candidates[0].Name).Vrf) is InstanceTables tables)
        {
            using RtnetlinkDump dump = RtnetlinkDump.InNamespace(VerifyCommand.NamespacePath(context, tables));
            uint ifindex = new KernelAnswers(dump, tables).InterfaceTo(source);
            return candidates.FirstOrDefault(p => p.Ifindex == ifindex && PortName.Parse(p.Name).Vrf == tables.VrfName, candidates[0]);
        }

        return candidates[0];
    }

    private static IEnumerable<List<byte[]>> Batches(List<byte[]> frames)
    {
        List<byte[]> batch = [];
        int bytes = 0;
        foreach (byte[] f in frames)
        {
            if (batch.Count > 0 && (batch.Count == Frames || bytes + f.Length > Bytes))
            {
                yield return batch;
                (batch, bytes) = ([], 0);
            }

            batch.Add(f);
            bytes += f.Length;
        }

        yield return batch;
    }
}
