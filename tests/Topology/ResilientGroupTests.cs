using System.Text.Json;

namespace FastPathSync.Topology;

/// <summary>Resilient groups (`type resilient`): when members change, only the flows of the buckets that the kernel moved move.</summary>
public sealed class ResilientGroupTests : TopologyTest, IClassFixture<RouterLab>
{
    private const int Flows = 2000;
    private const string First = "020000000A01", Second = "020000000A02", Third = "020000000A03";

    public ResilientGroupTests(RouterLab lab)
        : base(lab)
    {
        _ = Product;
        foreach ((int id, string link, string device) in new[] { (1, "10.2.0.11", "r1"), (2, "10.3.0.12", "r2"), (3, "10.2.0.13", "r1") })
        {
            Router.Run($"ip neigh replace {link} lladdr 02:00:00:00:0a:0{id} dev {device} nud permanent");
            Router.Run($"ip nexthop replace id {id} via {link} dev {device}");
        }
    }

    public override void Dispose()
    {
        base.Dispose();
        Router.Try("ip nexthop del id 10");
    }

    [Fact]
    public void RemovedMemberTakesOnlyItsOwnFlowsAway()
    {
        Make("1/2/3 type resilient buckets 64 idle_timer 0");
        Dictionary<int, string> before = Ways();
        AssertSpread(before, First, Second, Third);
        Router.Run("ip nexthop del id 3");
        Dictionary<int, string> after = Ways();
        AssertSpread(after, First, Second);
        Assert.Equal(0, Needless(before, after, gone: Third));
    }

    /// <summary>What the test above counts is there to be found: a group by hash threshold moves flows of members that stay.</summary>
    [Fact]
    public void OrdinaryGroupMovesOthersToo()
    {
        Make("1/2/3");
        Dictionary<int, string> before = Ways();
        AssertSpread(before, First, Second, Third);
        Router.Run("ip nexthop del id 1");
        Assert.True(Needless(before, Ways(), gone: First) > 0);
    }

    [Fact]
    public void NewMemberTakesOnlyTheFlowsOfItsBuckets()
    {
        Make("1/2 type resilient buckets 64 idle_timer 0");
        Dictionary<int, string> before = Ways();
        AssertSpread(before, First, Second);
        Router.Run("ip nexthop replace id 10 group 1/2/3 type resilient buckets 64 idle_timer 0");
        Wait.Until(() => BucketsOf(3) == 21, TimeSpan.FromSeconds(5), "the kernel gives the new member its buckets");
        Dictionary<int, string> after = Ways();
        AssertSpread(after, First, Second, Third);
        Assert.All(before, b => Assert.True(after[b.Key] == b.Value || after[b.Key].EndsWith(Third, StringComparison.Ordinal), $"flow {b.Key} went from {b.Value} to {after[b.Key]}"));
        int moved = before.Count(b => after[b.Key] != b.Value);
        Assert.InRange(moved / (double)Flows, 0.2, 0.45); // 21 of 64 buckets
    }

    [Fact]
    public void ReplacedGroupLeadsWhereTheKernelsBucketsDo()
    {
        Make("1/2 type resilient buckets 16 idle_timer 100");
        Assert.Equal((8, 8), (BucketsOf(1), BucketsOf(2)));
        Router.Run("ip nexthop replace id 10 group 2 type resilient buckets 16 idle_timer 100");
        AssertSpread(Ways(), Second);
        Assert.Equal(16, BucketsOf(2));
        Router.Run("ip nexthop replace id 10 group 1/3 type resilient buckets 16 idle_timer 100");
        AssertSpread(Ways(), First, Third);
    }

    [Fact]
    public void LinkDownMovesItsBucketsToTheRest()
    {
        Make("1/2/3 type resilient buckets 64 idle_timer 0");
        Dictionary<int, string> before = Ways();
        Router.Run("ip link set r2 down");
        Product.WaitVerified(3);
        Dictionary<int, string> after = Ways();
        AssertSpread(after, First, Third);
        Assert.Equal(0, Needless(before, after, gone: Second));
        Router.Run("ip link set r2 up");
    }

    private void Make(string group)
    {
        Router.Run($"ip nexthop replace id 10 group {group}");
        Router.Run("ip route replace 10.72.0.0/16 nhid 10");
        Product.WaitVerified(3);
    }

    private Dictionary<int, string> Ways()
    {
        Product.WaitVerified(3);
        CounterReport before = Product.Stats().Total;
        Dictionary<int, string> ways = FlowPaths.Of(Lab, Enumerable.Range(0, Flows).Select(f => FlowPaths.ByDestination(Lab, f)));
        CounterReport after = Product.TotalOnceForwarded(before, Flows);
        Assert.Equal(Flows, ways.Count);
        Assert.True(after.Forwarded - before.Forwarded >= Flows, $"the fast path forwarded only {after.Forwarded - before.Forwarded}: {after.Describe()}");
        return ways;
    }

    /// <summary>Flows that took another way although theirs is still there.</summary>
    private static int Needless(Dictionary<int, string> before, Dictionary<int, string> after, string gone) =>
        before.Count(b => !b.Value.EndsWith(gone, StringComparison.Ordinal) && after[b.Key] != b.Value);

    private static void AssertSpread(Dictionary<int, string> ways, params string[] macs) =>
        Assert.Equal(macs.Order(), ways.Values.Select(w => w.Split(' ')[1]).Distinct().Order());

    private string Buckets() => Router.Run("ip -j nexthop bucket show id 10").Output;

    private int BucketsOf(int nexthop)
    {
        using JsonDocument buckets = JsonDocument.Parse(Buckets());
        return buckets.RootElement.EnumerateArray().Count(b => b.GetProperty("bucket").GetProperty("nhid").GetInt32() == nexthop);
    }
}
