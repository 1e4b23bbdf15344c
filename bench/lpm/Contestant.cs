namespace FastPathSync.LpmBench;

/// <summary>One way to look the addresses up, and the rates it reached, round by round.</summary>
internal sealed record Contestant(bool IsIpv6, bool IsOurs, string Name, Func<int, double> Run)
{
    public string Family => IsIpv6 ? "IPv6" : "IPv4";

    public List<double> MillionsPerSecond { get; } = [];

    public double Median => MillionsPerSecond.Order().ElementAt(MillionsPerSecond.Count / 2);

    public double Best => MillionsPerSecond.Max();
}
