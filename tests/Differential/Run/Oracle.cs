using System.Diagnostics;

namespace FastPathSync.Differential;

/// <summary>Runs epoch after epoch until all cases are done, and says what came of it.</summary>
internal static class Oracle
{
    private const int MostMismatches = 20;

    /// <returns>Exit code: 0 no mismatch, 1 mismatches.</returns>
    public static int Run(RunOptions options)
    {
        Stopwatch clock = Stopwatch.StartNew();
        Console.WriteLine($"differential: seed {options.Seed}, {options.Cases} cases");
        Tally tally = new();
        List<Mismatch> mismatches = [];
        int cases = 0;
        for (int number = options.FirstEpoch; cases < options.Cases && (mismatches.Count == 0 || options.KeepGoing) && mismatches.Count < MostMismatches; number++)
        {
            using RouterPair routers = new(Epoch.LinuxPort(options.Seed, number));
            Epoch epoch = new(routers, options, number);
            epoch.Run(options.Cases - cases);
            tally.Add(routers);
            mismatches.AddRange(epoch.Mismatches);
            cases += epoch.Cases;
        }

        tally.Print();
        Console.WriteLine($"{cases} cases, {mismatches.Count} mismatches, {clock.Elapsed.TotalSeconds:0} s, seed {options.Seed}");
        if (options.Minimise && mismatches.LastOrDefault() is Mismatch found)
        {
            using Reproducer reproducer = new(options.Verify, found.LinuxPort);
            reproducer.Minimise(found);
        }

        TestReport.Write(options.Report, [($"differential: {cases} cases of seed {options.Seed}", mismatches.Count == 0)]);
        return mismatches.Count == 0 ? 0 : 1;
    }
}
