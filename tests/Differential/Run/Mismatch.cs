namespace FastPathSync.Differential;

/// <summary>A difference between the two routers, and what led there.</summary>
internal sealed record Mismatch(string What, IReadOnlyList<Probe> Probes, Comparison Difference)
{
    /// <summary>Every command since the last reset.</summary>
    public IReadOnlyList<string> History { get; init; } = [];

    /// <summary>The objects live at the end.</summary>
    public IReadOnlyList<ConfigurationObject> Live { get; init; } = [];

    public bool Reproducible { get; init; } = true;

    public int Epoch { get; init; }

    public IEnumerable<string> Describe()
    {
        yield return $"MISMATCH{(Reproducible ? "" : " (not seen again when sent alone)")}: {What}";
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
