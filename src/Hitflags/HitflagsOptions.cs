namespace FastPathSync.Hitflags;

internal sealed class HitflagsOptions
{
    /// <summary>
    /// Must stay below the kernel's delay_first_probe_time (5 s): a neighbour used that recently is probed when its
    /// reachable time ends, and not left STALE.
    /// </summary>
    public TimeSpan Interval { get; set; } = TimeSpan.FromSeconds(2);
}
