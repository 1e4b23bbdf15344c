using FastPathSync.Fpctl.Cli;
using FastPathSync.Linux;
using FastPathSync.SharedMemory.Tables;
using Spectre.Console;
using Spectre.Console.Rendering;

namespace FastPathSync.Fpctl.Features.Statistics;

/// <summary>`fpctl stats` for people: who counted what, why, and how fast.</summary>
internal static class StatisticsText
{
    public static IRenderable Render(StatisticsSnapshot s, Func<int, int, Rate?> rate)
    {
        List<IRenderable> parts = [Totals(s, rate), Workers(s), Reasons(s.Total())];
        LatencyLine(parts, s);
        ulong frames = Sum(s, w => w.Frames), inUse = Sum(s, w => w.FramesInUse), lost = Sum(s, w => w.FramesLost);
        string colour = lost == 0 ? "green" : "red";
        parts.Add(new Markup($"UMEM: {frames} frames, {inUse} in use, [{colour}]{lost} lost[/]. FPTUN: {s.FptunInjected} injected, {s.FptunRefused} invalid.\n"));
        return new Rows(parts);
    }

    private static Table Totals(StatisticsSnapshot s, Func<int, int, Rate?> rate)
    {
        Table t = CliContext.Table("", "rx", "forwarded", "tx", "punted", "dropped", "passed", "rx/s", "tx/s", "rx Mb/s", "10 s rx/s", "60 s rx/s");
        foreach (TableColumn c in t.Columns.Skip(1))
        {
            c.RightAligned();
        }

        foreach (int i in s.PortIds)
        {
            Row(t, Markup.Escape(s.Ports[i].Vrf == NetworkNamespace.Unnamed ? s.Ports[i].Ifname : $"{s.Ports[i].Vrf}/{s.Ports[i].Ifname}"), s.OfPort(i), i, rate);
        }

        Row(t, "[bold]total[/]", s.Total(), SharedMemory.Capacities.Ports, rate);
        return t;
    }

    /// <summary>How the work is shared, and how busy each is.</summary>
    private static Table Workers(StatisticsSnapshot s)
    {
        Table t = CliContext.Table("worker", "cpu", "rx", "forwarded", "tx", "punted", "dropped", "packets/burst", "sleeps", "frames", "in use", "lost");
        foreach (TableColumn c in t.Columns)
        {
            c.RightAligned();
        }

        for (int i = 0; i < s.Workers.Count; i++)
        {
            WorkerSnapshot w = s.Workers[i];
            Counters c = s.OfWorker(i);
            t.AddRow(
                $"{w.Id}", $"{w.Cpu}", $"{c.Rx}", $"{c.Forwarded}", $"{c.Tx}", $"{Counters.Total(c.Punted)}", $"{Counters.Total(c.Dropped)}",
                w.Bursts == 0 ? "" : $"{(double)c.Rx / w.Bursts:0.0}", $"{w.Sleeps}", $"{w.Frames}", $"{w.FramesInUse}", $"{w.FramesLost}");
        }

        return t;
    }

    private static void Row(Table t, string name, Counters c, int rateOf, Func<int, int, Rate?> rate)
    {
        Rate? now = rate(rateOf, 1), ten = rate(rateOf, 10), sixty = rate(rateOf, 60);
        t.AddRow(
            name, $"{c.Rx}", $"{c.Forwarded}", $"{c.Tx}", $"{Counters.Total(c.Punted)}", $"{Counters.Total(c.Dropped)}",
            $"{Counters.Total(c.Passed)}", now is null ? "" : $"{now.Rx:0}", now is null ? "" : $"{now.Tx:0}",
            now is null ? "" : $"{now.RxBytes * 8 / 1e6:0.0}", ten is null ? "" : $"{ten.Rx:0}", sixty is null ? "" : $"{sixty.Rx:0}");
    }

    private static Table Reasons(Counters total)
    {
        Table t = CliContext.Table("verdict", "reason", "packets");
        t.Columns[2].RightAligned();
        Add("punted to Linux", total.Punted, i => ReasonNames.Of((PuntReason)i));
        Add("over its punt limit", total.PuntLimited, i => ReasonNames.Of((PuntReason)i));
        Add("dropped", total.Dropped, i => ReasonNames.Of((DropReason)i));
        Add("passed by XDP", total.Passed, i => ReasonNames.Of((PassReason)i));
        if (total.TapCopied + total.TapMissed > 0)
        {
            t.AddRow("captured", "copied for packet sockets", $"{total.TapCopied}");
            t.AddRow("captured", "not copied: no time", $"{total.TapMissed}");
        }

        if (total.ChecksumsCompleted > 0)
        {
            t.AddRow("forwarded", "checksum completed", $"{total.ChecksumsCompleted}");
        }

        return t;

        void Add(string verdict, ulong[] counts, Func<int, string> reason)
        {
            for (int i = 0; i < counts.Length; i++)
            {
                if (counts[i] != 0)
                {
                    t.AddRow(verdict, reason(i), $"{counts[i]}");
                }
            }
        }
    }

    private static void LatencyLine(List<IRenderable> parts, StatisticsSnapshot s) => parts.Add(new Text(
        $"Synchronization, event to worker: p50 {LatencyHistogram.Percentile(s.Latency, 0.5)} µs, p99 {LatencyHistogram.Percentile(s.Latency, 0.99)} µs, "
        + $"max {LatencyHistogram.Maximum(s.Latency, s.LatencyMax)} µs; {s.Resyncs} resyncs, {s.Overruns} overruns; "
        + $"{s.Audit.Runs} audits, {s.Audit.Repaired} objects repaired.\n"));

    private static ulong Sum(StatisticsSnapshot s, Func<WorkerSnapshot, ulong> of) => s.Workers.Aggregate(0ul, (a, w) => a + of(w));
}
