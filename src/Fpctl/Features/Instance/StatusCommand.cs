using System.CommandLine;
using System.Text.Json;
using FastPathSync.Fpctl.Cli;
using Spectre.Console;

namespace FastPathSync.Fpctl.Features.Instance;

/// <summary>How the instance does. Exit 0 healthy, 3 degraded, 4 not running; the JSON is printed in each case.</summary>
internal static class StatusCommand
{
    /// <summary>An update in flight is over within this; longer is worth telling.</summary>
    private static readonly TimeSpan s_settle = TimeSpan.FromMilliseconds(100);

    public static Command Create() =>
        CliContext.Action(
            new Command("status", "how the instance does: daemons, ports, synchronization, demotions"),
            (context, _) => Print(context, StatusReport.Take(context, s_settle)));

    public static int Print(CliContext context, StatusReport report)
    {
        if (context.Json)
        {
            CliContext.WriteJson(w => WriteJson(w, report));
        }
        else if (report.State == InstanceState.Stopped)
        {
            throw context.NotRunning();
        }
        else
        {
            WriteText(context.Console, report);
        }

        return report.State switch
        {
            InstanceState.Healthy => 0,
            InstanceState.Degraded => CliError.Degraded,
            _ => CliError.NotRunning,
        };
    }

    private static string Word(InstanceState state) => state.ToString().ToLowerInvariant();

    private static void WriteJson(Utf8JsonWriter w, StatusReport r)
    {
        w.WriteStartObject();
        w.WriteString("instance", r.Instance);
        w.WriteString("state", Word(r.State));
        w.WriteBoolean("synced", r.Synchronized);
        w.WriteBoolean("forwarding", r.Forwarding);
        w.WriteStartObject("heartbeat");
        w.WriteBoolean("fresh", r.HeartbeatFresh);
        if (r.Heartbeat is TimeSpan age)
        {
            w.WriteNumber("ageMs", Math.Round(age.TotalMilliseconds, 1));
        }
        else
        {
            w.WriteNull("ageMs");
        }

        w.WriteEndObject();
        w.WriteStartArray("daemons");
        foreach (DaemonStatus d in r.Daemons)
        {
            w.WriteStartObject();
            w.WriteString("name", d.Name);
            w.WriteNumber("pid", d.Pid);
            w.WriteString("state", d.State);
            w.WriteString("since", d.Since);
            w.WriteNumber("restarts", d.Restarts);
            w.WriteString("lastExit", d.LastExit);
            w.WriteString("text", d.Text);
            w.WriteEndObject();
        }

        w.WriteEndArray();
        w.WriteStartArray("ports");
        foreach (PortReport p in r.Ports)
        {
            w.WriteStartObject();
            w.WriteString("ifname", p.Name);
            w.WriteString("vrf", p.Vrf);
            w.WriteString("mode", p.Mode);
            w.WriteBoolean("zerocopy", p.ZeroCopy);
            w.WriteNumber("queues", p.Queues);
            w.WriteNumber("mtu", p.Mtu);
            w.WriteString("state", p.State);
            w.WriteEndObject();
        }

        w.WriteEndArray();
        WriteDemotions(w, "demotions", r.Demotions);
        WriteDemotions(w, "bypassed", r.Bypassed);
        w.WriteStartObject("umem");
        w.WriteNumber("frames", r.FramesTotal);
        w.WriteNumber("inUse", r.FramesInUse);
        w.WriteNumber("lost", r.FramesLost);
        w.WriteEndObject();
        w.WriteStartArray("problems");
        r.Problems.ForEach(w.WriteStringValue);
        w.WriteEndArray();
        w.WriteEndObject();
    }

    private static void WriteDemotions(Utf8JsonWriter w, string name, IReadOnlyList<Demotion> demotions)
    {
        w.WriteStartArray(name);
        foreach (Demotion d in demotions)
        {
            w.WriteStartObject();
            w.WriteString("object", d.Object);
            w.WriteString("vrf", d.Vrf);
            w.WriteString("reason", d.Reason);
            w.WriteString("effect", d.Effect.ToString().ToLowerInvariant());
            w.WriteNumber("ageMs", Math.Round(d.Age.TotalMilliseconds));
            w.WriteEndObject();
        }

        w.WriteEndArray();
    }

    private static void WriteText(IAnsiConsole console, StatusReport r)
    {
        string colour = r.State == InstanceState.Healthy ? "green" : "yellow";
        string forwards = r.Forwarding ? "the fast path forwards" : "Linux forwards";
        string synced = r.Synchronized ? "synchronized" : "not synchronized";
        string beat = r.Heartbeat is TimeSpan age ? $"heartbeat {age.TotalMilliseconds:0} ms ago" : "no heartbeat";
        console.MarkupLine($"Instance [bold]{Markup.Escape(r.Instance)}[/] is [{colour}]{Word(r.State)}[/]: {(r.TablesRead ? $"{forwards}, {synced}, {beat}" : "what it forwards is not known")}.");
        foreach (string problem in r.Problems)
        {
            console.MarkupLine($"  [yellow]![/] {Markup.Escape(problem)}");
        }

        Table daemons = CliContext.Table("daemon", "pid", "state", "since", "restarts", "says");
        foreach (DaemonStatus d in r.Daemons)
        {
            string stateColour = d.State == "ready" ? "green" : "yellow";
            daemons.AddRow(
                Markup.Escape(d.Name),
                d.Pid == 0 ? "-" : $"{d.Pid}",
                $"[{stateColour}]{Markup.Escape(d.State)}[/]",
                Ago(DateTimeOffset.UtcNow - d.Since),
                $"{d.Restarts}",
                Markup.Escape(d.State == "ready" ? d.Text ?? "" : d.LastExit ?? d.Text ?? ""));
        }

        console.Write(daemons);
        Table ports = CliContext.Table("port", "vrf", "mode", "zero-copy", "queues", "mtu", "state");
        foreach (PortReport p in r.Ports)
        {
            ports.AddRow(Markup.Escape(p.Name), Markup.Escape(p.Vrf), p.Mode, p.ZeroCopy ? "yes" : "no", $"{p.Queues}", $"{p.Mtu}",
                p.State == "up" ? "[green]up[/]" : $"[yellow]{p.State}[/]");
        }

        console.Write(ports);
        if (r.Demotions.Count + r.Bypassed.Count > 0)
        {
            Table demotions = CliContext.Table("demoted", "vrf", "effect", "since", "reason");
            foreach (Demotion d in r.Demotions.Concat(r.Bypassed))
            {
                demotions.AddRow(Markup.Escape(d.Object), Markup.Escape(d.Vrf), d.Effect.ToString().ToLowerInvariant(), Ago(d.Age), Markup.Escape(d.Reason));
            }

            console.Write(demotions);
        }

        if (r.FramesTotal > 0)
        {
            console.WriteLine($"UMEM: {r.FramesTotal} frames, {r.FramesInUse} in use, {r.FramesLost} lost.");
        }
    }

    private static string Ago(TimeSpan age) =>
        age.TotalSeconds < 60 ? $"{age.TotalSeconds:0} s"
        : age.TotalMinutes < 60 ? $"{age.TotalMinutes:0} min"
        : age.TotalHours < 48 ? $"{age.TotalHours:0} h"
        : $"{age.TotalDays:0} days";
}
