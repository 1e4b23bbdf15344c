using System.Diagnostics;

namespace FastPathSync.Differential;

/// <summary>Builds the routers, runs, and says what came of it.</summary>
internal static class Oracle
{
    /// <returns>Exit code: 0 no mismatch, 1 mismatches.</returns>
    public static int Run(RunOptions options)
    {
        Stopwatch clock = Stopwatch.StartNew();
        Console.WriteLine($"differential: seed {options.Seed}, {options.Cases} cases");
        using RouterPair routers = new();
        routers.Apply(Baseline.Reset());
        routers.StartProduct();
        Session session = new(routers, options);
        KernelCounters kernel = KernelCounters.Read(routers[Side.Kernel]), behind = KernelCounters.Read(routers[Side.Product]);
        CounterReport before = routers.Product!.SettledTotal();
        session.Run();
        CounterReport after = routers.Product.SettledTotal();
        Console.WriteLine($"kernel   {KernelCounters.Read(routers[Side.Kernel]).Since(kernel)}");
        Console.WriteLine($"product  forwarded {after.Forwarded - before.Forwarded}, punted {after.PuntedTotal - before.PuntedTotal} ({Reasons(before.Punted, after.Punted)}), "
            + $"dropped {after.DroppedTotal - before.DroppedTotal} ({Reasons(before.Dropped, after.Dropped)}), passed by XDP {after.PassedTotal - before.PassedTotal} ({Reasons(before.Passed, after.Passed)})");
        Console.WriteLine($"  Linux behind it: {KernelCounters.Read(routers[Side.Product]).Since(behind)}");
        Console.WriteLine($"{session.Cases} cases, {session.Mismatches.Count} mismatches, {session.LegalChoices} other legal ways, {clock.Elapsed.TotalSeconds:0} s, seed {options.Seed}");
        if (options.Minimise && session.Mismatches.FirstOrDefault() is Mismatch first)
        {
            new Reproducer(routers, options.Verify).Minimise(first);
        }

        TestReport.Write(options.Report, [($"differential: {session.Cases} cases of seed {options.Seed}", session.Mismatches.Count == 0)]);
        return session.Mismatches.Count == 0 ? 0 : 1;
    }

    private static string Reasons(Dictionary<string, ulong> before, Dictionary<string, ulong> after) =>
        string.Join(' ', after.Select(r => (r.Key, Count: r.Value - before.GetValueOrDefault(r.Key))).Where(r => r.Count > 0).OrderByDescending(r => r.Count).Select(r => $"{r.Key} {r.Count}"));
}
