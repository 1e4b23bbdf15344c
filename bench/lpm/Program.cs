using System.Globalization;
using FastPathSync.LpmBench;
using FastPathSync.SharedMemory.Tables;

// Arguments: the program of rte_fib.c, its EAL options, what memory these give it, where the results go.
CultureInfo.CurrentCulture = CultureInfo.InvariantCulture;
int rounds = Setting("ROUNDS", 40), cpu = Setting("CPU", 1), passes = Setting("PASSES", 2);
int count4 = Setting("ROUTES4", 900_000), count6 = Setting("ROUTES6", 200_000), addresses = Setting("ADDRESSES", 1 << 20);
(string program, string eal, string memory, string results) = (args[0], args[1], args[2], args[3]);

Machine.Pin(cpu);
RouteSet set4 = RouteSet.Ipv4(count4, addresses), set6 = RouteSet.Ipv6(count6, addresses);
string scratch = Directory.CreateTempSubdirectory("lpm").FullName;
try
{
    string[] files = [.. new[] { "routes4", "addresses4", "routes6", "addresses6", "answers" }.Select(f => Path.Combine(scratch, f))];
    set4.Save(files[0], files[1]);
    set6.Save(files[2], files[3]);
    using Dpdk dpdk = new(program, eal, files[..4]);
    using Table dir24 = new Dir24Table(set4), trie6 = new TrieTable(set6), trie4 = new TrieTable(set4);
    Table[] tables = [dir24, trie6, trie4];
    List<Contestant> contestants =
    [
        new(false, true, "ours, DIR-24-8", dir24.Run),
        new(false, true, "ours, trie (policy tables)", trie4.Run),
        .. Of(false),
        new(true, true, "ours, trie", trie6.Run),
        .. Of(true),
    ];
    IEnumerable<Contestant> Of(bool ipv6) => dpdk.Variants.Index().Where(v => v.Item.IsIpv6 == ipv6)
        .Select(v => new Contestant(ipv6, false, $"rte_fib{(ipv6 ? "6" : "")} {v.Item.Name}", n => dpdk.Run(v.Index, n)));

    for (int i = 0; i < dpdk.Variants.Count; i++)
    {
        uint[] theirs = dpdk.Answers(i, files[4]);
        foreach (Table t in tables.Where(t => t.Set.IsIpv6 == dpdk.Variants[i].IsIpv6))
        {
            Compare(t, theirs, dpdk.Variants[i].Name);
        }
    }

    foreach (Contestant c in contestants)
    {
        c.Run(32); // the JIT has compiled everything for good then
    }

    for (int round = 0; round < rounds; round++)
    {
        for (int i = 0; i < contestants.Count; i++)
        {
            Contestant c = contestants[(i + round) % contestants.Count];
            c.MillionsPerSecond.Add((double)addresses * passes * 1000 / c.Run(passes));
        }
    }

    Report report = new(contestants, tables, memory, rounds, addresses, cpu);
    Console.Write(report.Markdown());
    File.WriteAllText(Path.Combine(results, "lpm.md"), report.Markdown());
    File.WriteAllText(Path.Combine(results, "lpm.json"), report.Json() + "\n");
    return report.Ratio(false) >= 1.2 && report.Ratio(true) >= 1.2 ? 0 : 1;
}
finally
{
    Directory.Delete(scratch, recursive: true);
}

static int Setting(string name, int otherwise) => int.Parse(Environment.GetEnvironmentVariable(name) ?? $"{otherwise}", CultureInfo.InvariantCulture);

static unsafe void Compare(Table table, uint[] theirs, string name)
{
    uint[] ours = new uint[theirs.Length];
    fixed (uint* entries = ours)
    {
        table.Lookup(entries);
    }

    for (int i = 0; i < ours.Length; i++)
    {
        if (FibEntry.Nexthop(ours[i]) != theirs[i])
        {
            throw new InvalidOperationException($"{table.Name} and DPDK's {name} disagree at address {i} ({table.Set.Addresses[i]}): nexthop {FibEntry.Nexthop(ours[i])} and {theirs[i]}");
        }
    }
}
