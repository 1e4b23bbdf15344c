using FastPathSync.Fpctl.Features.Statistics;
using FastPathSync.Fpctl.Inspection;
using FastPathSync.Linux;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.Fpctl.Features.Punt;

/// <summary>Makes punt views of the buckets and counters.</summary>
internal static unsafe class PuntReader
{
    public static IEnumerable<PuntView> Show(InstanceTables tables, StatisticsBaseline baseline)
    {
        List<PuntView> views = [];
        PuntLimit* limits = tables.PuntLimits;
        Counters total = baseline.Apply(StatisticsSnapshot.Take(tables)).Total();
        for (PuntReason r = 0; limits != null && r < PuntReason.Count; r++)
        {
            PuntLimit l = limits[(int)r];
            bool limited = l.Token != 0;
            views.Add(new PuntView
            {
                Reason = ReasonNames.Of(r),
                Rate = limited ? l.Rate : null,
                Burst = limited ? l.Burst : null,
                Default = l.Chosen == 0,
                Tokens = limited ? TokenBucket.Held((long)MonotonicClock.Nanoseconds, l.Start, l.Token, l.Burst) : null,
                Punted = total.Punted[(int)r],
                Limited = total.PuntLimited[(int)r],
            });
        }

        return views;
    }
}
