using System.Globalization;
using System.Text;

namespace FastPathSync.Topology;

/// <summary>
/// Every punt reason flooded in turn, on a port through which OSPF, BGP and an ssh-like session run as well: they go on, and the reason
/// is given its rate. In a test run three reasons for a second each, at a lower rate; `./dev bench flood` does all at their defaults, longer.
/// </summary>
public sealed class PuntFloodTests(PuntFloodTests.RoutingLab lab) : TopologyTest(lab), IClassFixture<PuntFloodTests.RoutingLab>
{
    /// <summary>Set by bench/flood/run: milliseconds for each reason, of which there are all then, or those packets; at how many a second; and where to write what came of it.</summary>
    private const string LengthVariable = "FPS_FLOOD_MS", RateVariable = "FPS_FLOOD_RATE", OnlyVariable = "FPS_FLOOD_ONLY", ReportVariable = "FPS_FLOOD_REPORT";

    /// <summary>Flooded at full speed also where a rate is given.</summary>
    private const string FullSpeed = "ttl-1";

    /// <summary>One that Linux answers, one that it asks for, one that it forwards.</summary>
    private static readonly string[] s_few = ["ttl-1", "no-neighbour-6", "record-route"];

    public sealed class RoutingLab : ExceptionLab
    {
        private const int Seconds = 20;
        private readonly string _home;

        public RoutingLab()
        {
            FrrRouter.Require();
            _home = Path.Combine(Path.GetTempPath(), $"{Lab.Prefix}flood");
            try
            {
                Directory.CreateDirectory(_home);
                Frr = new FrrRouter(Router, Path.Combine(_home, "router"), Configuration("r0", "10.1.0.1", "10.1.0.2", 65001, 65002));
                _ = new FrrRouter(Client, Path.Combine(_home, "client"), Configuration("c0", "10.1.0.2", "10.1.0.1", 65002, 65001));
                Wait.Until(() => Frr.OspfFull() == 1 && Frr.BgpEstablished("ipv4") == 1, TimeSpan.FromSeconds(Seconds), "OSPF is Full and BGP Established over r0", TimeSpan.FromMilliseconds(200));
            }
            catch
            {
                Dispose();
                throw;
            }
        }

        public FrrRouter Frr { get; }

        public override void Dispose()
        {
            base.Dispose();
            if (Directory.Exists(_home))
            {
                Directory.Delete(_home, recursive: true);
            }
        }

        /// <summary>A session is given up after three (BGP) or four seconds of silence, the usual multiples of how often it is heard.</summary>
        private static string Configuration(string device, string own, string peer, int ownAs, int peerAs) => string.Create(CultureInfo.InvariantCulture, $"""
            interface {device}
             ip ospf area 0
             ip ospf network point-to-point
             ip ospf hello-interval 1
             ip ospf dead-interval 4
            router ospf
             ospf router-id {own}
            router bgp {ownAs}
             bgp router-id {own}
             no bgp ebgp-requires-policy
             timers bgp 1 3
             neighbor {peer} remote-as {peerAs}
             neighbor {peer} timers connect 1

            """);
    }

    [Fact]
    public void RoutingAndShellGoOnAndEachReasonGetsItsRate()
    {
        string? length = Environment.GetEnvironmentVariable(LengthVariable);
        int milliseconds = length is null ? 1_000 : int.Parse(length, CultureInfo.InvariantCulture);
        List<ExceptionRow> rows = [.. ExceptionRows.All
            .Where(r => r.Way.StartsWith("punted ", StringComparison.Ordinal) && (length is null ? s_few.Contains(r.Name) : Environment.GetEnvironmentVariable(OnlyVariable) is not string only || only.Split(',').Contains(r.Name)))
            .DistinctBy(r => r.Way)];
        Product.Fpctl($"punt limit all --rate {(length is null ? "5k" : "default")}").MustSucceed(); // a busy machine's generator may not reach all defaults
        string sessions = lab.Frr.BgpSessions();
        using EchoSession ssh = new(Client, Router, "10.1.0.1");
        StringBuilder report = new("| reason | packet | offered/s | punted | of the limit's | slowest echo, ms | echoes |\n|---|---|---:|---:|---:|---:|---:|\n");
        List<string> wrong = [];
        foreach (IGrouping<string, ExceptionRow> stage in rows.GroupBy(r => r.Stage))
        {
            using IDisposable set = lab.Set(stage.Key, Product);
            foreach (ExceptionRow row in stage)
            {
                report.AppendLine(One(row, milliseconds, ssh, sessions, wrong));
            }
        }

        if (Environment.GetEnvironmentVariable(ReportVariable) is string file)
        {
            File.WriteAllText(file, $"{report}\n{string.Concat(wrong.Select(w => $"- {w}\n"))}");
        }

        Assert.True(wrong.Count == 0, $"{string.Join('\n', wrong)}\n{report}");
        Product.AssertConserved();
    }

    private string One(ExceptionRow row, int milliseconds, EchoSession ssh, string sessions, List<string> wrong)
    {
        string reason = row.Way["punted ".Length..];
        var limit = Product.Show("punt show").EnumerateArray().Single(l => l.GetProperty("reason").GetString() == reason);
        (int rate, int burst) = (limit.GetProperty("rate").GetInt32(), limit.GetProperty("burst").GetInt32());
        CounterReport before = Product.Stats().Total;
        int? pace = Environment.GetEnvironmentVariable(RateVariable) is string given && row.Name != FullSpeed ? int.Parse(given, CultureInfo.InvariantCulture) : null;
        using Flood flood = Flood.Start(Client, "c0", row.Frame(Lab), milliseconds, pace);
        TimeSpan slowest = TimeSpan.Zero;
        int echoes = 0;
        for (; !flood.IsOver; echoes++)
        {
            TimeSpan echo = ssh.Type();
            slowest = echo > slowest ? echo : slowest;
            Thread.Sleep(10);
        }

        (double packets, double seconds) = flood.Finish();
        if (lab.Frr.BgpSessions() != sessions || lab.Frr.OspfFull() != 1 || lab.Frr.OspfQuietFor() < TimeSpan.FromSeconds(seconds))
        {
            wrong.Add($"{row.Name}: a routing session was lost: {lab.Frr.BgpSessions()}; OSPF changed {lab.Frr.OspfQuietFor()} ago");
        }

        CounterReport after = Product.SettledTotal();
        ulong punted = after.PuntedBy(reason) - before.PuntedBy(reason), limited = after.LimitedBy(reason) - before.LimitedBy(reason);
        double most = burst + (rate * seconds), share = punted / most;
        if (share > 1.05 || (share < 0.95 && limited > 0) || limited == 0)
        {
            wrong.Add(string.Create(CultureInfo.InvariantCulture, $"{row.Name}: {punted} of {packets} punted and {limited} dropped for the limit, where {most:0} may be: {after.Describe()}"));
        }

        if (slowest > TimeSpan.FromSeconds(2))
        {
            wrong.Add($"{row.Name}: an echo took {slowest.TotalMilliseconds:0} ms");
        }

        return string.Create(CultureInfo.InvariantCulture, $"| `{reason}` | {row.Name} | {packets / seconds:0} | {punted} | {share:0.000} | {slowest.TotalMilliseconds:0.0} | {echoes} |");
    }
}
