namespace FastPathSync.Fpctl.Features.Policer;

/// <summary>A policer with its totals and some of its flows.</summary>
internal sealed record PolicerView
{
    public required string Dev { get; init; }

    /// <summary>ingress or egress</summary>
    public required string Direction { get; init; }

    public required int Priority { get; init; }

    /// <summary>The id of its program (`bpftool prog show id N`).</summary>
    public required uint Program { get; init; }

    /// <summary>Packets per second.</summary>
    public required uint Rate { get; init; }

    public required uint Burst { get; init; }

    /// <summary>class or source</summary>
    public required string Per { get; init; }

    /// <summary>As --match takes it.</summary>
    public required string Match { get; init; }

    /// <summary>Packets that match and were let through.</summary>
    public required ulong Passed { get; init; }

    public required ulong Dropped { get; init; }

    /// <summary>Packets that don't match: they pass untouched.</summary>
    public required ulong Unmatched { get; init; }

    /// <summary>Packets let through because the state table had no room for their flow.</summary>
    public required ulong Untracked { get; init; }

    public required int FlowsKnown { get; init; }

    public required uint FlowsMax { get; init; }

    /// <summary>As many as were asked for, those with the most drops first.</summary>
    public required IReadOnlyList<PolicerFlowView> Flows { get; init; }
}

internal sealed record PolicerFlowView
{
    /// <summary>An address; "class" for the one flow of a class; "non-ip".</summary>
    public required string Source { get; init; }

    /// <summary>As its last packet left it: default, conforming or exceeding.</summary>
    public required string State { get; init; }

    /// <summary>Of the window's start, from now. Above 0: so long nothing more passes.</summary>
    public required double WindowStartMs { get; init; }

    /// <summary>Packets that would pass at once now.</summary>
    public required uint Tokens { get; init; }

    public required ulong Passed { get; init; }

    public required ulong Dropped { get; init; }
}
