using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.Fpctl.Features.Statistics;

/// <summary>Percentiles of the event-to-worker histogram, in microseconds.</summary>
internal static class LatencyHistogram
{
    /// <summary>The lower bound of the bucket that holds the event of that rank; 0 when nothing was counted.</summary>
    public static ulong Percentile(ReadOnlySpan<ulong> buckets, double fraction)
    {
        ulong total = Total(buckets);
        if (total == 0)
        {
            return 0;
        }

        ulong rank = Math.Max(1, (ulong)Math.Ceiling(fraction * total)), seen = 0;
        for (int b = 0; b < buckets.Length; b++)
        {
            seen += buckets[b];
            if (seen >= rank)
            {
                return VrfState.LowerBound(b);
            }
        }

        return VrfState.LowerBound(buckets.Length - 1);
    }

    /// <summary>The largest: exactly when it was seen since the baseline, else by its bucket.</summary>
    public static ulong Maximum(ReadOnlySpan<ulong> buckets, ulong everMaximum)
    {
        int last = buckets.LastIndexOfAnyExcept(0ul);
        return last < 0 ? 0 : VrfState.BucketOf(everMaximum) == last ? everMaximum : VrfState.LowerBound(last);
    }

    public static ulong Total(ReadOnlySpan<ulong> buckets)
    {
        ulong total = 0;
        foreach (ulong n in buckets)
        {
            total += n;
        }

        return total;
    }
}
