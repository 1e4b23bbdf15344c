using System.Globalization;
using System.Net;
using System.Text;
using System.Text.Json;

namespace FastPathSync.LpmBench;

/// <summary>What was measured, as a page, as data and as a picture.</summary>
internal sealed class Report(IReadOnlyList<Contestant> contestants, IReadOnlyList<Table> tables, string dpdkMemory, int rounds, int addresses, int cpu)
{
    private static readonly JsonSerializerOptions s_indented = new() { WriteIndented = true, PropertyNamingPolicy = JsonNamingPolicy.CamelCase };

    /// <summary>The product's way against the best of DPDK's, by their medians.</summary>
    public double Ratio(bool ipv6) => Ours(ipv6).Median / BestOfDpdk(ipv6).Median;

    public string Markdown()
    {
        StringBuilder t = new();
        t.AppendLine("# lpm: longest prefix match, ours against DPDK's");
        t.AppendLine();
        t.AppendLine(CultureInfo.InvariantCulture, $"**IPv4 {Ratio(false):F2} × and IPv6 {Ratio(true):F2} × the best of DPDK** (medians of {rounds} rounds that took turns in one run).");
        t.AppendLine();
        t.AppendLine("![lookups per second](lpm.svg)");
        t.AppendLine();
        t.AppendLine("| | | median, M lookups/s | best | slowest |");
        t.AppendLine("|---|---|---:|---:|---:|");
        foreach (Contestant c in contestants)
        {
            t.AppendLine(CultureInfo.InvariantCulture, $"| {(c.IsIpv6 ? "IPv6" : "IPv4")} | {c.Name} | {c.Median:F1} | {c.Best:F1} | {c.MillionsPerSecond.Min():F1} |");
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
        t.AppendLine("memfd segments with the product's huge pages, asked by the batch calls that workers use. IPv6 addresses start as the 16");
        t.AppendLine($"bytes of a packet on both sides. DPDK {DpdkVersion()}: its tables in {dpdkMemory}. One thread, on CPU {cpu}.");
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
            Contestants = contestants.Select(c => new { Family = c.IsIpv6 ? "IPv6" : "IPv4", c.Name, c.IsOurs, c.Median, c.Best, c.MillionsPerSecond }),
            Tables = tables.Select(x => new { x.Name, Routes = x.Set.Routes.Length, Bytes = x.Occupied, x.HugePages, x.InsertionsPerSecond, x.ReplacementsPerSecond }),
            Machine = new { Machine.Cpu, Cpus = Environment.ProcessorCount, Machine.Kernel, DotNet = Environment.Version.ToString(), Dpdk = DpdkVersion(), DpdkMemory = dpdkMemory },
        },
        s_indented);

    /// <summary>A bar for each, ours in colour; a tick at each round's rate.</summary>
    public string Svg()
    {
        const int Left = 330, Width = 560, Row = 26, Top = 64;
        double most = contestants.Max(c => c.Best) * 1.05;
        int height = Top + (contestants.Count * Row) + 40;
        StringBuilder s = new();
        void Text(double x, double y, string text, string more = "") =>
            s.AppendLine(CultureInfo.InvariantCulture, $"""<text x="{x:F1}" y="{y:F1}" {more}>{WebUtility.HtmlEncode(text)}</text>""");
        s.AppendLine(CultureInfo.InvariantCulture, $"""<svg xmlns="http://www.w3.org/2000/svg" width="960" height="{height}" font-family="sans-serif" font-size="13">""");
        s.AppendLine("""<rect width="100%" height="100%" fill="white"/>""");
        Text(16, 26, "Longest prefix match: million lookups per second on one CPU", "font-size=\"16\" font-weight=\"bold\"");
        Text(16, 46, string.Create(CultureInfo.InvariantCulture, $"ours / best of DPDK: IPv4 {Ratio(false):F2}, IPv6 {Ratio(true):F2}"), "fill=\"#555\"");
        for (int i = 0; i < contestants.Count; i++)
        {
            Contestant c = contestants[i];
            double y = Top + (i * Row), bar = c.Median / most * Width;
            Text(Left - 8, y + 16, $"{(c.IsIpv6 ? "IPv6" : "IPv4")} {c.Name}", "text-anchor=\"end\"");
            s.AppendLine(CultureInfo.InvariantCulture, $"""<rect x="{Left}" y="{y + 3:F1}" width="{bar:F1}" height="{Row - 8}" fill="{(c.IsOurs ? "#2b6cb0" : "#b7bec8")}"/>""");
            foreach (double r in c.MillionsPerSecond)
            {
                s.AppendLine(CultureInfo.InvariantCulture, $"""<line x1="{Left + (r / most * Width):F1}" x2="{Left + (r / most * Width):F1}" y1="{y + 6:F1}" y2="{y + Row - 8:F1}" stroke="#222" stroke-opacity="0.5"/>""");
            }

            Text(Left + (c.Best / most * Width) + 6, y + 16, c.Median.ToString("F1", CultureInfo.InvariantCulture));
        }

        Text(16, height - 14, $"{Machine.Cpu}, kernel {Machine.Kernel}; 900,000 and 200,000 routes; bars are medians, ticks are rounds", "fill=\"#555\" font-size=\"11\"");
        s.AppendLine("</svg>");
        return s.ToString();
    }

    private static string DpdkVersion() => Environment.GetEnvironmentVariable("DPDK_VERSION") ?? "of unknown version";

    private Contestant Ours(bool ipv6) => contestants.First(c => c.IsOurs && c.IsIpv6 == ipv6);

    private Contestant BestOfDpdk(bool ipv6) => contestants.Where(c => !c.IsOurs && c.IsIpv6 == ipv6).MaxBy(c => c.Median)!;
}
