using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.Fpctl.Features.Statistics;

/// <summary>One set of counters: of a port in a worker, of a port, of a worker or of everything.</summary>
internal sealed class Counters
{
    public ulong Rx { get; set; }

    public ulong RxBytes { get; set; }

    public ulong Tx { get; set; }

    public ulong TxBytes { get; set; }

    public ulong Forwarded { get; set; }

    /// <summary>L4 checksums that the sender had left to its (virtual) hardware.</summary>
    public ulong ChecksumsCompleted { get; set; }

    /// <summary>Shown to packet sockets (tcpdump) on the port, as received or as sent.</summary>
    public ulong TapCopied { get; set; }

    /// <summary>Not shown to them, for want of time.</summary>
    public ulong TapMissed { get; set; }

    public ulong[] Punted { get; set; } = new ulong[(int)PuntReason.Count];

    /// <summary>Of the dropped as punt-limited, by the reason for which they would have been punted.</summary>
    public ulong[] PuntLimited { get; set; } = new ulong[(int)PuntReason.Count];

    public ulong[] Dropped { get; set; } = new ulong[(int)DropReason.Count];

    public ulong[] Passed { get; set; } = new ulong[(int)PassReason.Count];

    public static Counters Sum(IEnumerable<Counters> parts)
    {
        Counters sum = new();
        foreach (Counters c in parts)
        {
            sum.Rx += c.Rx;
            sum.RxBytes += c.RxBytes;
            sum.Tx += c.Tx;
            sum.TxBytes += c.TxBytes;
            sum.Forwarded += c.Forwarded;
            sum.ChecksumsCompleted += c.ChecksumsCompleted;
            sum.TapCopied += c.TapCopied;
            sum.TapMissed += c.TapMissed;
            Add(sum.Punted, c.Punted);
            Add(sum.PuntLimited, c.PuntLimited);
            Add(sum.Dropped, c.Dropped);
            Add(sum.Passed, c.Passed);
        }

        return sum;
    }

    /// <summary>
    /// What was counted since <paramref name="baseline"/>. Counters that went backwards belong to a fresh segment, to which
    /// the baseline says nothing.
    /// </summary>
    public Counters Since(Counters? baseline) => baseline is null || IsBehind(baseline) ? this : new Counters
    {
        Rx = Rx - baseline.Rx,
        RxBytes = RxBytes - baseline.RxBytes,
        Tx = Tx - baseline.Tx,
        TxBytes = TxBytes - baseline.TxBytes,
        Forwarded = Forwarded - baseline.Forwarded,
        ChecksumsCompleted = ChecksumsCompleted - baseline.ChecksumsCompleted,
        TapCopied = TapCopied - baseline.TapCopied,
        TapMissed = TapMissed - baseline.TapMissed,
        Punted = Difference(Punted, baseline.Punted),
        PuntLimited = Difference(PuntLimited, baseline.PuntLimited),
        Dropped = Difference(Dropped, baseline.Dropped),
        Passed = Difference(Passed, baseline.Passed),
    };

    public static ulong Total(ulong[] reasons) => reasons.Aggregate(0ul, (a, b) => a + b);

    private bool IsBehind(Counters b) =>
        Rx < b.Rx || RxBytes < b.RxBytes || Tx < b.Tx || TxBytes < b.TxBytes || Forwarded < b.Forwarded
        || ChecksumsCompleted < b.ChecksumsCompleted || TapCopied < b.TapCopied || TapMissed < b.TapMissed
        || IsBehind(Punted, b.Punted) || IsBehind(PuntLimited, b.PuntLimited) || IsBehind(Dropped, b.Dropped) || IsBehind(Passed, b.Passed);

    private static bool IsBehind(ulong[] now, ulong[] then) => now.Length != then.Length || now.Zip(then).Any(p => p.First < p.Second);

    private static void Add(ulong[] sum, ulong[] part)
    {
        for (int i = 0; i < sum.Length; i++)
        {
            sum[i] += part[i];
        }
    }

    private static ulong[] Difference(ulong[] now, ulong[] then) => [.. now.Zip(then, (a, b) => a - b)];
}
