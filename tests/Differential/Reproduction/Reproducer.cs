using System.Diagnostics;

namespace FastPathSync.Differential;

/// <summary>Finds the fewest commands that still make a packet come out differently, from routers brought back to the baseline.</summary>
internal sealed class Reproducer(bool verify, int? linuxPort) : IDisposable
{
    private static readonly TimeSpan s_limit = TimeSpan.FromSeconds(150);
    private readonly RouterPair _routers = new(linuxPort);
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

        // Only neighbours whose MAC addresses came up, as a first guess.
        IReadOnlyList<string>[] neighbours = [.. mismatch.Neighbours.Where(n => mismatch.Difference.OnlyKernel.Concat(mismatch.Difference.OnlyProduct).Any(e => n.Contains(Hosts.Text(e.Bytes.AsSpan(0, 6)), StringComparison.Ordinal))).Select(Part)];
        List<IReadOnlyList<string>>[] starts =
        [
            [.. mismatch.Live.Select(o => o.Add), .. neighbours],
            [.. mismatch.Live.Select(o => o.Add), mismatch.Neighbours],
            [.. mismatch.History.Select(Part), .. neighbours],
            [.. mismatch.History.Select(Part), mismatch.Neighbours],
        ];
        if (starts.FirstOrDefault(s => Differs(s, probe)) is not { } parts)
        {
            Console.WriteLine($"Not seen again from the baseline on, neither with what is configured nor with all {mismatch.History.Count} commands that led there. What is configured:");
            Print(mismatch.Live.SelectMany(o => o.Add));
            return;
        }

        string other = probe.Frame[12] == 8 ? "ip -6" : "ip -4";
        List<IReadOnlyList<string>> one = [.. parts.Where(p => !p.All(c => c.StartsWith(other, StringComparison.Ordinal)))];
        parts = Fewest(Differs(one, probe) ? one : parts, probe);
        parts = Fewest([.. parts.SelectMany(p => p).Select(Part)], probe);
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

    public void Dispose() => _routers.Dispose();

    private static IReadOnlyList<string> Part(string command) => [command];

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
        _routers.Reset();
        _routers.Apply(commands);
        Following.Guess();
        Judge judge = new(_routers);
        if (judge.TryAlone(probe) is null)
        {
            return false;
        }

        // Perhaps the product had not followed yet.
        Following.Wait(_routers.Product, ["sysctl"], verify);
        if (judge.TryAlone(probe) is not Comparison difference)
        {
            return false;
        }

        _last = difference;
        return true;
    }
}
