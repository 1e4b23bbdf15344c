namespace FastPathSync.Fpctl.Features.Port;

/// <summary>A port of the fast path.</summary>
internal sealed record PortView
{
    public required string Ifname { get; init; }

    public required uint Ifindex { get; init; }

    /// <summary>PortId: its place among the --port options; of a port that was added, the lowest that was free.</summary>
    public required int Id { get; init; }

    public required string Vrf { get; init; }

    /// <summary>native or generic.</summary>
    public required string Mode { get; init; }

    public required bool Zerocopy { get; init; }

    public required uint Queues { get; init; }

    public required uint Mtu { get; init; }

    /// <summary>The largest whose frames fit the UMEM.</summary>
    public required uint MaxMtu { get; init; }

    /// <summary>up, down or gone.</summary>
    public required string State { get; init; }

    /// <summary>The MAC address.</summary>
    public string? Address { get; init; }

    public required ulong Rx { get; init; }

    public required ulong Tx { get; init; }

    public required ulong Forwarded { get; init; }
}
