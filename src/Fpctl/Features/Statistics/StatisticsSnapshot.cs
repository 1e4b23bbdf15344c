using System.Text.Json.Serialization;
using FastPathSync.Fpctl.Inspection;
using FastPathSync.Linux;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.Fpctl.Features.Statistics;

/// <summary>What the kernel and XDP did on a port before a worker saw the packet: passed, and dropped at the rings.</summary>
internal sealed class PortSnapshot
{
    public string Ifname { get; set; } = "";

    public string Vrf { get; set; } = NetworkNamespace.Unnamed;

    public uint Ifindex { get; set; }

    public Counters BeforeWorkers { get; set; } = new();

    /// <summary>No port has the id.</summary>
    [JsonIgnore]
    public bool IsFree => Ifname.Length == 0;

    /// <summary>Ids are given to other ports in time.</summary>
    public bool IsSame(PortSnapshot? other) => other is not null && other.Ifname == Ifname && other.Vrf == Vrf;
}

internal sealed class WorkerSnapshot
{
    public uint Id { get; set; }

    public uint Cpu { get; set; }

    /// <summary>Times it took packets from a socket: rx / bursts tells how busy it is.</summary>
    public ulong Bursts { get; set; }

    /// <summary>Times it found nothing to do and blocked.</summary>
    public ulong Sleeps { get; set; }

    public ulong Frames { get; set; }

    public ulong FramesInUse { get; set; }

    public ulong FramesLost { get; set; }

    /// <summary>By PortId.</summary>
    public List<Counters> Ports { get; set; } = [];

    /// <param name="baseline">Null: of the beginning.</param>
    /// <param name="knows">Whether the baseline's port of an id is the one of now.</param>
    public WorkerSnapshot Since(WorkerSnapshot? baseline, Func<int, bool> knows) => new()
    {
        Id = Id,
        Cpu = Cpu,
        Bursts = Since(Bursts, baseline?.Bursts),
        Sleeps = Since(Sleeps, baseline?.Sleeps),
        Frames = Frames,
        FramesInUse = FramesInUse,
        FramesLost = FramesLost,
        Ports = [.. Ports.Select((c, i) => c.Since(knows(i) ? baseline?.Ports.ElementAtOrDefault(i) : null))],
    };

    private static ulong Since(ulong now, ulong? then) => then is ulong t && now >= t ? now - t : now;
}

/// <summary>Of the slow continuous audit, since the tables were made; `stats --reset` doesn't touch it.</summary>
internal sealed record AuditSnapshot(ulong Runs, ulong Checked, ulong Repaired, DateTimeOffset? Last);

/// <summary>Every counter of an instance at one moment; also what `stats --reset` keeps as the baseline.</summary>
internal sealed unsafe class StatisticsSnapshot
{
    public DateTimeOffset Taken { get; set; }

    public List<PortSnapshot> Ports { get; set; } = [];

    public List<WorkerSnapshot> Workers { get; set; } = [];

    public ulong[] Latency { get; set; } = [];

    public ulong LatencyMax { get; set; }

    /// <summary>CLOCK_MONOTONIC nanoseconds when the last change was in the tables.</summary>
    public ulong LastChange { get; set; }

    public ulong Resyncs { get; set; }

    public ulong Overruns { get; set; }

    public AuditSnapshot Audit { get; set; } = new(0, 0, 0, null);

    /// <summary>By FptunCommand, FptunRefusal and FptunOutput.</summary>
    public ulong[] Fptun { get; set; } = new ulong[FastPathState.FptunCounters];

    /// <summary>Given to Linux: by any command but OUTPUT, which goes the other way.</summary>
    public ulong FptunInjected => Sum(Fptun.AsSpan((int)FptunCommand.Basic, (int)FptunCommand.Output - (int)FptunCommand.Basic));

    public ulong FptunRefused => Sum(Fptun.AsSpan((int)FptunRefusal.NoTrailer, (int)FptunRefusal.Count - (int)FptunRefusal.NoTrailer)) + Fptun[(int)FptunOutput.Refused];

    public static StatisticsSnapshot Take(InstanceTables tables)
    {
        StatisticsSnapshot s = new() { Taken = DateTimeOffset.UtcNow };
        VrfState* v = tables.Vrf;
        s.Latency = new ReadOnlySpan<ulong>(v->Latency, VrfState.LatencyBuckets).ToArray();
        s.LatencyMax = v->LatencyMax;
        s.LastChange = v->LastChange;
        s.Resyncs = v->Resyncs;
        s.Overruns = v->Overruns;
        s.Audit = new(v->AuditRuns, v->AuditChecked, v->AuditRepaired, v->AuditLast == 0 ? null : DateTimeOffset.FromUnixTimeSeconds(v->AuditLast));
        FastPathState* f = tables.FastPath;
        if (f is null)
        {
            return s; // the fast path never ran: there is nothing to count yet
        }

        s.Fptun = new ReadOnlySpan<ulong>(f->Fptun, FastPathState.FptunCounters).ToArray();
        for (int i = 0; i < f->PortCount; i++)
        {
            s.Ports.Add(TakePort(tables.Port(i)));
        }

        for (int i = 0; i < f->WorkerCount; i++)
        {
            if (tables.Worker(i) is SharedMemory.Segment worker)
            {
                s.Workers.Add(TakeWorker(worker, s.Ports.Count));
            }
        }

        return s;
    }

    /// <summary>Of the ports there are.</summary>
    [JsonIgnore]
    public IEnumerable<int> PortIds => Enumerable.Range(0, Ports.Count).Where(i => !Ports[i].IsFree);

    public Counters OfPort(int port) =>
        Counters.Sum([Ports[port].BeforeWorkers, .. Workers.Where(w => port < w.Ports.Count).Select(w => w.Ports[port])]);

    public Counters OfWorker(int index) => Counters.Sum(Workers[index].Ports);

    public Counters Total() => Counters.Sum(Enumerable.Range(0, Ports.Count).Select(OfPort));

    /// <summary>What was counted since the baseline; state (frames, names) as it is now.</summary>
    public StatisticsSnapshot Since(StatisticsSnapshot baseline) => new()
    {
        Taken = Taken,
        Ports = [.. Ports.Select((p, i) => new PortSnapshot
        {
            Ifname = p.Ifname,
            Vrf = p.Vrf,
            Ifindex = p.Ifindex,
            BeforeWorkers = p.BeforeWorkers.Since(p.IsSame(baseline.Ports.ElementAtOrDefault(i)) ? baseline.Ports[i].BeforeWorkers : null),
        })],
        Workers = [.. Workers.Select(w => w.Since(baseline.Workers.Find(b => b.Id == w.Id), i => Ports[i].IsSame(baseline.Ports.ElementAtOrDefault(i))))],
        Latency = baseline.Latency.Length == Latency.Length && Latency.Zip(baseline.Latency).All(p => p.First >= p.Second)
            ? [.. Latency.Zip(baseline.Latency, (a, b) => a - b)] : Latency,
        LatencyMax = LatencyMax,
        LastChange = LastChange,
        Audit = Audit,
        Resyncs = Resyncs >= baseline.Resyncs ? Resyncs - baseline.Resyncs : Resyncs,
        Overruns = Overruns >= baseline.Overruns ? Overruns - baseline.Overruns : Overruns,
        Fptun = [.. Fptun.Select((n, i) => n >= baseline.Fptun.ElementAtOrDefault(i) ? n - baseline.Fptun.ElementAtOrDefault(i) : n)],
    };

    private static ulong Sum(ReadOnlySpan<ulong> counters)
    {
        ulong sum = 0;
        foreach (ulong n in counters)
        {
            sum += n;
        }

        return sum;
    }

    private static PortSnapshot TakePort(PortState* p)
    {
        // What the rings lost was received and dropped, though no worker saw it.
        Counters c = new() { Rx = p->RxRingFull + p->NoFrame };
        c.Dropped[(int)DropReason.RxRingFull] = p->RxRingFull;
        c.Dropped[(int)DropReason.NoFrame] = p->NoFrame;
        new ReadOnlySpan<ulong>(p->Passed, c.Passed.Length).CopyTo(c.Passed);
        return new PortSnapshot { Ifname = p->Name.ToString(), Vrf = p->Vrf.ToString() is { Length: > 0 } vrf ? vrf : NetworkNamespace.Unnamed, Ifindex = p->IfIndex, BeforeWorkers = c };
    }

    private static WorkerSnapshot TakeWorker(SharedMemory.Segment segment, int ports)
    {
        WorkerState* w = WorkerSegment.State(segment);
        WorkerSnapshot s = new()
        {
            Id = w->Id,
            Cpu = w->Cpu,
            Bursts = w->Bursts,
            Sleeps = w->Sleeps,
            Frames = w->Frames,
            FramesInUse = w->FramesInUse,
            FramesLost = w->FramesLost,
        };
        for (int i = 0; i < ports; i++)
        {
            PortCounters* p = WorkerSegment.Port(segment, i);
            Counters c = new()
            {
                Rx = p->Rx,
                RxBytes = p->RxBytes,
                Tx = p->Tx,
                TxBytes = p->TxBytes,
                Forwarded = p->Forwarded,
                ChecksumsCompleted = p->ChecksumsCompleted,
                TapCopied = p->TapCopied,
                TapMissed = p->TapMissed,
            };
            new ReadOnlySpan<ulong>(p->Punted, c.Punted.Length).CopyTo(c.Punted);
            new ReadOnlySpan<ulong>(p->PuntLimited, c.PuntLimited.Length).CopyTo(c.PuntLimited);
            new ReadOnlySpan<ulong>(p->Dropped, c.Dropped.Length).CopyTo(c.Dropped);
            s.Ports.Add(c);
        }

        return s;
    }
}
