namespace FastPathSync.Fpctl.Tests.Policer;

/// <summary>
/// The reference: which packets of one flow pass, told from their times alone. bpf/policer.bpf.c says why the window is what it
/// is; this is a second writing of the same three cases, without states, tables or a kernel.
/// </summary>
internal sealed class SlidingWindow(long token, long length)
{
    /// <summary>Null before the first packet.</summary>
    public long? Start { get; private set; }

    public long? End => Start + length;

    /// <summary>True: forward.</summary>
    public bool Arrive(long t)
    {
        if (t < Start)
        {
            return false;
        }

        Start = (Start is null || t > End ? t - length : Start) + token;
        return true;
    }
}

/// <summary>A token bucket as textbooks have it, with a counter (of nanoseconds that have become tokens), for times that don't run backwards.</summary>
internal sealed class CountingBucket(long token, long burst)
{
    private long _credit = burst * token;
    private long _last = long.MinValue;

    public bool Arrive(long t)
    {
        _credit = _last == long.MinValue ? _credit : Math.Min(burst * token, _credit + (t - _last));
        _last = t;
        if (_credit < token)
        {
            return false;
        }

        _credit -= token;
        return true;
    }
}
