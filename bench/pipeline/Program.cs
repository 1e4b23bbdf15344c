using System.Diagnostics;
using System.Globalization;
using System.Text;
using FastPathSync.FastPath;
using FastPathSync.Linux;
using FastPathSync.PipelineBench;
using FastPathSync.SharedMemory.Tables;

const int Passes = 30;
CultureInfo.CurrentCulture = CultureInfo.InvariantCulture;
int runs = int.Parse(Environment.GetEnvironmentVariable("RUNS") ?? "400", CultureInfo.InvariantCulture);
int cpu = int.Parse(Environment.GetEnvironmentVariable("CPU") ?? "1", CultureInfo.InvariantCulture);
Pin(cpu);
double gigahertz = TimeStampCounter.CalibrateGigahertz();

Scenario[] scenarios =
[
    new("1 route", 1),
    new("100,000 routes", 100_000),
    new("1 route, 1,048,576 destinations", 1, destinations: 1 << 20),
    new("1,000,000 routes", 1_000_000),
    new("1,000,000 routes, 1,048,576 destinations", 1_000_000, destinations: 1 << 20),
    new("1 route, virtual port", 1, partialChecksums: true),
    new("IPv6, 1 route", 1, Families.Ipv6),
    new("IPv6, 200,000 routes", 200_000, Families.Ipv6),
    new("IPv6, 1 route, virtual port", 1, Families.Ipv6, partialChecksums: true),
    new("both families in turn, 1 route", 1, Families.Both),
];
double[][] cycles = [.. scenarios.Select(_ => new double[runs])];

// Warm up until the JIT has compiled everything for good; then the scenarios take turns, because the machine's speed wanders.
for (long start = Stopwatch.GetTimestamp(); Stopwatch.GetElapsedTime(start).TotalMilliseconds < 1500;)
{
    foreach (Scenario s in scenarios)
    {
        s.Fill();
        s.Run(Passes);
    }
}

for (int run = 0; run < runs; run++)
{
    for (int i = 0; i < scenarios.Length; i++)
    {
        scenarios[i].Fill();
        scenarios[i].Run(1); // the tables of the other scenarios have left their mark on the caches
        long start = Stopwatch.GetTimestamp();
        scenarios[i].Run(Passes);
        cycles[i][run] = Stopwatch.GetElapsedTime(start).TotalNanoseconds * gigahertz / (Passes * Scenario.Frames);
        scenarios[i].Check();
    }
}

StringBuilder text = new();
text.AppendLine("# Pipeline: cycles per packet, in memory");
text.AppendLine();
text.AppendLine("From the received frame to port and rewritten packet (parse, validate, longest prefix match, TTL, checksum, MAC addresses,");
text.AppendLine("counters, use stamps), without sockets. Bursts of 64 frames of 60 bytes (IPv6: 78) out of a pool of 2,048 frames, laid out as in a UMEM;");
text.AppendLine("destinations at random over all routes; 64 nexthops over 3 ports. *Virtual port* adds the look for unfinished L4 checksums;");
text.AppendLine("*both families in turn* is the worst burst: every other packet is IPv6. *1,048,576 destinations*: each time a frame is used it");
text.AppendLine("gets the next of so many addresses (two loads, two stores), so that each lookup goes to another place of the 64 MB table.");
text.AppendLine("What bounds it: with one route the instructions; with a million destinations the memory, for their entries");
text.AppendLine("are a cache line each (28 MB of lines, as the routes lie in 11/8 to 119/8) and most come from L3 or DRAM, as many at a time as L2 has");
text.AppendLine("buffers for its misses. Prefetched into L1, which has fewer, the same took 62 cycles.");
text.AppendLine();
text.AppendLine("| | minimum | median | 90th percentile | Mpps at the median |");
text.AppendLine("|---|---:|---:|---:|---:|");
for (int i = 0; i < scenarios.Length; i++)
{
    double[] c = cycles[i];
    Array.Sort(c);
    text.AppendLine($"| {scenarios[i].Name} | {c[0]:F1} | {c[runs / 2]:F1} | {c[runs * 9 / 10]:F1} | {gigahertz * 1000 / c[runs / 2]:F1} |");
    scenarios[i].Dispose();
}

text.AppendLine();
text.AppendLine($"{runs} runs of {Passes * Scenario.Frames:N0} packets each, taking turns, on CPU {cpu}. Cycles are those of the TSC: time by");
text.AppendLine($"CLOCK_MONOTONIC × {gigahertz:F3} GHz, the TSC's rate as calibrated by this run; the core may run faster. Both include making");
text.AppendLine("up the vector (two stores a packet).");
text.AppendLine();
text.AppendLine($"Machine: {CpuModel()}, {Environment.ProcessorCount} CPUs; kernel {File.ReadAllText("/proc/sys/kernel/osrelease").Trim()}; .NET {Environment.Version}.");
text.AppendLine("Command: `./dev bench pipeline`");
Console.Write(text);
if (args.Length > 0)
{
    File.WriteAllText(args[0], text.ToString());
}

static unsafe void Pin(int cpu)
{
    ulong mask = 1ul << cpu;
    if (Libc.sched_setaffinity(0, sizeof(ulong), &mask) != 0)
    {
        throw LinuxException.FromLastError("sched_setaffinity", $"CPU {cpu}");
    }
}

static string CpuModel()
{
    string[] lines = File.ReadAllLines("/proc/cpuinfo");
    string model = lines.FirstOrDefault(l => l.StartsWith("model name", StringComparison.Ordinal))?.Split(':')[1].Trim() ?? "unknown CPU";
    return lines.Any(l => l.StartsWith("flags", StringComparison.Ordinal) && l.Contains(" hypervisor", StringComparison.Ordinal)) ? $"{model} (VM)" : model;
}
