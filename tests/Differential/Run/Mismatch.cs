namespace FastPathSync.Differential;

/// <summary>A difference between the two routers, and what led there.</summary>
internal sealed record Mismatch(string What, IReadOnlyList<Probe> Probes, Comparison Difference)
{
    /// <summary>Every command since the last reset.</summary>
    public IReadOnlyList<string> History { get; init; } = [];

    /// <summary>What was known of neighbours, as commands: a packet that has to wait for one takes another way through the product.</summary>
    public IReadOnlyList<string> Neighbours { get; init; } = [];

    /// <summary>The objects live at the end.</summary>
    public IReadOnlyList<ConfigurationObject> Live { get; init; } = [];

    /// <summary>The port that wasn't the fast path's.</summary>
    public int? LinuxPort { get; init; }

    public bool Reproducible { get; init; } = true;

    public IEnumerable<string> Describe()
    {
        yield return $"MISMATCH{(Reproducible ? "" : " (not seen again when sent alone)")}: {What}";
        if (LinuxPort is int p)
        {
            yield return $"  p{p} is not a port of the fast path";
        }

        foreach (Probe probe in Probes.Take(6))
        {
            yield return $"  {probe}";
            yield return $"    {FrameText.Hex(probe.Frame)}";
        }

        foreach ((string side, List<Emission> only) in ((string, List<Emission>)[])[("kernel", Difference.OnlyKernel), ("product", Difference.OnlyProduct)])
        {
            yield return only.Count == 0 ? $"  only the {side}: nothing" : $"  only the {side}:";
            foreach (Emission e in only.Take(6))
            {
                yield return $"    p{e.Port}: {FrameText.Describe(e.Bytes)}";
                yield return $"      {FrameText.Hex(e.Bytes)}";
            }
        }
    }
}
