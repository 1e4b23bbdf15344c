using FastPathSync.Fpctl.Features.Neighbour;
using FastPathSync.Fpctl.Features.Route;
using FastPathSync.Fpctl.Features.Rule;

namespace FastPathSync.Fpctl.Features.Explain;

/// <summary>What the fast path would do with one packet, why, and what the kernel says to it.</summary>
internal sealed record ExplanationView
{
    /// <summary>It would come in there: [VRF/]IF.</summary>
    public required string Port { get; init; }

    /// <summary>The packet on one line.</summary>
    public required string Packet { get; init; }

    /// <summary>forward, punt, drop; pass: the XDP program gives it to Linux, and no worker sees it.</summary>
    public required string Verdict { get; init; }

    public string? Reason { get; init; }

    /// <summary>That it comes to, in their order; the last one decides.</summary>
    public required string[] Nodes { get; init; }

    /// <summary>The policy rule that decided, where there are rules.</summary>
    public RuleView? Rule { get; init; }

    public RouteView? Route { get; init; }

    public NexthopReference? Nexthop { get; init; }

    /// <summary>That the packet goes to.</summary>
    public NeighbourView? Neighbour { get; init; }

    /// <summary>Of a forwarded packet: [VRF/]IF.</summary>
    public string? Out { get; init; }

    public string? Lladdr { get; init; }

    /// <summary>Hexadecimal: as it would be sent. Of other packets: as Linux would get it, where that isn't as it came.</summary>
    public string? Frame { get; init; }

    /// <summary>Absent where it has no IP addresses to ask for.</summary>
    public KernelView? Kernel { get; init; }

    /// <summary>Absent: there is nothing to compare, for the packet is left to Linux whatever the route.</summary>
    public bool? Agrees { get; init; }

    /// <summary>In what they differ.</summary>
    public string? Mismatch { get; init; }
}

/// <summary>The kernel's answer to RTM_GETROUTE for such a packet received on that port.</summary>
internal sealed record KernelView
{
    /// <summary>It would refuse the packet, with this error.</summary>
    public string? Error { get; init; }

    public string? Type { get; init; }

    public string? Dst { get; init; }

    public string? Table { get; init; }

    /// <summary>More than one: it chooses by the flow.</summary>
    public IReadOnlyList<KernelWayView>? Ways { get; init; }
}

internal sealed record KernelWayView(string? Gateway, string Dev);
