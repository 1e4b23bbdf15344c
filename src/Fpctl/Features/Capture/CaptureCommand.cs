using System.CommandLine;
using FastPathSync.Fpctl.Cli;
using FastPathSync.Fpctl.Features.Trace;
using FastPathSync.Fpctl.Inspection;
using FastPathSync.NetFpc.Protocol;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.Fpctl.Features.Capture;

/// <summary>Writes the packets that workers receive into a pcapng file, each with what became of it as its comment.</summary>
internal static class CaptureCommand
{
    private const string Forwarded = "forwarded", Punted = "punted", Dropped = "dropped";

    private static readonly Option<string> s_file = new("-w", "--write") { Description = "the file to write; -: standard output", HelpName = "FILE", Required = true };
    private static readonly Option<int?> s_count = new("-c", "--count") { Description = "end after so many packets", HelpName = "N" };
    private static readonly Option<string?> s_port = new("--port") { Description = "only what is received on this port", HelpName = "[VRF/]IF" };
    private static readonly Option<string[]> s_only = new("--only")
    {
        Description = "only packets of this fate (repeatable)",
        HelpName = $"{Forwarded}|{Punted}|{Dropped}",
    };

    private static readonly Argument<string[]> s_filter = new("FILTER") { Description = "which packets: an expression as tcpdump takes it (pcap-filter(7))", Arity = ArgumentArity.ZeroOrMore };

    public static Command Create()
    {
        s_only.AcceptOnlyFromAmong(Forwarded, Punted, Dropped);
        Command capture = CliContext.Action(
            new Command("capture", "writes what the workers receive into a pcapng file, with what became of each packet, and why, as its comment"), Run);
        foreach (Option o in (Option[])[s_file, s_count, s_port, s_only])
        {
            capture.Options.Add(o);
        }

        capture.Arguments.Add(s_filter);
        return capture;
    }

    private static int Run(CliContext context, ParseResult parsed)
    {
        string path = parsed.GetValue(s_file)!, filter = string.Join(' ', parsed.GetValue(s_filter) ?? []);
        int? count = parsed.GetValue(s_count);
        if (count <= 0)
        {
            throw new CliError($"-c {count}: a capture has one packet or more", CliError.Usage);
        }

        using Interrupt interrupt = new();
        using InstanceTables tables = new(context.TryOpenSegment);
        using TraceClient trace = TraceClient.Start(context, parsed.GetValue(s_port), filter, (parsed.GetValue(s_only) ?? []).Select(Verdict), snapLength: 0);
        using PcapNgWriter file = new(Open(path));
        file.Flush();
        Console.Error.WriteLine($"fpctl: capturing {(filter.Length == 0 ? "packets" : $"'{filter}'")}{(parsed.GetValue(s_port) is string p ? $" on {p}" : "")} into {path}; Ctrl-C ends it");
        int written;
        try
        {
            written = Write(file, new TracedNames(tables), trace.Batches(interrupt), count ?? int.MaxValue);
        }
        catch (IOException e)
        {
            throw new CliError($"'{path}': {e.Message}");
        }

        string missed = trace.Missed == 0 ? "" : $"; {trace.Missed} more that the workers had no time to look at or no room to keep";
        if (context.Json && path != "-")
        {
            CliContext.WriteJson(w =>
            {
                w.WriteStartObject();
                w.WriteString("file", path);
                w.WriteNumber("packets", written);
                w.WriteNumber("missed", trace.Missed);
                w.WriteEndObject();
            });
        }
        else
        {
            Console.Error.WriteLine($"fpctl: {written} packets{missed}");
        }

        return 0;
    }

    private static int Write(PcapNgWriter file, TracedNames names, IEnumerable<IReadOnlyList<TracedPacket>> batches, int count)
    {
        int written = 0;
        foreach (IReadOnlyList<TracedPacket> batch in batches)
        {
            foreach (TracedPacket p in batch)
            {
                file.Write(names.Port(p.Port), p.Time, p.Frame.Span, p.Length, Comment(names, p));
                if (++written == count)
                {
                    file.Flush();
                    return written;
                }
            }

            file.Flush();
        }

        return written;
    }

    /// <summary>"forward by r1", "punt: ttl-expired at ipv4-forward".</summary>
    private static string Comment(TracedNames names, TracedPacket p) =>
        p.Verdict == NetFpc.Protocol.Verdict.Forward ? names.Verdict(p) : $"{names.Verdict(p)} at {ReasonNames.Of(Verdicts.Nodes(p.Nodes).Last())}";

    private static Stream Open(string path)
    {
        if (path == "-")
        {
            return Console.OpenStandardOutput();
        }

        try
        {
            return new FileStream(path, FileMode.Create, FileAccess.Write, FileShare.Read, 64 << 10);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new CliError($"'{path}': {e.Message}");
        }
    }

    private static Verdict Verdict(string word) => word switch
    {
        Forwarded => NetFpc.Protocol.Verdict.Forward,
        Punted => NetFpc.Protocol.Verdict.Punt,
        _ => NetFpc.Protocol.Verdict.Drop,
    };
}
