namespace FastPathSync.Differential;

/// <summary>Sends packets to both routers and says what differs, once what may differ is taken out.</summary>
internal sealed class Judge(RouterPair routers)
{
    private readonly Exchange _exchange = new(routers);
    private readonly Redirects _redirects = new();

    public Paths Paths { get; } = new(routers);

    public Comparison Try(IReadOnlyList<Probe> probes)
    {
        (List<Emission> kernel, List<Emission> product) = _exchange.Send(probes);
        _redirects.Note(Side.Kernel, kernel);
        _redirects.Note(Side.Product, product);
        return _redirects.WithoutRepeated(Comparison.Of(kernel, product));
    }

    /// <summary>One packet alone: null when all is well.</summary>
    public Comparison? TryAlone(Probe probe)
    {
        Comparison alone = Try([probe]);
        return alone.Equal ? null : alone;
    }

    /// <summary>After a change of the configuration.</summary>
    public void Changed() => Paths.ForgetAll();
}
