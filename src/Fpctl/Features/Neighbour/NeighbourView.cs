namespace FastPathSync.Fpctl.Features.Neighbour;

/// <summary>A neighbour, in the keys of `ip -j neigh`, with what the fast path does for packets to it.</summary>
internal sealed record NeighbourView
{
    /// <summary>inet or inet6.</summary>
    public required string Family { get; init; }

    public required string Dst { get; init; }

    public required string Dev { get; init; }

    public string? Lladdr { get; init; }

    public required string[] State { get; init; }

    public required string Fastpath { get; init; }

    public string? Reason { get; init; }

    public string? Port { get; init; }

    /// <summary>Seconds since a worker last sent to it; absent when none ever did.</summary>
    public uint? Used { get; init; }
}
