namespace FastPathSync.Fpctl.Features.Verify;

/// <summary>Something that Linux and the fast path see differently.</summary>
/// <param name="Kind">interface, address, route, nexthop, neighbour, adjacency or fib.</param>
/// <param name="Vrf">Null for the home VRF.</param>
internal sealed record Difference(string Kind, string Object, string Kernel, string Fastpath, string? Vrf = null);

/// <summary>The answer of `fpctl verify`.</summary>
internal sealed record VerifyReport
{
    public required bool Equal { get; init; }

    /// <summary>How many objects were compared, by kind; of the FIB, its entries.</summary>
    public required IReadOnlyDictionary<string, int> Checked { get; init; }

    public required IReadOnlyList<Difference> Differences { get; init; }

    /// <summary>Differences beyond those that are listed.</summary>
    public int? Omitted { get; init; }

    /// <summary>How often what differed was looked at again, since running changes differ for a moment.</summary>
    public required int Rechecks { get; init; }

    /// <summary>The same, of a VRF.</summary>
    public VerifyReport In(string vrf) => vrf.Length == 0 ? this : this with { Differences = [.. Differences.Select(d => d with { Vrf = vrf })] };

    /// <summary>Both in one.</summary>
    public VerifyReport And(VerifyReport other) => new()
    {
        Equal = Equal && other.Equal,
        Checked = Checked.Concat(other.Checked).GroupBy(c => c.Key).ToDictionary(g => g.Key, g => g.Sum(c => c.Value)),
        Differences = [.. Differences, .. other.Differences],
        Omitted = Omitted is null && other.Omitted is null ? null : (Omitted ?? 0) + (other.Omitted ?? 0),
        Rechecks = Math.Max(Rechecks, other.Rechecks),
    };

    /// <summary>True when a resync was asked for because of differences.</summary>
    public bool? Repaired { get; init; }
}
