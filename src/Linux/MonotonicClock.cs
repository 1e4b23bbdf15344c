namespace FastPathSync.Linux;

/// <summary>CLOCK_MONOTONIC: the one clock that every process of an instance shares.</summary>
public static unsafe class MonotonicClock
{
    public static ulong Nanoseconds
    {
        get
        {
            Libc.timespec t;
            _ = Libc.clock_gettime(Libc.CLOCK_MONOTONIC, &t);
            return ((ulong)t.tv_sec * 1_000_000_000) + (ulong)t.tv_nsec;
        }
    }

    /// <summary>Whole seconds; the unit of use stamps.</summary>
    public static uint CoarseSeconds
    {
        get
        {
            Libc.timespec t;
            _ = Libc.clock_gettime(Libc.CLOCK_MONOTONIC_COARSE, &t);
            return (uint)t.tv_sec;
        }
    }
}
