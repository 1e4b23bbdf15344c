using System.Diagnostics;

namespace FastPathSync.Differential;

/// <summary>Finds the fewest commands that still make a packet come out differently, from routers brought back to the baseline.</summary>
internal sealed class Reproducer(RouterPair routers, bool verify)
{
    private static readonly TimeSpan s_limit = TimeSpan.FromSeconds(150);
    private readonly Judge _judge = new(routers);
    private readonly Stopwatch _clock = Stopwatch.StartNew();
    private Comparison? _last;

    /// <summary>Prints it.</summary>
    public void Minimise(Mismatch mismatch)
    {
        if (mismatch is not { Reproducible: true, Probes: [Probe probe, ..] })
        {
            Console.WriteLine("No single packet shows it; what is configured:");
            Print(mismatch.Live.SelectMany(o => o.Add));
            return;
        }

        // Whatever state the product was in belongs to the mismatch; the reproducer begins with a fresh one.
        routers.StopProduct();
        routers.Apply(Baseline.Reset());
        routers.StartProduct();
        List<IReadOnlyList<string>> parts = [.. mismatch.Live.Select(o => o.Add)];
        if (!Differs(parts, probe))
        {
            parts = [.. mismatch.History.Select(c => (IReadOnlyList<string>)[c])];
            if (!Differs(parts, probe))
            {
                Console.WriteLine($"Not seen again from the baseline on, neither with what is configured nor with all {parts.Count} commands that led there. What is configured:");
                Print(mismatch.Live.SelectMany(o => o.Add));
                return;
            }
        }

        parts = Fewest(parts, probe);
        parts = Fewest([.. parts.SelectMany(p => p).Select(c => (IReadOnlyList<string>)[c])], probe);
        Differs(parts, probe);
        Console.WriteLine($"""
            Minimal reproducer ({parts.Count} commands{(_clock.Elapsed > s_limit ? ", not all tried: time is up" : "")}), in both routers with ports p0-p{RouterPair.Ports - 1} ({RouterPair.MacOf(0)} …), forwarding on, rp_filter off:
            """);
        Print(parts.SelectMany(p => p));
        foreach (string line in (mismatch with { Difference = _last ?? mismatch.Difference, Probes = [probe] }).Describe().Skip(1))
        {
            Console.WriteLine(line);
        }
    }

    private static void Print(IEnumerable<string> commands)
    {
        foreach (string command in commands)
        {
            Console.WriteLine($"    {command.Replace("wire ip link set {far}", "ip link set the far end of p", StringComparison.Ordinal).Replace("sysctl -qw", "sysctl -w", StringComparison.Ordinal)}");
        }
    }

    /// <summary>Delta debugging (Zeller's ddmin): halves, quarters … are left out while it still differs.</summary>
    private List<IReadOnlyList<string>> Fewest(List<IReadOnlyList<string>> parts, Probe probe)
    {
        for (int chunk = Math.Max(1, parts.Count / 2); _clock.Elapsed < s_limit;)
        {
            bool shorter = false;
            for (int at = 0; at < parts.Count && _clock.Elapsed < s_limit;)
            {
                List<IReadOnlyList<string>> without = [.. parts.Take(at), .. parts.Skip(at + chunk)];
                if (Differs(without, probe))
                {
                    parts = without;
                    shorter = true;
                }
                else
                {
                    at += chunk;
                }
            }

            if (chunk == 1 && !shorter)
            {
                break;
            }

            chunk = shorter ? Math.Min(chunk, Math.Max(1, parts.Count / 2)) : chunk / 2;
        }

        return parts;
    }

    private bool Differs(List<IReadOnlyList<string>> parts, Probe probe)
    {
        string[] commands = [.. parts.SelectMany(p => p)];
        routers.Apply(Baseline.Reset());
        routers.Apply(commands);
        _judge.Forget();
        Following.Wait(routers.Product!, ["sysctl", .. commands], verify);
        if (_judge.TryAlone(probe) is not Comparison difference)
        {
            return false;
        }

        _last = difference;
        return true;
    }
}
