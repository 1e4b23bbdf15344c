using System.Globalization;
using System.Text;
using System.Text.Json;

namespace FastPathSync.LpmBench;

/// <summary>What was measured, as a page and as data.</summary>
internal sealed class Report(IReadOnlyList<Contestant> contestants, IReadOnlyList<Table> tables, string dpdkMemory, int rounds, int addresses, int cpu)
{
    private static readonly JsonSerializerOptions s_indented = new() { WriteIndented = true, PropertyNamingPolicy = JsonNamingPolicy.CamelCase };

    /// <summary>The product's way against the best of DPDK's, by their medians.</summary>
    /// <summary>The median of what each round says: who takes turns within a moment shares the machine's moods.</summary>
    public double Ratio(bool ipv6) =>
        Ours(ipv6).MillionsPerSecond.Zip(BestOfDpdk(ipv6).MillionsPerSecond, (ours, theirs) => ours / theirs).Order().ElementAt(rounds / 2);

    public string Markdown()
    {
        StringBuilder t = new();
        t.AppendLine("# lpm: longest prefix match, ours against DPDK's");
        t.AppendLine();
        t.AppendLine(CultureInfo.InvariantCulture, $"**IPv4 {Ratio(false):F2} × and IPv6 {Ratio(true):F2} × the best of DPDK** (the median of {rounds} rounds, in each of which all took their turn).");
        t.AppendLine();
        t.AppendLine("![lookups per second](lpm.svg)");
        t.AppendLine();
        t.AppendLine("| | | median, M lookups/s | best | slowest |");
        t.AppendLine("|---|---|---:|---:|---:|");
        foreach (Contestant c in contestants)
        {
            t.AppendLine(CultureInfo.InvariantCulture, $"| {c.Family} | {c.Name} | {c.Median:F1} | {c.Best:F1} | {c.MillionsPerSecond.Min():F1} |");
        }

        t.AppendLine();
        t.AppendLine("| table | routes | memory | of it in huge pages | insertions/s | replacements/s |");
        t.AppendLine("|---|---:|---:|---:|---:|---:|");
        foreach (Table x in tables)
        {
            t.AppendLine(CultureInfo.InvariantCulture, $"| {x.Name} | {x.Set.Routes.Length:N0} | {x.Occupied / 1048576.0:F1} MB | {x.HugePages * 2} MB | {x.InsertionsPerSecond:N0} | {x.ReplacementsPerSecond:N0} |");
        }

        t.AppendLine();
        t.AppendLine(CultureInfo.InvariantCulture, $"The same routes (lengths and clustering about as the Internet's) and the same {addresses:N0} random addresses, each inside a random route,");
        t.AppendLine("for all; every answer of ours was compared with DPDK's. Ours are the product's tables, built by the product's writers in");
        t.AppendLine("memfd segments with the product's huge pages, asked as workers ask: what a burst of 64 needs first is prefetched");
        t.AppendLine("while the burst before it is looked up. DPDK has no such call (its bulk lookups prefetch by themselves), so it is asked in");
        t.AppendLine("long bursts too. IPv6 addresses start as the 16 bytes of a packet on both sides.");
        t.AppendLine($"DPDK {DpdkVersion()} (dir24_8 and trie, 4-byte nexthops): its tables in {dpdkMemory}. One thread");
        t.AppendLine($"each, on CPU {cpu}; time is that thread's CPU time, so that what else the machine does is not counted.");
        t.AppendLine();
        t.AppendLine(CultureInfo.InvariantCulture, $"Machine: {Machine.Cpu}, {Environment.ProcessorCount} CPUs; kernel {Machine.Kernel}; .NET {Environment.Version}.");
        t.AppendLine("Command: `./dev bench lpm`");
        return t.ToString();
    }

    public string Json() => JsonSerializer.Serialize(
        new
        {
            Ratio = new { Ipv4 = Ratio(false), Ipv6 = Ratio(true) },
            Rounds = rounds,
            Addresses = addresses,
            Contestants = contestants.Select(c => new { c.Family, c.Name, c.IsOurs, c.Median, c.Best, c.MillionsPerSecond }),
            Tables = tables.Select(x => new { x.Name, Routes = x.Set.Routes.Length, Bytes = x.Occupied, x.HugePages, x.InsertionsPerSecond, x.ReplacementsPerSecond }),
            Machine = new { Machine.Cpu, Cpus = Environment.ProcessorCount, Machine.Kernel, DotNet = Environment.Version.ToString(), Dpdk = DpdkVersion(), DpdkMemory = dpdkMemory },
        },
        s_indented);

    private static string DpdkVersion() => Environment.GetEnvironmentVariable("DPDK_VERSION") ?? "of unknown version";

    private Contestant Ours(bool ipv6) => contestants.First(c => c.IsOurs && c.IsIpv6 == ipv6);

    private Contestant BestOfDpdk(bool ipv6) => contestants.Where(c => !c.IsOurs && c.IsIpv6 == ipv6).MaxBy(c => c.Median)!;
}
