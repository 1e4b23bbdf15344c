namespace FastPathSync.Fpctl.Features.Vrf;

/// <summary>A VRF: a network namespace that the instance mirrors.</summary>
internal sealed record VrfView
{
    public required string Name { get; init; }

    /// <summary>The namespace in which the instance was started.</summary>
    public required bool Home { get; init; }

    /// <summary>Inode of the namespace.</summary>
    public required ulong Netns { get; init; }

    public required bool Synced { get; init; }

    public required uint Ports { get; init; }

    /// <summary>What its tables occupy, in bytes.</summary>
    public required ulong Memory { get; init; }

    /// <summary>True: everything of it is Linux's for now; `fpctl status` lists the demotions that say why.</summary>
    public required bool PassAll { get; init; }

    public required bool CheckSource { get; init; }

    public required int Demotions { get; init; }

    public required ulong Resyncs { get; init; }

    public required ulong TableFull { get; init; }

    public required TableSizes Tables { get; init; }
}

internal sealed record TableSizes
{
    public required TableSize Interfaces { get; init; }

    public required TableSize Addresses { get; init; }

    public required TableSize Routes { get; init; }

    public required TableSize Routes6 { get; init; }

    public required TableSize Nexthops { get; init; }

    public required TableSize Neighbours { get; init; }
}

internal sealed record TableSize(int Used, int Capacity);
