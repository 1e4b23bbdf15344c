namespace FastPathSync.Differential;

/// <summary>Sends packets to both routers and says what differs, once what may differ is taken out.</summary>
internal sealed class Judge(RouterPair routers)
{
    private readonly Exchange _exchange = new(routers);
    private readonly Redirects _redirects = new();

    public Paths Paths { get; } = new(routers);

    /// <summary>Packets that took another legal way than the kernel's.</summary>
    public int LegalChoices { get; private set; }

    public sealed record Verdict(List<Emission> Kernel, List<Emission> Product, Comparison Difference);

    public Verdict Try(IReadOnlyList<Probe> probes)
    {
        (List<Emission> kernel, List<Emission> product) = _exchange.Send(probes);
        _redirects.Note(Side.Kernel, kernel);
        _redirects.Note(Side.Product, product);
        Comparison found = _redirects.WithoutRepeated(Comparison.Of(kernel, product));
        Comparison rest = found.Equal ? found : Paths.WithoutLegalChoices(found, probes);
        LegalChoices += found.OnlyProduct.Count - rest.OnlyProduct.Count;
        return new Verdict(kernel, product, rest);
    }

    /// <summary>One packet alone: null when all is well.</summary>
    public Comparison? TryAlone(Probe probe)
    {
        Comparison alone = Try([probe]).Difference;
        if (alone.Equal)
        {
            return null;
        }

        if (Paths.MayDiffer(probe))
        {
            LegalChoices++;
            return null;
        }

        return alone;
    }

    /// <summary>After a change of the configuration.</summary>
    public void Changed() => Paths.ForgetAll();

    /// <summary>After a reset, when the kernels may have forgotten whom they redirected.</summary>
    public void Forget() => Paths.ForgetAll();
}
