using System.Diagnostics;

namespace FastPathSync.FastPath.Capture;

/// <summary>
/// The time that a worker may spend on copies: all that it would have idled away, and a fortieth of the rest. So a capture takes
/// little from a worker that has its hands full, and is complete where it has not. Only a worker that copies reads the clock.
/// </summary>
internal struct TapBudget
{
    /// <summary>Of the time that isn't idle, one part in so many.</summary>
    private const long BusyShare = 40;

    private static readonly long s_most = Stopwatch.Frequency / 200; // 5 ms

    private static readonly long s_longest = Stopwatch.Frequency / 50_000;

    private long _credit;
    private long _last;
    private long _idleSince;

    public readonly bool IsLeft => _credit > 0;

    /// <summary>The worker finds nothing to do.</summary>
    public void Idle()
    {
        if (_idleSince == 0)
        {
            _idleSince = Stopwatch.GetTimestamp();
        }
    }

    /// <summary>A burst has come.</summary>
    public void Earn()
    {
        long now = Stopwatch.GetTimestamp();
        long idle = _idleSince == 0 ? 0 : now - _idleSince;
        _idleSince = 0;
        _credit = Math.Min(s_most, _credit + idle + ((now - _last - idle) / BusyShare));
        _last = now;
    }

    /// <param name="from">When the copies were begun.</param>
    /// <param name="copies">How many. One doesn't take longer than 20 µs: what does is a thread that was taken off its CPU.</param>
    public void Spend(long from, int copies) => _credit -= Math.Min(Stopwatch.GetTimestamp() - from, copies * s_longest);
}
