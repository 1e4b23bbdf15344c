using System.Text.Json;

namespace FastPathSync.Labs;

// The JSON of fpctl as docs and scripts rely on it: only the keys promised there, so that more may come.

public sealed record StatusReport(string Instance, string State, bool Synced, DaemonReport[] Daemons, PortReport[] Ports, DemotionReport[] Demotions, UmemReport Umem);

public sealed record DaemonReport(string Name, int Pid, string State, JsonElement Since, int Restarts);

public sealed record PortReport(string Ifname, string Vrf, string Mode, bool Zerocopy, int Queues, int Mtu, string State);

public sealed record DemotionReport(string Object, string Reason, string? Vrf = null);

public sealed record UmemReport(long Frames, long InUse, long Lost);

public record CounterReport
{
    public required ulong Rx { get; init; }

    public required ulong Forwarded { get; init; }

    public required ulong Tx { get; init; }

    public required Dictionary<string, ulong> Punted { get; init; }

    public required Dictionary<string, ulong> Dropped { get; init; }

    public required Dictionary<string, ulong> PuntLimited { get; init; }

    public required Dictionary<string, ulong> Passed { get; init; }

    public ulong PuntedBy(string reason) => Punted.GetValueOrDefault(reason);

    /// <summary>Dropped, for so many were punted already.</summary>
    public ulong LimitedBy(string reason) => PuntLimited.GetValueOrDefault(reason);

    public ulong PassedBy(string reason) => Passed.GetValueOrDefault(reason);

    public ulong PuntedTotal => Sum(Punted);

    public ulong DroppedTotal => Sum(Dropped);

    public ulong PassedTotal => Sum(Passed);

    public string Describe() =>
        $"rx {Rx}, forwarded {Forwarded}, tx {Tx}, punted {string.Join(' ', Punted)}, dropped {string.Join(' ', Dropped)}, passed {string.Join(' ', Passed)}";

    private static ulong Sum(Dictionary<string, ulong> counters) => counters.Values.Aggregate(0ul, (a, b) => a + b);
}

public sealed record PortCounterReport : CounterReport
{
    public required string Ifname { get; init; }
}

public sealed record WorkerCounterReport : CounterReport
{
    public required int Id { get; init; }

    public required int Cpu { get; init; }
}

public sealed record LatencyReport(double P50, double P99, double Max);

public sealed record SyncReport(LatencyReport EventToWorker, long Resyncs, long Overruns);

public sealed record StatsReport(CounterReport Total, PortCounterReport[] Ports, WorkerCounterReport[] Workers, SyncReport Sync);

public sealed record DifferenceReport(string Kind, string Object, JsonElement Kernel, JsonElement Fastpath);

public sealed record VerifyReport(bool Equal, Dictionary<string, long> Checked, DifferenceReport[] Differences);
