using System.Buffers.Binary;
using System.Diagnostics;
using System.Net;

namespace FastPathSync.Differential;

/// <summary>A whole run: epochs, each from the baseline on; rounds, each a changed configuration; packets, each a case.</summary>
internal sealed class Session(RouterPair routers, RunOptions options)
{
    private const int RoundsPerEpoch = 10, ProbesPerRound = 50, FlowsPerSpread = 160, MostMismatches = 20;
    private readonly Judge _judge = new(routers);
    private readonly FlowStability _stability = new();
    private readonly List<string> _history = [];
    private readonly Configuration _configuration = new();
    private int _epoch;

    public int Cases { get; private set; }

    public int LegalChoices => _judge.LegalChoices;

    public List<Mismatch> Mismatches { get; } = [];

    private bool Enough => Cases >= options.Cases || (Mismatches.Count > 0 && !options.KeepGoing) || Mismatches.Count >= MostMismatches;

    public void Run()
    {
        for (_epoch = options.FirstEpoch; !Enough; _epoch++)
        {
            Dice dice = new(SeedOf(options.Seed, _epoch));
            routers.Apply(Baseline.Reset());
            _history.Clear();
            Change(_configuration.Begin());
            for (int round = 0; round < RoundsPerEpoch && !Enough; round++)
            {
                Stopwatch clock = Stopwatch.StartNew();
                Change(_configuration.Step(dice, dice.Between(3, round == 0 ? 20 : 8)));
                Trace(() => $"epoch {_epoch} round {round}: {_configuration.Live.Count} objects, followed after {clock.ElapsedMilliseconds} ms; "
                    + $"demotions: {string.Join("; ", routers.Product!.Status().Demotions.Select(d => d.Object))}");
                PacketFactory factory = new(_configuration, dice);
                Send([.. Enumerable.Range(0, ProbesPerRound).Select(i => factory.Next(Cases + i))]);
                if (!Enough && round % 4 == 3)
                {
                    Spread(dice);
                }

                Trace(() => $"  sent after {clock.ElapsedMilliseconds} ms");
            }
        }
    }

    private void Change(List<Change> changes)
    {
        HashSet<int> failed = routers.Apply([.. changes.Select(c => c.Command)]);
        _configuration.Forget(changes, failed);
        _history.AddRange(changes.Select(c => c.Command).Where((_, i) => !failed.Contains(i)));
        _judge.Changed();
        _stability.Clear();
        if (Following.Wait(routers.Product!, changes.Select(c => c.Command), options.Verify) is string complaint)
        {
            Report(new Mismatch(complaint, [], new Comparison([], [])));
        }
    }

    private Judge.Verdict Send(List<Probe> probes)
    {
        Cases += probes.Count;
        Judge.Verdict verdict = _judge.Try(probes);
        if (!verdict.Difference.Equal)
        {
            Isolate(verdict.Difference, probes);
        }

        bool addressesOnly = !_configuration.Live.Any(o => o.Key.Contains("hash_policy", StringComparison.Ordinal) || o.Kind.StartsWith("rule", StringComparison.Ordinal));
        _stability.Note(probes, verdict.Kernel, verdict.Product, addressesOnly);
        foreach ((IReadOnlyList<Probe> flow, string ways) in _stability.Violations())
        {
            Report(new Mismatch($"one flow goes several ways: {ways}", flow, new Comparison([], [])));
        }

        return verdict;
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

        bool explained = suspects.TrueForAll(_judge.Paths.MayDiffer);
        foreach (Probe probe in suspects)
        {
            if (_judge.TryAlone(probe) is Comparison alone)
            {
                explained = true;
                Report(new Mismatch("the routers differ", [probe], alone));
                if (!options.KeepGoing)
                {
                    return;
                }
            }
        }

        if (!explained)
        {
            Report(new Mismatch("the routers differ", [.. suspects.Take(6)], batch) { Reproducible = false });
        }
    }

    /// <summary>Many flows into one multipath route: the product keeps to the weights where the kernel does.</summary>
    private void Spread(Dice dice)
    {
        if (_configuration.Live.Where(o => o.Multipath).ToArray() is not { Length: > 0 } multipath)
        {
            return;
        }

        string target = dice.PickFrom(dice.PickFrom(multipath).Targets);
        Family family = Hosts.IsIpv6(target.Split('/')[0]) ? Family.Ipv6 : Family.Ipv4;
        int port = dice.Below(RouterPair.Ports);
        IPAddress destination = IPAddress.Parse(Family.Inside(target, dice));
        List<Probe> probes = [];
        for (int i = 0; i < FlowsPerSpread; i++)
        {
            byte[] tag = dice.Bytes(8);
            IPAddress source = IPAddress.Parse(Family.Inside(family.BehindPrefix(port), dice));
            byte[] frame = PacketFactory.Plain(port, family, source, destination, dice.Below(65536), dice.Below(65536), tag);
            probes.Add(new Probe(Cases + i, port, "spread", frame, BinaryPrimitives.ReadUInt64BigEndian(tag)));
        }

        Judge.Verdict verdict = Send(probes);
        IReadOnlyList<Paths.Way> ways = _judge.Paths.Of(probes[^1]);
        if (ways.Count > 1 && ways.All(w => w.Mac is not null) && Weights.Fit(ways, probes, verdict.Kernel) is null && Weights.Fit(ways, probes, verdict.Product) is string misfit)
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

    private void Trace(Func<string> line)
    {
        if (options.Verbose)
        {
            Console.WriteLine(line());
        }
    }

    /// <summary>The same in every run, unlike System.HashCode.</summary>
    private static int SeedOf(int seed, int epoch) => unchecked((seed * 31) + (epoch * 1_000_003));
}
