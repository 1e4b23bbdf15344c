using System.Diagnostics;

namespace FastPathSync.Differential;

/// <summary>Waits until the product has followed a change.</summary>
internal static class Following
{
    private static readonly TimeSpan s_limit = TimeSpan.FromSeconds(20);

    /// <summary>What the kernel announces is there at once; what it doesn't (some sysctls) is polled ten times a second.</summary>
    private static readonly TimeSpan s_announced = TimeSpan.FromMilliseconds(80), s_polled = TimeSpan.FromMilliseconds(300);

    /// <returns>Null when it has; else what is wrong.</returns>
    public static string? Wait(Product product, IEnumerable<string> commands, bool verify)
    {
        Thread.Sleep(commands.Any(c => c.Contains("sysctl", StringComparison.Ordinal) || c.Contains(" rule ", StringComparison.Ordinal)) ? s_polled : s_announced);
        Stopwatch clock = Stopwatch.StartNew();
        if (!verify)
        {
            while (!product.Status().Synced && clock.Elapsed < s_limit)
            {
                Thread.Sleep(100);
            }

            return null;
        }

        VerifyReport last = product.Verify();
        while (!last.Equal && clock.Elapsed < s_limit)
        {
            Thread.Sleep(100);
            last = product.Verify();
        }

        return last.Equal ? null : $"fpctl verify: {last.Differences.Length} differences {clock.Elapsed.TotalSeconds:0} s after the last change: "
            + string.Join("; ", last.Differences.Take(4).Select(d => $"{d.Kind} {d.Object}: kernel {d.Kernel}, fast path {d.Fastpath}"));
    }
}
