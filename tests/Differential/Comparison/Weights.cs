namespace FastPathSync.Differential;

/// <summary>Pearson's chi-square of flows per way against the weights.</summary>
internal static class Weights
{
    /// <returns>Null when the spread fits; else how it is, beside how it should be.</returns>
    public static string? Fit(IReadOnlyList<Paths.Way> ways, IReadOnlyList<Probe> probes, List<Emission> emissions)
    {
        const int Enough = 60;
        string Name(Paths.Way w) => $"p{w.Port} {w.Mac}";
        Dictionary<string, double> weights = ways.GroupBy(Name).ToDictionary(g => g.Key, g => g.Sum(w => w.Weight));
        Dictionary<string, int> counts = emissions
            .Where(e => probes.Any(p => p.Marks(e.Bytes) && e.Bytes.Length == p.Frame.Length))
            .GroupBy(e => $"p{e.Port} {Hosts.Text(e.Bytes.AsSpan(0, 6))}").Where(g => weights.ContainsKey(g.Key)).ToDictionary(g => g.Key, g => g.Count());
        int total = counts.Values.Sum();
        if (weights.Count < 2 || total < Enough)
        {
            return null;
        }

        double sum = weights.Values.Sum(), chiSquare = 0;
        foreach ((string way, double weight) in weights)
        {
            double expected = total * weight / sum, seen = counts.GetValueOrDefault(way);
            chiSquare += (seen - expected) * (seen - expected) / expected;
        }

        // Once in 20 million times by chance (1 degree of freedom: 30; each further one moves that by about 4).
        return chiSquare <= 30 + (4 * (weights.Count - 2))
            ? null
            : string.Join(", ", weights.Select(w => $"{w.Key} {counts.GetValueOrDefault(w.Key)} of {total} where weight {w.Value} of {sum} asks for {total * w.Value / sum:0}"));
    }
}
