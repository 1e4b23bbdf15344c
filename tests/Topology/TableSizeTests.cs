using System.Text;

namespace FastPathSync.Topology;

/// <summary>
/// Tables that are full (made small by --table-sizes): it is said, Linux forwards what has no room, nothing is lost, and it
/// heals by itself when there is room again.
/// </summary>
public sealed class TableSizeTests(RouterLab lab) : TopologyTest(lab), IClassFixture<RouterLab>
{
    private const int Room = 64, TooMany = 400;

    [Theory]
    [InlineData("routes", "route tables are full (64 routes")]
    [InlineData("routes6", "IPv6 route tables are full (64 routes")]
    [InlineData("addresses", "address table is full (64)")]
    public void AFullTableLeavesTheVrfToLinuxUntilThereIsRoom(string table, string reason)
    {
        using Product product = StartWith(table);
        using UdpFlow flow = Lab.StartFlow(rate: 2_000, port: 5040);
        flow.WaitFlowing();
        ForwardedByTheFastPath(product, 1000);

        Batch(Objects(table, "add"));
        WaitUntilStatusSays(product, reason);
        ulong before = Router.Snmp("Ip", "ForwDatagrams");
        Thread.Sleep(500);
        Assert.True(Router.Snmp("Ip", "ForwDatagrams") - before > 800, "Linux forwards what the fast path may not");

        Batch(Objects(table, "del"));
        WaitUntilHealed(product);
        ForwardedByTheFastPath(product, 1000);
        FlowReport report = flow.Stop();
        Assert.True(report.Missing == 0, report.ToString());
        product.AssertConserved();
    }

    /// <summary>Known neighbours stay with the fast path; those without room are Linux's.</summary>
    [Fact]
    public void AFullNeighbourTableLeavesOnlyThoseWithoutRoomToLinux()
    {
        using Product product = StartWith("neighbours");
        using UdpFlow flow = Lab.StartFlow(rate: 2_000, port: 5044);
        flow.WaitFlowing();
        Batch(Objects("neighbours", "add"));
        WaitUntilStatusSays(product, "neighbour table is full (64): packets for neighbours without room are Linux's");
        ForwardedByTheFastPath(product, 1000);
        Batch(Objects("neighbours", "del"));
        WaitUntilHealed(product);
        Assert.Equal(0, flow.Stop().Missing);
        product.AssertConserved();
    }

    /// <summary>Routes that find no nexthop are punted as table-full; the others stay with the fast path.</summary>
    [Fact]
    public void AFullNexthopTableLeavesOnlyTheRoutesWithoutOneToLinux()
    {
        using Product product = StartWith("nexthops");
        using UdpFlow untouched = Lab.StartFlow(rate: 2_000, port: 5041);
        untouched.WaitFlowing();
        Batch(Objects("nexthops", "add"));
        WaitUntilStatusSays(product, "nexthop table is full (64 nexthops and as many group members): routes without one are Linux's");
        ForwardedByTheFastPath(product, 1000);

        // The last of them found no nexthop: Linux forwards to it.
        using (UdpFlow without = Lab.StartFlow(rate: 500, port: 5042, destination: Destination(TooMany - 1)))
        {
            without.WaitFlowing();
            ulong before = Router.Snmp("Ip", "ForwDatagrams");
            Thread.Sleep(500);
            Assert.InRange(Router.Snmp("Ip", "ForwDatagrams") - before, 200ul, 500ul);
            Assert.Contains("table-full", product.Fpctl("stats").Output, StringComparison.Ordinal);
            FlowReport report = without.Stop();
            Assert.True(report.Missing == 0, report.ToString());
        }

        Batch(Objects("nexthops", "del").Where((_, i) => i < TooMany - 1)); // all but the last
        WaitUntilHealed(product);
        using UdpFlow healed = Lab.StartFlow(rate: 2_000, port: 5043, destination: Destination(TooMany - 1));
        healed.WaitFlowing();
        ForwardedByTheFastPath(product, 2000);
        Assert.Equal(0, healed.Stop().Missing);
        Assert.Equal(0, untouched.Stop().Missing);
        Batch([Objects("nexthops", "del").Last()]);
        product.AssertConserved();
    }

    [Theory]
    [InlineData("routes=8", "--table-sizes routes=8: a number from 16 to 2097152")]
    [InlineData("routes", "--table-sizes routes: a number from 16 to 2097152")]
    [InlineData("cars=17", "--table-sizes cars=17: write NAME=NUMBER; the names are interfaces, addresses, routes, routes6, nexthops, neighbours")]
    public void AWrongSizeIsRefusedInOneClearLine(string sizes, string says)
    {
        Lab.StopProduct();
        Product product = new(Router);
        CommandResult result = product.Fpctl($"start {Lab.StartOptions} --table-sizes {sizes}");
        Assert.Equal(2, result.ExitCode);
        Assert.Contains(says, Assert.Single(result.ErrorLines), StringComparison.Ordinal);
        product.AssertNothingLeft();
    }

    private Product StartWith(string table)
    {
        Lab.StopProduct();
        Router.Sysctl(("net.ipv6.conf.all.disable_ipv6", "0"), ("net.ipv6.conf.all.forwarding", "1"));
        Lab.WarmUp();
        return new Product(Router).Start($"{Lab.StartOptions} --table-sizes {table}={Room}");
    }

    private static void WaitUntilStatusSays(Product product, string reason) => Wait.Until(
        () => product.Status().Demotions.Any(d => d.Reason.Contains(reason, StringComparison.Ordinal)), TimeSpan.FromSeconds(5), $"status says: {reason}");

    /// <summary>cmgrd tries again after one second, two, four...</summary>
    private static void WaitUntilHealed(Product product)
    {
        Wait.Until(() => product.Status().Demotions.Length == 0, TimeSpan.FromSeconds(15), "nothing is demoted any more");
        product.WaitVerified(5);
    }

    private void Batch(IEnumerable<string> commands)
    {
        StringBuilder all = new();
        foreach (string c in commands)
        {
            all.Append(c).Append('\n');
        }

        Router.Run("ip -batch -", input: all.ToString());
    }

    private static string Destination(int i) => $"10.{64 + (i >> 8)}.{i & 255}.1";

    /// <summary>More of them than there is room for.</summary>
    private static IEnumerable<string> Objects(string table, string verb) => Enumerable.Range(0, TooMany).Select(i => table switch
    {
        "routes" => $"route {verb} 10.{64 + (i >> 8)}.{i & 255}.0/24 via 10.2.0.2",
        "routes6" => $"route {verb} 2001:db8:{i:x}::/48 dev r1",
        "neighbours" => $"neighbour {verb} 10.4.{i >> 8}.{i & 255} lladdr 02:00:00:00:{i >> 8:x2}:{i & 255:x2} nud permanent dev r2",
        "addresses" => $"address {verb} 10.50.{i >> 8}.{i & 255}/32 dev r2",
        _ => $"route {verb} 10.{64 + (i >> 8)}.{i & 255}.0/24 via 10.2.0.2 dev r1 mtu {1400 - i}", // each a nexthop of its own
    });

    /// <summary>Of half a second's packets all but a few.</summary>
    /// <param name="least">A second.</param>
    private void ForwardedByTheFastPath(Product product, int least)
    {
        ulong kernel = Router.Snmp("Ip", "ForwDatagrams"), ours = product.Stats().Total.Forwarded;
        Thread.Sleep(500);
        Assert.True(product.Stats().Total.Forwarded - ours >= (ulong)least / 2, "the fast path forwards");
        Assert.InRange(Router.Snmp("Ip", "ForwDatagrams") - kernel, 0ul, 25ul);
    }
}
