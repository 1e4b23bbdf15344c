using FastPathSync.Fpctl.Inspection;

namespace FastPathSync.Fpctl.Features.Route;

/// <summary>A route, in the keys of `ip -j route`, with what the fast path does for its packets.</summary>
internal sealed record RouteView
{
    /// <summary>inet or inet6.</summary>
    public string Family { get; init; } = KernelNames.Family(ipv4: true);

    public required string Type { get; init; }

    public required string Dst { get; init; }

    /// <summary>Only packets from there take it (IPv6).</summary>
    public string? From { get; init; }

    public string? Gateway { get; init; }

    public string? Dev { get; init; }

    public required string Table { get; init; }

    public required string Protocol { get; init; }

    /// <summary>IPv6 routes have none.</summary>
    public string? Scope { get; init; }

    public uint? Metric { get; init; }

    public string? Prefsrc { get; init; }

    /// <summary>As ip prints it: hexadecimal.</summary>
    public string? Tos { get; init; }

    public uint? Mtu { get; init; }

    /// <summary>RFC 4191; absent: medium.</summary>
    public string? Pref { get; init; }

    public uint? Nhid { get; init; }

    public required string[] Flags { get; init; }

    public IReadOnlyList<RouteNexthopView>? Nexthops { get; init; }

    /// <summary>False: another route of the same prefix is the one in force.</summary>
    public required bool Active { get; init; }

    public required string Fastpath { get; init; }

    public string? Reason { get; init; }

    /// <summary>Of the resolved adjacency. Absent on-link, where each destination has a neighbour of its own.</summary>
    public string? Lladdr { get; init; }

    public string? Port { get; init; }
}

/// <summary>One way out of a multipath route.</summary>
internal sealed record RouteNexthopView
{
    public string? Gateway { get; init; }

    public string? Dev { get; init; }

    public required uint Weight { get; init; }

    public required string[] Flags { get; init; }

    public required string Fastpath { get; init; }

    public string? Reason { get; init; }

    public string? Lladdr { get; init; }

    public string? Port { get; init; }
}

/// <summary>The answer of `fpctl route get`.</summary>
internal sealed record RouteGetView
{
    public required string Dst { get; init; }

    /// <summary>The route that covers the destination, by the route table; absent when none does.</summary>
    public RouteView? Route { get; init; }

    public required NexthopReference Nexthop { get; init; }

    public string? Gateway { get; init; }

    public string? Dev { get; init; }

    public string? Lladdr { get; init; }

    public string? Port { get; init; }

    public uint? Mtu { get; init; }

    public required string Fastpath { get; init; }

    public string? Reason { get; init; }

    /// <summary>The neighbour the packet goes to, when the fast path knows one.</summary>
    public Neighbour.NeighbourView? Neighbour { get; init; }

    /// <summary>Of a multipath route: each way a flow may take.</summary>
    public IReadOnlyList<RouteNexthopView>? Nexthops { get; init; }

    /// <summary>Set when the compiled FIB says otherwise than the route table: a fault that `fpctl verify` explains.</summary>
    public string? Warning { get; init; }
}

/// <param name="Index">In the nexthop table.</param>
/// <param name="Prefix">The prefix that put it into the FIB, by the FIB.</param>
/// <param name="Id">NHA_ID of a nexthop object.</param>
internal sealed record NexthopReference(int Index, string Prefix, uint? Id, string Kind);
