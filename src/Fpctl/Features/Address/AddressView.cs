using System.Text.Json.Serialization;

namespace FastPathSync.Fpctl.Features.Address;

/// <summary>An interface that has addresses, in the keys of `ip -j address`.</summary>
internal sealed record AddressView
{
    public required uint Ifindex { get; init; }

    public required string Ifname { get; init; }

    public required string[] Flags { get; init; }

    public required uint Mtu { get; init; }

    public required string Operstate { get; init; }

    /// <summary>The MAC address.</summary>
    public string? Address { get; init; }

    [JsonPropertyName("addr_info")]
    public required IReadOnlyList<AddressInfo> AddressInfo { get; init; }
}

internal sealed record AddressInfo
{
    /// <summary>inet or inet6.</summary>
    public required string Family { get; init; }

    public required string Local { get; init; }

    /// <summary>The peer's, on point-to-point links.</summary>
    public string? Address { get; init; }

    public required int Prefixlen { get; init; }

    public string? Broadcast { get; init; }

    public required string Scope { get; init; }

    public bool? Secondary { get; init; }

    /// <summary>Of IPv6 addresses: tentative, deprecated and the like.</summary>
    public string[]? Flags { get; init; }

    public string? Label { get; init; }
}
