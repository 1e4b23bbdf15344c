using FastPathSync.Linux;

namespace FastPathSync.CacheManager.Sync;

/// <summary>A moment of CLOCK_MONOTONIC, or none.</summary>
public struct Deadline
{
    private ulong _ns;

    public readonly bool IsSet => _ns != 0;

    public static Deadline In(TimeSpan delay) => new() { _ns = MonotonicClock.Nanoseconds + (ulong)delay.TotalNanoseconds };

    /// <summary>True once, when the moment has come.</summary>
    public bool TakeIfDue()
    {
        if (_ns == 0 || MonotonicClock.Nanoseconds < _ns)
        {
            return false;
        }

        _ns = 0;
        return true;
    }

    /// <summary>Milliseconds to wait for the first of them, -1 for ever.</summary>
    public static int Soonest(params ReadOnlySpan<Deadline> deadlines)
    {
        ulong first = 0;
        foreach (Deadline d in deadlines)
        {
            first = d._ns != 0 && (first == 0 || d._ns < first) ? d._ns : first;
        }

        ulong now = MonotonicClock.Nanoseconds;
        return first == 0 ? -1 : first <= now ? 0 : (int)((first - now) / 1_000_000) + 1;
    }
}
