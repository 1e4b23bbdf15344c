using System.Diagnostics;

namespace FastPathSync.Differential;

/// <summary>A whole run: epochs, each from the baseline on; rounds, each a changed configuration; packets, each a case.</summary>
internal sealed class Session(RouterPair routers, RunOptions options)
{
    public const int RoundsPerEpoch = 10, ProbesPerRound = 50;
    private readonly Exchange _exchange = new(routers);
    private readonly Paths _paths = new(routers);
    private readonly Redirects _redirects = new();
    private readonly FlowStability _stability = new();
    private readonly List<string> _history = [];
    private readonly Configuration _configuration = new();
    private int _epoch;

    public int Cases { get; private set; }

    public int LegalChoices { get; private set; }

    public List<Mismatch> Mismatches { get; } = [];

    private bool Enough => Cases >= options.Cases || (Mismatches.Count > 0 && !options.KeepGoing) || Mismatches.Count >= 20;

    public void Run()
    {
        for (_epoch = options.FirstEpoch; !Enough; _epoch++)
        {
            Dice dice = new(HashCode(options.Seed, _epoch));
            Change(Begin(_configuration));
            for (int round = 0; round < RoundsPerEpoch && !Enough; round++)
            {
                Change(_configuration.Step(dice, dice.Between(3, round == 0 ? 20 : 8)));
                Round(dice);
                if (!Enough && round % 4 == 3)
                {
                    Spread(dice);
                }
            }
        }
    }

    /// <summary>Both routers as they were at first.</summary>
    private List<Change> Begin(Configuration configuration)
    {
        routers.Apply(Baseline.Reset());
        _history.Clear();
        return configuration.Begin();
    }

    private void Change(List<Change> changes)
    {
        HashSet<int> failed = routers.Apply([.. changes.Select(c => c.Command)]);
        _configuration.Forget(changes, failed);
        _history.AddRange(changes.Select(c => c.Command).Where((_, i) => !failed.Contains(i)));
        _paths.ForgetAll();
        _stability.Clear();
        if (Following.Wait(routers.Product!, changes.Select(c => c.Command)) is string complaint)
        {
            Report(new Mismatch(complaint, [], new Comparison([], [])));
        }
    }

    private void Round(Dice dice)
    {
        PacketFactory factory = new(_configuration, dice);
        List<Probe> probes = [.. Enumerable.Range(0, ProbesPerRound).Select(i => factory.Next(Cases + i))];
        Send(probes);
    }

    private (List<Emission> Kernel, List<Emission> Product) Send(List<Probe> probes)
    {
        Cases += probes.Count;
        (List<Emission> kernel, List<Emission> product) = _exchange.Send(probes);
        Comparison found = Judge(kernel, product, probes);
        if (!found.Equal)
        {
            Isolate(found, probes);
        }

        bool addressesOnly = !_configuration.Live.Any(o => o.Key.Contains("hash_policy", StringComparison.Ordinal) || o.Kind.StartsWith("rule", StringComparison.Ordinal));
        _stability.Note(probes, kernel, product, addressesOnly);
        foreach ((IReadOnlyList<Probe> flow, string ways) in _stability.Violations())
        {
            Report(new Mismatch($"one flow goes several ways: {ways}", flow, new Comparison([], [])));
        }

        return (kernel, product);
    }

    private Comparison Judge(List<Emission> kernel, List<Emission> product, IReadOnlyList<Probe> probes)
    {
        _redirects.Note(Side.Kernel, kernel);
        _redirects.Note(Side.Product, product);
        Comparison found = _redirects.WithoutRepeated(Comparison.Of(kernel, product));
        Comparison rest = found.Equal ? found : _paths.WithoutLegalChoices(found, probes);
        LegalChoices += found.OnlyProduct.Count - rest.OnlyProduct.Count;
        return rest;
    }

    /// <summary>Sends those again, one by one, that may have caused the difference.</summary>
    private void Isolate(Comparison batch, List<Probe> probes)
    {
        Emission[] odd = [.. batch.OnlyKernel, .. batch.OnlyProduct];
        List<Probe> suspects = [.. probes.Where(p => odd.Any(e => p.Marks(e.Bytes)))];
        if (odd.Any(e => !probes.Exists(p => p.Marks(e.Bytes))))
        {
            suspects = [.. suspects, .. probes.Except(suspects)];
        }

        bool explained = false;
        foreach (Probe probe in suspects)
        {
            (List<Emission> kernel, List<Emission> product) = _exchange.Send([probe]);
            Comparison alone = Judge(kernel, product, [probe]);
            if (alone.Equal)
            {
                continue;
            }

            explained = true;
            if (_paths.MayDiffer(probe))
            {
                LegalChoices++;
                continue;
            }

            Report(new Mismatch("the routers differ", [probe], alone));
            if (!options.KeepGoing)
            {
                return;
            }
        }

        if (!explained && !suspects.TrueForAll(_paths.MayDiffer))
        {
            Report(new Mismatch("the routers differ", [.. suspects.Take(6)], batch) { Reproducible = false });
        }
    }

    /// <summary>Many flows into one multipath route: the product keeps to the weights where the kernel does.</summary>
    private void Spread(Dice dice)
    {
        const int Flows = 160;
        if (_configuration.Live.Where(o => o.Multipath).ToArray() is not { Length: > 0 } multipath)
        {
            return;
        }

        string target = dice.PickFrom(dice.PickFrom(multipath).Targets);
        Family family = Hosts.IsIpv6(target.Split('/')[0]) ? Family.Ipv6 : Family.Ipv4;
        int port = dice.Below(RouterPair.Ports);
        List<Probe> probes = [];
        for (int i = 0; i < Flows; i++)
        {
            byte[] tag = dice.Bytes(8);
            byte[] frame = PacketFactory.Plain(
                port, family, System.Net.IPAddress.Parse(Family.Inside(family.BehindPrefix(port), dice)), System.Net.IPAddress.Parse(Family.Inside(target, dice)),
                dice.Below(65536), dice.Below(65536), tag);
            probes.Add(new Probe(Cases + i, port, "spread", frame, System.Buffers.Binary.BinaryPrimitives.ReadUInt64BigEndian(tag)));
        }

        (List<Emission> kernel, List<Emission> product) = Send(probes);
        IReadOnlyList<Paths.Way> ways = _paths.Of(probes[^1]);
        Probe[] same = [.. probes.Where(p => _paths.Of(p).SequenceEqual(ways))];
        if (ways.Count > 1 && ways.All(w => w.Mac is not null) && Weights.Fit(ways, same, kernel) is null && Weights.Fit(ways, same, product) is string misfit)
        {
            Report(new Mismatch($"weights not kept: {misfit}", [probes[^1]], new Comparison([], [])));
        }
    }

    private void Report(Mismatch mismatch)
    {
        mismatch = mismatch with { History = [.. _history], Live = [.. _configuration.Live], Epoch = _epoch };
        Mismatches.Add(mismatch);
        foreach (string line in mismatch.Describe())
        {
            Console.WriteLine(line);
        }

        Console.WriteLine($"  again: ./dev test differential --seed {options.Seed} --epoch {_epoch} --cases {Cases}");
    }

    /// <summary>The same in every run, unlike System.HashCode.</summary>
    private static int HashCode(int seed, int epoch) => unchecked((seed * 31) + (epoch * 1_000_003));
}
