using System.Diagnostics;
using System.Globalization;
using System.Text.Json;

namespace FastPathSync.Topology;

/// <summary>Many small VRFs: FPS_VRFS=1000 for the number of the requirement, 200 otherwise.</summary>
public sealed class ManyVrfTests(ITestOutputHelper output)
{
    /// <summary>
    /// 1,000 VRFs in 200 MB: what a VRF costs, and what two managed heaps take before they are collected, however many VRFs there are.
    /// </summary>
    private const double KilobytesPerVrf = 170, Heaps = 30 * 1024;
    private const int Routes = 10;

    /// <summary>Made before anything is measured: what the code itself costs once it runs is no cost of a VRF.</summary>
    private const int First = 50;
    private static readonly int s_count = int.TryParse(Environment.GetEnvironmentVariable("FPS_VRFS"), out int n) ? n : 200;

    [Fact]
    public void TheyAreMirroredInLittleMemory()
    {
        using RouterLab net = new();
        try
        {
            net.WarmUp();
            Product product = new Product(net.Router).Start("--port r0 --port r1 --vrfs all");
            int home = Vrfs(product).Count;
            MakeVrfs(net.Lab, Names(net.Lab).Take(First));
            Wait.Until(() => Vrfs(product).Count >= home + First && product.Status().Synced, TimeSpan.FromSeconds(60), $"{First} VRFs are mirrored");
            Thread.Sleep(3000);
            (long before, long tables) = (Memory(product), Tables(product));
            int others = Vrfs(product).Count;
            MakeVrfs(net.Lab, Names(net.Lab).Skip(First));
            Stopwatch clock = Stopwatch.StartNew();
            Wait.Until(() => Vrfs(product).Count >= others + s_count && product.Status().Synced, TimeSpan.FromSeconds(60), $"{s_count} VRFs are mirrored");
            TimeSpan mirrored = clock.Elapsed;
            JsonElement last = Vrfs(product).Last(v => v.GetProperty("name").GetString()!.StartsWith(net.Lab.Prefix, StringComparison.Ordinal));
            Assert.InRange(last.GetProperty("tables").GetProperty("routes").GetProperty("used").GetInt32(), Routes, Routes + 20);
            Thread.Sleep(3000);
            (long after, long filled) = (Memory(product), Tables(product));
            double each = (after - before) / (double)s_count / 1024, memfds = (filled - tables) / (double)s_count / 1024;
            output.WriteLine(string.Create(
                CultureInfo.InvariantCulture,
                $"{s_count} VRFs x {Routes} routes: all processes {before >> 20} -> {after >> 20} MB (PSS and page tables), {each:0} KB per VRF, of which {memfds:0} KB tables; mirrored {mirrored.TotalSeconds:0.0} s after the last was made"));
            foreach (DaemonReport d in product.Status().Daemons)
            {
                output.WriteLine($"  {d.Name}: {MemoryOf(d.Pid) >> 10} KB");
            }

            Assert.True(each * s_count <= Heaps + (KilobytesPerVrf * s_count), $"{each:0} KB per VRF");
            product.Fpctl("verify").MustSucceed();
        }
        finally
        {
            // Each of them is one command's work here; `ip netns delete` for each takes long.
            net.Lab.Host("ip -batch -", string.Concat(Names(net.Lab).Select(n => $"netns delete {n}\n")));
        }
    }

    private static IEnumerable<string> Names(Lab lab) => Enumerable.Range(0, First + s_count).Select(i => $"{lab.Prefix}v{i:0000}");

    private static void MakeVrfs(Lab lab, IEnumerable<string> names)
    {
        lab.Host("ip -batch -", string.Concat(names.Select(n => $"netns add {n}\n"))).MustSucceed();
        string routes = string.Concat(Enumerable.Range(0, Routes).Select(r => $"route add 10.100.{r}.0/24 via 10.0.0.2\n"));
        foreach (string name in names)
        {
            lab.Execute(
                ["ip", "-n", name, "-batch", "-"],
                "link set lo up\nlink add v0 type veth peer name v1\nlink set v0 up\nlink set v1 up\naddress add 10.0.0.1/24 dev v0\n" + routes, null).MustSucceed();
        }
    }

    private static List<JsonElement> Vrfs(Product product) => [.. product.Show("vrf show").EnumerateArray()];

    private static long Tables(Product product) => Vrfs(product).Sum(v => v.GetProperty("memory").GetInt64());

    private static long Memory(Product product) => product.Status().Daemons.Sum(d => MemoryOf(d.Pid));

    /// <summary>Proportional set size (shared tables count once over all processes) and page tables, in bytes.</summary>
    private static long MemoryOf(int pid) => Line($"/proc/{pid}/smaps_rollup", "Pss:") + Line($"/proc/{pid}/status", "VmPTE:");

    private static long Line(string file, string name)
    {
        string line = File.ReadLines(file).First(l => l.StartsWith(name, StringComparison.Ordinal));
        return long.Parse(line[name.Length..].Replace("kB", "", StringComparison.Ordinal).Trim(), CultureInfo.InvariantCulture) * 1024;
    }
}
