using System.Text.Json;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.Fpctl.Features.Statistics;

/// <summary>The JSON of `fpctl stats`, whose shape scripts rely on (DESIGN section 3).</summary>
internal static class StatisticsJson
{
    public static void Write(Utf8JsonWriter w, StatisticsSnapshot s, Func<int, int, Rate?> rate)
    {
        w.WriteStartObject();
        w.WriteStartObject("total");
        Write(w, s.Total());
        w.WriteEndObject();

        w.WriteStartArray("ports");
        foreach (int i in s.PortIds)
        {
            w.WriteStartObject();
            w.WriteString("ifname", s.Ports[i].Ifname);
            w.WriteString("vrf", s.Ports[i].Vrf);
            w.WriteNumber("ifindex", s.Ports[i].Ifindex);
            w.WriteNumber("id", i);
            Write(w, s.OfPort(i));
            Write(w, "rate", rate(i, 1));
            w.WriteEndObject();
        }

        w.WriteEndArray();
        w.WriteStartArray("workers");
        for (int i = 0; i < s.Workers.Count; i++)
        {
            w.WriteStartObject();
            w.WriteNumber("id", s.Workers[i].Id);
            w.WriteNumber("cpu", s.Workers[i].Cpu);
            Write(w, s.OfWorker(i));
            w.WriteNumber("bursts", s.Workers[i].Bursts);
            w.WriteNumber("sleeps", s.Workers[i].Sleeps);
            WriteFrames(w, s.Workers[i].Frames, s.Workers[i].FramesInUse, s.Workers[i].FramesLost);
            w.WriteStartArray("ports");
            foreach (int p in s.PortIds)
            {
                w.WriteStartObject();
                w.WriteString("ifname", s.Ports[p].Ifname);
                w.WriteString("vrf", s.Ports[p].Vrf);
                Write(w, s.Workers[i].Ports[p]);
                w.WriteEndObject();
            }

            w.WriteEndArray();
            w.WriteEndObject();
        }

        w.WriteEndArray();
        w.WriteStartObject("sync");
        w.WriteStartObject("eventToWorker");
        w.WriteNumber("p50", LatencyHistogram.Percentile(s.Latency, 0.50));
        w.WriteNumber("p99", LatencyHistogram.Percentile(s.Latency, 0.99));
        w.WriteNumber("max", LatencyHistogram.Maximum(s.Latency, s.LatencyMax));
        w.WriteNumber("count", LatencyHistogram.Total(s.Latency));
        w.WriteEndObject();
        w.WriteNumber("lastChange", s.LastChange);
        w.WriteNumber("resyncs", s.Resyncs);
        w.WriteNumber("overruns", s.Overruns);
        w.WriteEndObject();

        w.WriteStartObject("audit");
        w.WriteNumber("runs", s.Audit.Runs);
        w.WriteNumber("checked", s.Audit.Checked);
        w.WriteNumber("repaired", s.Audit.Repaired);
        if (s.Audit.Last is DateTimeOffset last)
        {
            w.WriteString("last", last);
        }
        else
        {
            w.WriteNull("last");
        }

        w.WriteEndObject();

        WriteFrames(w, Sum(s, x => x.Frames), Sum(s, x => x.FramesInUse), Sum(s, x => x.FramesLost));

        w.WriteStartObject("fptun");
        w.WriteNumber("injected", s.FptunInjected);
        w.WriteNumber("invalid", s.FptunRefused);
        w.WriteStartObject("commands");
        for (FptunCommand c = FptunCommand.Basic; c < FptunCommand.Count; c++)
        {
            w.WriteNumber(ReasonNames.Of(c), s.Fptun[(int)c]);
        }

        w.WriteEndObject();
        w.WriteStartObject("refused");
        for (FptunRefusal r = FptunRefusal.NoTrailer; r < FptunRefusal.Count; r++)
        {
            w.WriteNumber(ReasonNames.Of(r), s.Fptun[(int)r]);
        }

        w.WriteEndObject();
        w.WriteStartObject("output");
        for (FptunOutput o = FptunOutput.Sent; o < FptunOutput.Count; o++)
        {
            w.WriteNumber(ReasonNames.Of(o), s.Fptun[(int)o]);
        }

        w.WriteEndObject();
        w.WriteEndObject();

        w.WriteStartObject("rates");
        Write(w, "1s", rate(SharedMemory.Capacities.Ports, 1));
        Write(w, "10s", rate(SharedMemory.Capacities.Ports, 10));
        Write(w, "60s", rate(SharedMemory.Capacities.Ports, 60));
        w.WriteEndObject();
        w.WriteEndObject();
    }

    private static ulong Sum(StatisticsSnapshot s, Func<WorkerSnapshot, ulong> of) => s.Workers.Aggregate(0ul, (a, x) => a + of(x));

    private static void WriteFrames(Utf8JsonWriter w, ulong frames, ulong inUse, ulong lost)
    {
        w.WriteStartObject("umem");
        w.WriteNumber("frames", frames);
        w.WriteNumber("inUse", inUse);
        w.WriteNumber("lost", lost);
        w.WriteEndObject();
    }

    private static void Write(Utf8JsonWriter w, Counters c)
    {
        w.WriteNumber("rx", c.Rx);
        w.WriteNumber("rxBytes", c.RxBytes);
        w.WriteNumber("forwarded", c.Forwarded);
        w.WriteNumber("tx", c.Tx);
        w.WriteNumber("txBytes", c.TxBytes);
        w.WriteNumber("checksumsCompleted", c.ChecksumsCompleted);
        w.WriteStartObject("captured");
        w.WriteNumber("copied", c.TapCopied);
        w.WriteNumber("missed", c.TapMissed);
        w.WriteEndObject();
        Write(w, "punted", c.Punted, i => ReasonNames.Of((PuntReason)i));
        Write(w, "puntLimited", c.PuntLimited, i => ReasonNames.Of((PuntReason)i));
        Write(w, "dropped", c.Dropped, i => ReasonNames.Of((DropReason)i));
        Write(w, "passed", c.Passed, i => ReasonNames.Of((PassReason)i));
    }

    private static void Write(Utf8JsonWriter w, string name, ulong[] reasons, Func<int, string> reason)
    {
        w.WriteStartObject(name);
        for (int i = 0; i < reasons.Length; i++)
        {
            if (reasons[i] != 0)
            {
                w.WriteNumber(reason(i), reasons[i]);
            }
        }

        w.WriteEndObject();
    }

    private static void Write(Utf8JsonWriter w, string name, Rate? rate)
    {
        if (rate is null)
        {
            return;
        }

        w.WriteStartObject(name);
        w.WriteNumber("rx", rate.Rx);
        w.WriteNumber("rxBytes", rate.RxBytes);
        w.WriteNumber("forwarded", rate.Forwarded);
        w.WriteNumber("tx", rate.Tx);
        w.WriteNumber("txBytes", rate.TxBytes);
        w.WriteNumber("punted", rate.Punted);
        w.WriteNumber("dropped", rate.Dropped);
        w.WriteNumber("passed", rate.Passed);
        w.WriteEndObject();
    }
}
