namespace FastPathSync.Fpctl.Features.Nexthop;

/// <summary>A nexthop: an object of the user's (id, as in `ip -j nexthop`) or one that lives in its routes.</summary>
internal sealed record NexthopView
{
    public required int Index { get; init; }

    public uint? Id { get; init; }

    public required string Kind { get; init; }

    /// <summary>inet or inet6, of the routes that use it; absent where that makes no difference.</summary>
    public string? Family { get; init; }

    public string? Gateway { get; init; }

    public string? Dev { get; init; }

    public uint? Mtu { get; init; }

    public IReadOnlyList<NexthopMemberView>? Group { get; init; }

    /// <summary>Of a resilient group; each member's weight is then how many of them lead to it.</summary>
    public int? Buckets { get; init; }

    public required string[] Flags { get; init; }

    /// <summary>How many routes lead here.</summary>
    public required int Routes { get; init; }

    public required string Fastpath { get; init; }

    public string? Reason { get; init; }

    public string? Lladdr { get; init; }

    public string? Port { get; init; }
}

internal sealed record NexthopMemberView
{
    public required int Index { get; init; }

    public uint? Id { get; init; }

    public required uint Weight { get; init; }

    public required string Fastpath { get; init; }

    public string? Reason { get; init; }
}
