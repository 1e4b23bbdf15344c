using System.Diagnostics;

namespace FastPathSync.Differential;

/// <summary>Waits until the product has followed a change.</summary>
internal static class Following
{
    private static readonly TimeSpan s_limit = TimeSpan.FromSeconds(8);

    /// <summary>What the kernel announces is there at once; what it doesn't (some sysctls) is polled ten times a second.</summary>
    private static readonly TimeSpan s_announced = TimeSpan.FromMilliseconds(80), s_polled = TimeSpan.FromMilliseconds(300);

    /// <returns>Null when it has; else what is wrong.</returns>
    public static string? Wait(Product product, IEnumerable<string> commands)
    {
        Thread.Sleep(commands.Any(c => c.Contains("sysctl", StringComparison.Ordinal) || c.Contains(" rule ", StringComparison.Ordinal)) ? s_polled : s_announced);
        Stopwatch clock = Stopwatch.StartNew();
        VerifyReport? last = null;
        while (clock.Elapsed < s_limit)
        {
            if ((last = product.Verify()).Equal && product.Status().Synced)
            {
                return null;
            }

            Thread.Sleep(100);
        }

        return last is { Equal: true }
            ? $"status doesn't say synced {s_limit.TotalSeconds} s after the last change"
            : $"fpctl verify: {last?.Differences.Length} differences {s_limit.TotalSeconds} s after the last change: "
                + string.Join("; ", (last?.Differences ?? []).Take(4).Select(d => $"{d.Kind} {d.Object}: kernel {d.Kernel}, fast path {d.Fastpath}"));
    }
}
