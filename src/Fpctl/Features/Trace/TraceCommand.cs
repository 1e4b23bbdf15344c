using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using FastPathSync.Fpctl.Cli;
using FastPathSync.Fpctl.Inspection;
using FastPathSync.NetFpc.Protocol;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.Fpctl.Features.Trace;

/// <summary>Shows the way of real packets through the nodes of the running fast path.</summary>
internal static class TraceCommand
{
    private const uint SnapLength = 256;
    private const int DefaultCount = 10, NodeWidth = 18;

    private static readonly Argument<string[]> s_words = new("[N] [FILTER]")
    {
        Description = $"how many packets (default {DefaultCount}, 0: until Ctrl-C), then which: an expression as tcpdump takes it (pcap-filter(7))",
        Arity = ArgumentArity.ZeroOrMore,
    };

    private static readonly Option<string?> s_port = new("--port") { Description = "only what is received on this port", HelpName = "[VRF/]IF" };

    public static Command Create()
    {
        Command trace = CliContext.Action(
            new Command("trace", "the way of packets through the nodes of the running workers, each node on a line of its own, the last with the verdict and its reason"), Run);
        trace.Arguments.Add(s_words);
        trace.Options.Add(s_port);
        return trace;
    }

    private static int Run(CliContext context, ParseResult parsed)
    {
        (int count, string filter) = Words(parsed.GetValue(s_words) ?? []);
        using Interrupt interrupt = new();
        using InstanceTables tables = new(context.TryOpenSegment);
        using TraceClient trace = TraceClient.Start(context, parsed.GetValue(s_port), filter, [], SnapLength);
        Console.Error.WriteLine($"fpctl: tracing {(filter.Length == 0 ? "packets" : $"'{filter}'")}{(parsed.GetValue(s_port) is string p ? $" on {p}" : "")}; Ctrl-C ends it");
        IEnumerable<TracedPacket> packets = trace.Batches(interrupt).SelectMany(b => b);
        packets = count == 0 ? packets : packets.Take(count);
        int shown;
        try
        {
            shown = context.Json ? WriteJson(new TracedNames(tables), packets, trace) : WriteText(new TracedNames(tables), packets);
        }
        catch (IOException)
        {
            return 0; // whoever read it has seen enough
        }

        Console.Error.WriteLine($"fpctl: {shown} packets{(trace.Missed == 0 ? "" : $"; {trace.Missed} more that the workers had no time to look at or no room to keep")}");
        return 0;
    }

    private static (int Count, string Filter) Words(string[] words)
    {
        string[] all = [.. words.SelectMany(w => w.Split(' ', StringSplitOptions.RemoveEmptyEntries))];
        return all is [string first, ..] && first.All(char.IsAsciiDigit)
            ? (int.TryParse(first, NumberStyles.None, CultureInfo.InvariantCulture, out int n) ? n
                : throw new CliError($"'{first}' is too many packets", CliError.Usage), string.Join(' ', all[1..]))
            : (DefaultCount, string.Join(' ', all));
    }

    private static int WriteText(TracedNames names, IEnumerable<TracedPacket> packets)
    {
        int shown = 0;
        foreach (TracedPacket p in packets)
        {
            Console.Out.WriteLine($"{Time(p):HH:mm:ss.ffffff} {names.Port(p.Port)} worker {p.Worker}: {PacketText.Of(p.Frame.Span, (int)p.Length)}");
            PipelineNode[] nodes = [.. Verdicts.Nodes(p.Nodes)];
            foreach (PipelineNode n in nodes)
            {
                string detail = names.Detail(n, p), verdict = n == nodes[^1] ? names.Verdict(p) : "";
                string rest = detail.Length == 0 || verdict.Length == 0 ? detail + verdict : $"{detail}; {verdict}";
                Console.Out.WriteLine($"    {ReasonNames.Of(n).PadRight(NodeWidth)}{rest}".TrimEnd());
            }

            shown++;
        }

        return shown;
    }

    private static int WriteJson(TracedNames names, IEnumerable<TracedPacket> packets, TraceClient trace)
    {
        int shown = 0;
        CliContext.WriteJson(w =>
        {
            w.WriteStartObject();
            w.WriteStartArray("packets");
            foreach (TracedPacket p in packets)
            {
                Write(w, names, p);
                w.Flush(); // they come one by one
                shown++;
            }

            w.WriteEndArray();
            w.WriteNumber("missed", trace.Missed);
            w.WriteEndObject();
        });
        return shown;
    }

    private static void Write(Utf8JsonWriter w, TracedNames names, TracedPacket p)
    {
        w.WriteStartObject();
        w.WriteString("time", Time(p));
        w.WriteString("port", names.Port(p.Port));
        w.WriteNumber("worker", p.Worker);
        w.WriteString("packet", PacketText.Of(p.Frame.Span, (int)p.Length).ToString());
        w.WriteStartArray("nodes");
        foreach (PipelineNode n in Verdicts.Nodes(p.Nodes))
        {
            w.WriteStartObject();
            w.WriteString("node", ReasonNames.Of(n));
            if (names.Detail(n, p) is { Length: > 0 } detail)
            {
                w.WriteString("detail", detail);
            }

            w.WriteEndObject();
        }

        w.WriteEndArray();
        w.WriteString("verdict", Verdicts.Name(p.Verdict));
        if (Verdicts.Reason(p.Verdict, p.Reason) is string reason)
        {
            w.WriteString("reason", reason);
        }
        else
        {
            w.WriteString("out", names.Port(p.TxPort));
        }

        w.WriteNumber("length", p.Length);
        w.WriteString("frame", Convert.ToHexStringLower(p.Frame.Span));
        w.WriteEndObject();
    }

    private static DateTime Time(TracedPacket p) => DateTime.UnixEpoch.AddTicks((long)(p.Time / TimeSpan.NanosecondsPerTick));
}
