using Wire = FastPathSync.Fpc.Protocol;

namespace FastPathSync.FpManager.Tests;

public sealed class NexthopTests
{
    private static Tables TwoWays() => new Tables().Standard().Neighbour("10.2.0.2", mac: 2).Neighbour("10.1.0.2", Tables.R0, mac: 1);

    [Fact]
    public void MultipathSharesByWeight()
    {
        using Tables t = TwoWays().Route("10.9.0.0/16", Tables.Via("10.2.0.2", weight: 3), Tables.Via("10.1.0.2", Tables.R0, weight: 1));
        Assert.Equal("0.75 port 1 to 02 | 0.25 port 0 to 01", t.Verdict("10.9.0.1"));
    }

    [Fact]
    public void MemberWhoseInterfaceGoesDownGetsNothingUntilItIsUp()
    {
        using Tables t = TwoWays().Route("10.9.0.0/16", Tables.Via("10.2.0.2"), Tables.Via("10.1.0.2", Tables.R0));
        t.Interface(Tables.R1, "r1", up: false);
        Assert.Equal("1 port 0 to 01", t.Verdict("10.9.0.1"));
        t.Interface(Tables.R0, "r0", up: false);
        Assert.Equal("punt link-down", t.Verdict("10.9.0.1"));
        t.Interface(Tables.R1, "r1").Interface(Tables.R0, "r0");
        Assert.Equal("0.5 port 1 to 02 | 0.5 port 0 to 01", t.Verdict("10.9.0.1"));
    }

    [Fact]
    public void NexthopObjectChangeMovesAllItsRoutes()
    {
        using Tables t = TwoWays().Object(new Wire.Nexthop { Id = 1, Family = 2, Ifindex = Tables.R1, Gateway = Tables.Bytes("10.2.0.2") });
        t.Route(new Wire.Route { Key = Tables.Key("10.9.0.0/16"), Type = 1, NexthopId = 1 });
        Assert.Equal("port 1 to 02", t.Verdict("10.9.0.1"));
        t.Object(new Wire.Nexthop { Id = 1, Family = 2, Ifindex = Tables.R0, Gateway = Tables.Bytes("10.1.0.2") });
        Assert.Equal("port 0 to 01", t.Verdict("10.9.0.1"));
        t.NoObject(1);
        Assert.Equal("punt no-route", t.Verdict("10.9.0.1"));
    }

    [Fact]
    public void RouteBeforeItsObjectPuntsUntilTheObjectIsKnown()
    {
        using Tables t = TwoWays().Route(new Wire.Route { Key = Tables.Key("10.9.0.0/16"), Type = 1, NexthopId = 5, Mtu = 1300 });
        Assert.Equal("punt no-route", t.Verdict("10.9.0.1"));
        t.Object(new Wire.Nexthop { Id = 5, Family = 2, Ifindex = Tables.R1, Gateway = Tables.Bytes("10.2.0.2") });
        Assert.Equal("port 1 to 02", t.Verdict("10.9.0.1"));
        Assert.Equal(1300u, t.Lookup("10.9.0.1").Mtu);
    }

    [Fact]
    public void ObjectGroupFollowsItsMembers()
    {
        using Tables t = TwoWays()
            .Object(new Wire.Nexthop { Id = 1, Family = 2, Ifindex = Tables.R1, Gateway = Tables.Bytes("10.2.0.2") })
            .Object(new Wire.Nexthop { Id = 2, Family = 2, Ifindex = Tables.R0, Gateway = Tables.Bytes("10.1.0.2") })
            .Object(new Wire.Nexthop { Id = 10, Members = { new Wire.NexthopGroupMember { Id = 1, Weight = 1 }, new Wire.NexthopGroupMember { Id = 2, Weight = 1 } } })
            .Route(new Wire.Route { Key = Tables.Key("10.9.0.0/16"), Type = 1, NexthopId = 10 });
        Assert.Equal("0.5 port 1 to 02 | 0.5 port 0 to 01", t.Verdict("10.9.0.1"));
        t.Object(new Wire.Nexthop { Id = 10, Members = { new Wire.NexthopGroupMember { Id = 2, Weight = 1 } } });
        Assert.Equal("1 port 0 to 01", t.Verdict("10.9.0.1"));
        t.Object(new Wire.Nexthop { Id = 2, Blackhole = true });
        Assert.Equal("1 punt blackhole", t.Verdict("10.9.0.1"));
    }

    [Fact]
    public void RouteThatLinuxCallsBlackholeForItsObjectFollowsTheObject()
    {
        using Tables t = TwoWays().Object(new Wire.Nexthop { Id = 3, Family = 2, Blackhole = true })
            .Route(new Wire.Route { Key = Tables.Key("10.66.0.0/16"), Type = 6, NexthopId = 3 });
        Assert.Equal("punt blackhole", t.Verdict("10.66.0.1"));
        t.Object(new Wire.Nexthop { Id = 3, Family = 2, Ifindex = Tables.R1, Gateway = Tables.Bytes("10.2.0.2") });
        Assert.Equal("port 1 to 02", t.Verdict("10.66.0.1"));
    }

    [Fact]
    public void RestartedManagerKeepsForwardingAndFollowsChanges()
    {
        using Tables t = TwoWays().Route("10.9.0.0/16", Tables.Via("10.2.0.2", weight: 3), Tables.Via("10.1.0.2", Tables.R0))
            .Object(new Wire.Nexthop { Id = 1, Family = 2, Ifindex = Tables.R1, Gateway = Tables.Bytes("10.2.0.2") })
            .Route(new Wire.Route { Key = Tables.Key("10.8.0.0/16"), Type = 1, NexthopId = 1 });
        Tables again = new(t.Segments);
        Assert.Equal("0.75 port 1 to 02 | 0.25 port 0 to 01", again.Verdict("10.9.0.1"));
        Assert.Equal("port 1 to 02", again.Verdict("10.8.0.1"));
        again.Neighbour("10.2.0.2", mac: 9);
        Assert.Equal("0.75 port 1 to 09 | 0.25 port 0 to 01", again.Verdict("10.9.0.1"));
        Assert.Equal("port 1 to 09", again.Verdict("10.8.0.1"));
        again.Object(new Wire.Nexthop { Id = 1, Family = 2, Ifindex = Tables.R0, Gateway = Tables.Bytes("10.1.0.2") });
        Assert.Equal("port 0 to 01", again.Verdict("10.8.0.1"));
    }

    [Fact]
    public void ChurnOfNexthopsReusesTheirSlots()
    {
        using Tables t = TwoWays();
        for (int i = 0; i < 3000; i++)
        {
            t.Route("10.9.0.0/16", Tables.Via("10.2.0.2", weight: 1 + (uint)(i % 250)), Tables.Via("10.1.0.2", Tables.R0, weight: 1 + (uint)(i % 13)));
            t.State.Tick();
        }

        t.NoRoute(Tables.Key("10.9.0.0/16"));
        t.State.Tick();
        SharedMemory.RecordTableReader<SharedMemory.Tables.NexthopRecord> records = Reader(t);
        Assert.True(records.HighWater < 40, $"high water {records.HighWater}");
    }

    [Fact]
    public void NothingIsReusedWhileAWorkerMayHoldIt()
    {
        using Tables t = TwoWays();
        t.Workers.Quiescent[0] = 1;
        for (byte i = 1; i < 100; i++)
        {
            t.Neighbour("10.2.0.2", mac: i);
            t.State.Tick();
        }

        Assert.True(t.State.Reclaimer.Pending >= 98, $"pending {t.State.Reclaimer.Pending}");
        t.Workers.Quiescent[0] = 2; // its store may be seen before the loads that went ahead of it: one more
        t.State.Tick();
        Assert.True(t.State.Reclaimer.Pending >= 98);
        t.Workers.Quiescent[0] = 3;
        t.State.Tick();
        Assert.Equal(0, t.State.Reclaimer.Pending);
    }

    [Fact]
    public void ResilientGroupLeadsWhereItsBucketsDo()
    {
        using Tables t = TwoWays().Object(Single(1, "10.2.0.2", Tables.R1)).Object(Single(2, "10.1.0.2", Tables.R0))
            .Object(Resilient(10, [1, 2], [1, 1, 2, 1])).Route(new Wire.Route { Key = Tables.Key("10.9.0.0/16"), Type = 1, NexthopId = 10 });
        Assert.Equal("port 1 to 02 | port 1 to 02 | port 0 to 01 | port 1 to 02", t.Verdict("10.9.0.1"));
        t.Object(Resilient(10, [1, 2], [1, 2, 2, 1]));
        Assert.Equal("port 1 to 02 | port 0 to 01 | port 0 to 01 | port 1 to 02", t.Verdict("10.9.0.1"));

        // A member without link keeps its buckets until the kernel moves them: Linux forwards meanwhile.
        t.Interface(Tables.R0, "r0", up: false);
        Assert.Equal("port 1 to 02 | punt link-down | punt link-down | port 1 to 02", t.Verdict("10.9.0.1"));
        t.Object(Resilient(10, [1], [1, 2, 2, 1])); // as after a cascade: the buckets aren't known yet
        Assert.Equal("port 1 to 02 | punt link-down | punt link-down | port 1 to 02", t.Verdict("10.9.0.1"));
        t.NoObject(2);
        Assert.Equal("port 1 to 02 | punt no-route | punt no-route | port 1 to 02", t.Verdict("10.9.0.1"));
        t.Object(Resilient(10, [1], [1, 1, 1, 1]));
        Assert.Equal("port 1 to 02 | port 1 to 02 | port 1 to 02 | port 1 to 02", t.Verdict("10.9.0.1"));
    }

    [Fact]
    public void ResilientGroupOfAnIpv6RouteLeadsWhereItsBucketsDo()
    {
        using Tables t = TwoWays().Neighbour("fe80::2", Tables.R1, mac: 2).Neighbour("fe80::3", Tables.R0, mac: 3)
            .Object(Single(1, "fe80::2", Tables.R1)).Object(Single(2, "fe80::3", Tables.R0)).Object(Resilient(10, [1, 2], [1, 2, 1]))
            .Route6(new Wire.Route6 { Key = Tables.Key6("2001:db8:9::/48"), Type = 1, NexthopId = 10 });
        Assert.Equal("port 1 to 02 | port 0 to 03 | port 1 to 02", t.Verdict6("2001:db8:9::1"));
        t.Object(Resilient(10, [1, 2], [2, 2, 1]));
        Assert.Equal("port 0 to 03 | port 0 to 03 | port 1 to 02", t.Verdict6("2001:db8:9::1"));
    }

    [Fact]
    public void ResilientGroupWithoutBucketsIsLinuxs()
    {
        using Tables t = TwoWays().Object(Single(1, "10.2.0.2", Tables.R1)).Object(Resilient(10, [1], []))
            .Route(new Wire.Route { Key = Tables.Key("10.9.0.0/16"), Type = 1, NexthopId = 10 });
        Assert.Equal("punt route-unsupported", t.Verdict("10.9.0.1"));
        t.Object(Resilient(10, [1], [1, 1]));
        Assert.Equal("port 1 to 02 | port 1 to 02", t.Verdict("10.9.0.1"));
    }

    [Fact]
    public void ResilientGroupOutlivesARestartAndIsUsedWithAnMtu()
    {
        using Tables t = TwoWays().Object(Single(1, "10.2.0.2", Tables.R1)).Object(Single(2, "10.1.0.2", Tables.R0)).Object(Resilient(10, [1, 2], [2, 1]))
            .Route(new Wire.Route { Key = Tables.Key("10.9.0.0/16"), Type = 1, NexthopId = 10, Mtu = 1300 });
        Tables again = new(t.Segments);
        Assert.Equal("port 0 to 01 | port 1 to 02", again.Verdict("10.9.0.1"));
        again.Object(Resilient(10, [1, 2], [2, 2]));
        Assert.Equal("port 0 to 01 | port 0 to 01", again.Verdict("10.9.0.1"));
    }

    [Fact]
    public void GroupOfObjectsPassesOverAMemberWhoseNeighbourHasFailed()
    {
        using Tables t = TwoWays().Object(Single(1, "10.2.0.2", Tables.R1)).Object(Single(2, "10.1.0.2", Tables.R0))
            .Object(new Wire.Nexthop { Id = 10, Members = { new Wire.NexthopGroupMember { Id = 1, Weight = 3 }, new Wire.NexthopGroupMember { Id = 2, Weight = 1 } } })
            .Route(new Wire.Route { Key = Tables.Key("10.9.0.0/16"), Type = 1, NexthopId = 10 });
        t.Neighbour("10.2.0.2", mac: 0, state: Failed);
        Assert.Equal("1 port 0 to 01", t.Verdict("10.9.0.1"));
        t.Neighbour("10.1.0.2", Tables.R0, mac: 0, state: Failed); // none is better than another: each has its share
        Assert.Equal("0.75 punt no-neighbour | 0.25 punt no-neighbour", t.Verdict("10.9.0.1"));
        t.Neighbour("10.2.0.2", mac: 2);
        Assert.Equal("1 port 1 to 02", t.Verdict("10.9.0.1"));
        t.NoNeighbour("10.1.0.2", Tables.R0); // not known is not failed
        Assert.Equal("0.75 port 1 to 02 | 0.25 punt no-neighbour", t.Verdict("10.9.0.1"));
    }

    [Fact]
    public void MultipathRouteHeedsNeighboursWhenTheSettingSaysSo()
    {
        using Tables t = TwoWays().Route("10.9.0.0/16", Tables.Via("10.2.0.2"), Tables.Via("10.1.0.2", Tables.R0)).Neighbour("10.2.0.2", mac: 0, state: Failed);
        Assert.Equal("0.5 punt no-neighbour | 0.5 port 0 to 01", t.Verdict("10.9.0.1"));
        t.State.Apply(new Wire.Settings { MultipathUseNeigh = true });
        Assert.Equal("1 port 0 to 01", t.Verdict("10.9.0.1"));
        t.State.Apply(new Wire.Settings());
        Assert.Equal("0.5 punt no-neighbour | 0.5 port 0 to 01", t.Verdict("10.9.0.1"));
    }

    [Fact]
    public void GroupOfManySharesEvenlyAndDeadMembersTakeNothing()
    {
        uint[] weights = [.. Enumerable.Range(0, 64).Select(i => (uint)(1 + (i % 7)))];
        using Tables t = TwoWays();
        foreach (int i in Enumerable.Range(0, 64))
        {
            t.Object(Single((uint)i + 1, $"10.2.0.{i + 2}", Tables.R1)).Neighbour($"10.2.0.{i + 2}", mac: (byte)(i + 1));
        }

        Wire.Nexthop group = new() { Id = 100 };
        group.Members.AddRange(weights.Select((w, i) => new Wire.NexthopGroupMember { Id = (uint)i + 1, Weight = w }));
        t.Object(group).Route(new Wire.Route { Key = Tables.Key("10.9.0.0/16"), Type = 1, NexthopId = 100 });
        string[] ways = t.Verdict("10.9.0.1").Split(" | ");
        Assert.Equal(64, ways.Length);
        double total = weights.Sum(w => w);
        Assert.All(ways.Zip(weights), w => Assert.Equal(w.Second / total, double.Parse(w.First.Split(' ')[0], System.Globalization.CultureInfo.InvariantCulture), 0.001));
    }

    private const uint Failed = 0x20; // NUD_FAILED

    private static Wire.Nexthop Single(uint id, string gateway, uint ifindex) => new() { Id = id, Family = 2, Ifindex = ifindex, Gateway = Tables.Bytes(gateway) };

    private static Wire.Nexthop Resilient(uint id, uint[] members, uint[] buckets)
    {
        Wire.Nexthop n = new() { Id = id, GroupType = 1 };
        n.Members.AddRange(members.Select(m => new Wire.NexthopGroupMember { Id = m, Weight = 1 }));
        n.Buckets.AddRange(buckets);
        return n;
    }

    private static unsafe SharedMemory.RecordTableReader<SharedMemory.Tables.NexthopRecord> Reader(Tables t) =>
        new(SharedMemory.Tables.NexthopSegment.Records(t.Segments.Nexthop), SharedMemory.Capacities.Nexthops);
}
