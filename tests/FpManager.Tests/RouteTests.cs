using FastPathSync.FpManager.Memory;
using FastPathSync.SharedMemory.Tables;
using Wire = FastPathSync.Fpc.Protocol;

namespace FastPathSync.FpManager.Tests;

public sealed class RouteTests
{
    [Fact]
    public void UnresolvedGatewayPuntsAndForwardsOnceResolved()
    {
        using Tables t = new Tables().Standard().Route("10.9.0.0/16", Tables.Via("10.2.0.2"));
        Assert.Equal("punt no-neighbour", t.Verdict("10.9.1.1"));
        t.Neighbour("10.2.0.2");
        Assert.Equal("port 1 to 42", t.Verdict("10.9.1.1"));
        t.Neighbour("10.2.0.2", mac: 0x43, state: 4);
        Assert.Equal("port 1 to 43", t.Verdict("10.9.1.1"));
        t.NoNeighbour("10.2.0.2");
        Assert.Equal("punt no-neighbour", t.Verdict("10.9.1.1"));
    }

    [Theory]
    [InlineData(0x01u)] // NUD_INCOMPLETE
    [InlineData(0x20u)] // NUD_FAILED
    [InlineData(0x00u)] // NUD_NONE
    public void NeighbourWithoutValidStateIsNotUsed(uint state)
    {
        using Tables t = new Tables().Standard().Route("10.9.0.0/16", Tables.Via("10.2.0.2")).Neighbour("10.2.0.2", state: state);
        Assert.Equal("punt no-neighbour", t.Verdict("10.9.1.1"));
    }

    [Fact]
    public void ConnectedDestinationFindsItsOwnNeighbour()
    {
        using Tables t = new Tables().Standard().Neighbour("10.2.0.7", mac: 7).Neighbour("10.2.0.8", mac: 8);
        Assert.Equal("port 1 to 07", t.Verdict("10.2.0.7"));
        Assert.Equal("port 1 to 08", t.Verdict("10.2.0.8"));
        Assert.Equal("punt no-neighbour", t.Verdict("10.2.0.9"));
    }

    [Fact]
    public void AVrfWithoutPortsKeepsItsFibAlsoOverARestart()
    {
        using Tables t = new Tables(ConfigurationSegments.CreatePrivate(VrfSizes.Small)).Standard().Route("10.9.0.0/16", Tables.Via("10.2.0.2")).Neighbour("10.2.0.2", mac: 2);
        string wanted = t.Verdict("10.9.1.1");
        Assert.NotEqual("punt no-route", wanted);
        Tables again = new(t.Segments);
        foreach (Tables tables in (Tables[])[t, again])
        {
            for (int i = 0; i < 3; i++)
            {
                tables.State.Tick();
            }

            Assert.Equal(wanted, tables.Verdict("10.9.1.1"));
        }
    }

    [Fact]
    public void LowestMetricWinsAndItsEndGivesTheNext()
    {
        using Tables t = new Tables().Standard().Neighbour("10.2.0.2", mac: 2).Neighbour("10.1.0.2", Tables.R0, mac: 1);
        t.Route(new Wire.Route { Key = Tables.Key("10.9.0.0/16", metric: 20), Type = 1, Nexthops = { Tables.Via("10.2.0.2") } });
        t.Route(new Wire.Route { Key = Tables.Key("10.9.0.0/16", metric: 10), Type = 1, Nexthops = { Tables.Via("10.1.0.2", Tables.R0) } });
        Assert.Equal("port 0 to 01", t.Verdict("10.9.0.1"));
        t.NoRoute(Tables.Key("10.9.0.0/16", metric: 10));
        Assert.Equal("port 1 to 02", t.Verdict("10.9.0.1"));
    }

    [Fact]
    public void LocalTableBeatsMainForTheSamePrefix()
    {
        using Tables t = new Tables().Standard().Neighbour("10.2.0.2").Route("10.2.0.1/32", Tables.Via("10.2.0.2"));
        t.Route(new Wire.Route { Key = Tables.Key("10.2.0.1/32", table: 255, metric: 5), Type = 2, Nexthops = { Tables.Via("") } });
        Assert.Equal("punt local", t.Verdict("10.2.0.1"));
    }

    [Theory]
    [InlineData(3u, "broadcast")]
    [InlineData(6u, "blackhole")]
    [InlineData(7u, "unreachable")]
    [InlineData(8u, "prohibit")]
    [InlineData(9u, "throw")]
    [InlineData(4u, "route-unsupported")]
    public void OtherRouteTypesAreLinuxsToAnswer(uint type, string reason)
    {
        using Tables t = new Tables().Standard().Route(new Wire.Route { Key = Tables.Key("10.9.0.0/16"), Type = type });
        Assert.Equal($"punt {reason}", t.Verdict("10.9.0.1"));
    }

    [Fact]
    public void RouteForOneTosPuntsItsPrefix()
    {
        using Tables t = new Tables().Standard().Neighbour("10.2.0.2").Route("10.9.0.0/16", Tables.Via("10.2.0.2"));
        t.Route(new Wire.Route { Key = Tables.Key("10.9.0.0/16", tos: 0x10), Type = 1, Nexthops = { Tables.Via("10.2.0.2") } });
        Assert.Equal("punt tos-route", t.Verdict("10.9.0.1"));
        t.NoRoute(Tables.Key("10.9.0.0/16", tos: 0x10));
        Assert.Equal("port 1 to 42", t.Verdict("10.9.0.1"));
    }

    [Fact]
    public void DefaultRouteCatchesTheRestAndFollowsItsNeighbour()
    {
        using Tables t = new Tables().Standard().Route("0.0.0.0/0", Tables.Via("10.2.0.2"));
        Assert.Equal("punt no-neighbour", t.Verdict("8.8.8.8"));
        t.Neighbour("10.2.0.2");
        Assert.Equal("port 1 to 42", t.Verdict("8.8.8.8"));
        t.NoRoute(Tables.Key("0.0.0.0/0"));
        Assert.Equal("punt no-route", t.Verdict("8.8.8.8"));
    }

    [Fact]
    public void DeadRouteGivesWayToTheNextMetric()
    {
        using Tables t = new Tables().Standard().Neighbour("10.2.0.2", mac: 2).Neighbour("10.1.0.2", Tables.R0, mac: 1);
        t.Route(new Wire.Route { Key = Tables.Key("10.9.0.0/16", metric: 1), Type = 1, Nexthops = { Tables.Via("10.1.0.2", Tables.R0, flags: 1) } });
        t.Route(new Wire.Route { Key = Tables.Key("10.9.0.0/16", metric: 2), Type = 1, Nexthops = { Tables.Via("10.2.0.2") } });
        Assert.Equal("port 1 to 02", t.Verdict("10.9.0.1"));
    }

    [Fact]
    public void RouteMtuIsTheWordsMtu()
    {
        using Tables t = new Tables().Standard().Neighbour("10.2.0.2");
        t.Route(new Wire.Route { Key = Tables.Key("10.9.0.0/16"), Type = 1, Mtu = 1300, Nexthops = { Tables.Via("10.2.0.2") } });
        t.Route("10.8.0.0/16", Tables.Via("10.2.0.2"));
        Assert.Equal(1300u, t.Lookup("10.9.0.1").Mtu);
        Assert.Equal(1500u, t.Lookup("10.8.0.1").Mtu);
        t.Interface(Tables.R1, "r1", mtu: 1400);
        Assert.Equal(1400u, t.Lookup("10.8.0.1").Mtu);
    }

    [Fact]
    public void InterfaceDownPuntsItsRoutesAndUpRestoresThem()
    {
        using Tables t = new Tables().Standard().Neighbour("10.2.0.2").Route("10.9.0.0/16", Tables.Via("10.2.0.2"));
        t.Interface(Tables.R1, "r1", up: false);
        Assert.Equal("punt link-down", t.Verdict("10.9.0.1"));
        t.Interface(Tables.R1, "r1");
        Assert.Equal("port 1 to 42", t.Verdict("10.9.0.1"));
    }

    [Fact]
    public void RouteOutOfAnInterfaceThatIsNoPortIsPunted()
    {
        using Tables t = new Tables().Standard().Interface(50, "eth9").Neighbour("10.5.0.2", 50).Route("10.9.0.0/16", Tables.Via("10.5.0.2", 50));
        Assert.Equal("punt egress-not-a-port", t.Verdict("10.9.0.1"));
    }

    [Fact]
    public void SweepEndsWhatASynchronizationDidNotRenew()
    {
        using Tables t = new Tables().Standard().Neighbour("10.2.0.2").Route("10.9.0.0/16", Tables.Via("10.2.0.2")).Route("10.8.0.0/16", Tables.Via("10.2.0.2"));
        t.Sync(7, () => t.Route("10.8.0.0/16", Tables.Via("10.2.0.2")), Wire.ObjectKind.Route);
        Assert.Equal("punt no-route", t.Verdict("10.9.0.1"));
        Assert.Equal("port 1 to 42", t.Verdict("10.8.0.1"));
    }

    [Fact]
    public void EndOfASynchronizationNotBegunIsRefusedAndSweepsNothing()
    {
        using Tables t = new Tables().Standard().Neighbour("10.2.0.2").Route("10.9.0.0/16", Tables.Via("10.2.0.2"));
        Assert.False(t.State.TryEndSync(new Wire.EndSync { Generation = 99 }, out _));
        Assert.Equal("port 1 to 42", t.Verdict("10.9.0.1"));
    }

    [Fact]
    public unsafe void RepairMendsWhatIsCompiledWrongly()
    {
        using Tables t = new Tables().Standard().Neighbour("10.2.0.2").Route("10.9.0.0/16", Tables.Via("10.2.0.2")).Route("10.9.9.9/32", Tables.Via("10.2.0.2"));
        uint leaf = Fib4Segment.Reader(t.Segments.Fib4).Lookup(Tables.Ip("10.9.9.9"));
        Fib4Segment.Table24(t.Segments.Fib4)[Tables.Ip("10.9.1.0") >> 8] = 0;
        Fib4Segment.Table24(t.Segments.Fib4)[Tables.Ip("10.9.9.0") >> 8] = 0;
        NexthopSegment.Words(t.Segments.Nexthop)[leaf] = 0;
        Assert.Equal("punt no-route", t.Verdict("10.9.1.1"));
        t.Repair(5);
        Assert.Equal(["port 1 to 42", "port 1 to 42", "port 1 to 42"], new[] { "10.9.1.1", "10.9.9.9", "10.9.2.2" }.Select(t.Verdict));
        Assert.Equal(2, t.State.Repaired); // two FIB entries; the word is renewed with the ports in any case
        t.NoRoute(Tables.Key("10.9.9.9/32"));
        Assert.Equal("port 1 to 42", t.Verdict("10.9.9.9"));
    }

    /// <summary>Random adds, replaces and deletes of nested prefixes, against the definition of longest prefix match.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void RandomChurnEqualsLongestPrefixMatch(int seed)
    {
        Random random = new(seed);
        using Tables t = new Tables().Standard();
        Dictionary<(uint Prefix, int Length), byte> model = [];
        for (byte n = 1; n < 200; n++)
        {
            t.Neighbour($"10.2.0.{n}", mac: n);
        }

        for (int step = 0; step < 6000; step++)
        {
            int length = random.Next(4) == 0 ? random.Next(25, 33) : random.Next(1, 33);
            uint prefix = (0x14000000u | (uint)random.Next(1 << 12) | ((uint)random.Next(4) << 16)) & (uint.MaxValue << (32 - length));
            string text = $"{prefix >> 24}.{prefix >> 16 & 255}.{prefix >> 8 & 255}.{prefix & 255}/{length}";
            if (random.Next(3) == 0)
            {
                t.NoRoute(Tables.Key(text));
                model.Remove((prefix, length));
            }
            else
            {
                byte n = (byte)random.Next(1, 200);
                t.Route(text, Tables.Via($"10.2.0.{n}"));
                model[(prefix, length)] = n;
            }

            if (step % 200 == 0)
            {
                t.State.Tick();
            }
        }

        Check(t, model, random);
        Tables again = new(t.Segments); // another fpmd takes up the same segments
        Check(again, model, random);
        foreach ((uint prefix, int length) in model.Keys.ToList())
        {
            again.NoRoute(Tables.Key($"{prefix >> 24}.{prefix >> 16 & 255}.{prefix >> 8 & 255}.{prefix & 255}/{length}"));
        }

        Check(again, [], random);

        static void Check(Tables t, Dictionary<(uint Prefix, int Length), byte> model, Random random)
        {
            for (int i = 0; i < 20000; i++)
            {
                uint a = 0x14000000u | (uint)random.Next(1 << 12) | ((uint)random.Next(4) << 16);
                byte? want = null;
                for (int l = 32; l > 0 && want is null; l--)
                {
                    want = model.TryGetValue((a & (uint.MaxValue << (32 - l)), l), out byte n) ? n : null;
                }

                string address = $"{a >> 24}.{a >> 16 & 255}.{a >> 8 & 255}.{a & 255}";
                Assert.Equal(want is null ? "punt no-route" : $"port 1 to {want:x2}", t.Verdict(address));
            }
        }
    }
}
