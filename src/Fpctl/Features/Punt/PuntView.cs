namespace FastPathSync.Fpctl.Features.Punt;

/// <summary>A reason to hand packets to Linux, and how many it is given.</summary>
internal sealed record PuntView
{
    public required string Reason { get; init; }

    /// <summary>Packets per second; absent: no limit.</summary>
    public uint? Rate { get; init; }

    /// <summary>Packets that may come at once; absent: no limit.</summary>
    public uint? Burst { get; init; }

    /// <summary>False: somebody has set it.</summary>
    public required bool Default { get; init; }

    /// <summary>In the bucket just now; absent: no limit.</summary>
    public long? Tokens { get; init; }

    /// <summary>Handed to Linux, as in `fpctl stats`.</summary>
    public required ulong Punted { get; init; }

    /// <summary>Dropped, for the bucket was empty.</summary>
    public required ulong Limited { get; init; }
}
