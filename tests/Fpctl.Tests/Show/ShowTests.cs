using System.Text.Json;
using System.Text.Json.Nodes;
using FastPathSync.Fpctl.Features.Address;
using FastPathSync.Fpctl.Features.Neighbour;
using FastPathSync.Fpctl.Features.Nexthop;
using FastPathSync.Fpctl.Features.Port;
using FastPathSync.Fpctl.Features.Route;
using FastPathSync.Fpctl.Features.Vrf;
using FastPathSync.Fpctl.Inspection;
using FastPathSync.Linux;
using FastPathSync.SharedMemory;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.Fpctl.Tests.Show;

public sealed unsafe class ShowTests : IDisposable
{
    private readonly TestInstance _instance = new();

    public void Dispose() => _instance.Dispose();

    [Fact]
    public void RouteThroughResolvedGatewayForwardsAndNamesItsAdjacency()
    {
        _instance.Neighbour("10.2.0.2", TestInstance.R1, 0x42);
        _instance.Route("10.9.0.0/16", _instance.Via("10.2.0.2", TestInstance.R1), metric: 5, protocol: 4);
        AssertJson(
            """[{"family":"inet","type":"unicast","dst":"10.9.0.0/16","gateway":"10.2.0.2","dev":"r1","table":"main","protocol":"static","scope":"global","metric":5,"flags":[],"active":true,"fastpath":"forward","lladdr":"02:00:00:00:01:42","port":"r1"}]""",
            Routes());
    }

    [Fact]
    public void RouteThroughUnresolvedGatewayPunts()
    {
        _instance.Route("0.0.0.0/0", _instance.Via("10.2.0.9", TestInstance.R1));
        AssertJson(
            """[{"family":"inet","type":"unicast","dst":"default","gateway":"10.2.0.9","dev":"r1","table":"main","protocol":"boot","scope":"global","flags":[],"active":true,"fastpath":"punt","reason":"no-neighbour"}]""",
            Routes());
    }

    [Fact]
    public void HostRouteHasNoLengthAndLocalRoutePunts()
    {
        _instance.Route("10.1.0.1/32", _instance.Punt(PuntReason.Local, TestInstance.R0), KernelNames.RTN_LOCAL, KernelNames.TableLocal, protocol: 2, scope: 254, source: TestInstance.Ip("10.1.0.1"));
        AssertJson(
            """[{"family":"inet","type":"local","dst":"10.1.0.1","dev":"r0","table":"local","protocol":"kernel","scope":"host","prefsrc":"10.1.0.1","flags":[],"active":true,"fastpath":"punt","reason":"local"}]""",
            Routes());
    }

    [Fact]
    public void MultipathRouteListsEachWayWithItsVerdict()
    {
        _instance.Neighbour("10.2.0.2", TestInstance.R1, 0x42);
        _instance.Route("10.9.0.0/16", _instance.Group((_instance.Via("10.2.0.2", TestInstance.R1), 1), (_instance.Via("10.1.0.2", TestInstance.R0), 3)));
        AssertJson(
            """[{"family":"inet","type":"unicast","dst":"10.9.0.0/16","table":"main","protocol":"boot","scope":"global","flags":[],"nexthops":[{"gateway":"10.2.0.2","dev":"r1","weight":1,"flags":[],"fastpath":"forward","lladdr":"02:00:00:00:01:42","port":"r1"},{"gateway":"10.1.0.2","dev":"r0","weight":3,"flags":[],"fastpath":"punt","reason":"no-neighbour"}],"active":true,"fastpath":"forward"}]""",
            Routes());
    }

    [Fact]
    public void RouteOfHigherMetricIsNotInForce()
    {
        int n = _instance.OnLink(TestInstance.R1);
        _instance.Route("10.9.0.0/16", n, metric: 100, compiled: false);
        _instance.Route("10.9.0.0/16", n, metric: 10);
        Assert.Equal([(10u, true), (100u, false)], new RouteReader(_instance.Tables).Show(null).Select(r => (r.Metric!.Value, r.Active)));
    }

    [Fact]
    public void TableFilterKeepsOnlyThatTable()
    {
        int n = _instance.OnLink(TestInstance.R1);
        _instance.Route("10.9.0.0/16", n);
        _instance.Route("10.8.0.1/32", n, table: KernelNames.TableLocal);
        Assert.Equal(["10.9.0.0/16"], new RouteReader(_instance.Tables).Show(KernelNames.TableMain).Select(r => r.Dst));
        Assert.Equal(["10.8.0.1", "10.9.0.0/16"], new RouteReader(_instance.Tables).Show(null).Select(r => r.Dst));
    }

    [Fact]
    public void GetFollowsTheFibToTheNeighbourOfAnOnLinkDestination()
    {
        _instance.Neighbour("10.2.0.7", TestInstance.R1, 0x77, state: 4);
        _instance.Route("10.2.0.0/24", _instance.OnLink(TestInstance.R1), protocol: 2, scope: 253);
        RouteGetView v = new RouteReader(_instance.Tables).Get(TestInstance.Ip("10.2.0.7"));
        Assert.Equal(("forward", "r1", "02:00:00:00:01:77", 1500u), (v.Fastpath, v.Port, v.Lladdr, v.Mtu));
        Assert.Equal(("10.2.0.0/24", "10.2.0.0/24"), (v.Route!.Dst, v.Nexthop.Prefix));
        Assert.Equal(["STALE"], v.Neighbour!.State);
        Assert.Null(v.Warning);
        RouteGetView unknown = new RouteReader(_instance.Tables).Get(TestInstance.Ip("10.2.0.8"));
        Assert.Equal(("punt", "no-neighbour"), (unknown.Fastpath, unknown.Reason));
    }

    [Fact]
    public void GetTakesTheLongestPrefixAndFallsBackToTheDefault()
    {
        _instance.Neighbour("10.2.0.2", TestInstance.R1, 0x42);
        _instance.Route("0.0.0.0/0", _instance.Via("10.2.0.2", TestInstance.R1));
        _instance.Route("10.9.9.128/25", _instance.Punt(PuntReason.Blackhole), KernelNames.RTN_BLACKHOLE);
        RouteReader reader = new(_instance.Tables);
        Assert.Equal(("punt", "blackhole", "10.9.9.128/25"), Verdict(reader.Get(TestInstance.Ip("10.9.9.200"))));
        Assert.Equal(("forward", null, "default"), Verdict(reader.Get(TestInstance.Ip("10.9.9.1"))));
        Assert.Equal("10.2.0.2", reader.Get(TestInstance.Ip("10.9.9.1")).Gateway);

        static (string, string?, string?) Verdict(RouteGetView v) => (v.Fastpath, v.Reason, v.Route?.Dst);
    }

    [Fact]
    public void GetWithoutRoutePunts()
    {
        RouteGetView v = new RouteReader(_instance.Tables).Get(TestInstance.Ip("192.0.2.1"));
        Assert.Equal(("punt", "no-route"), (v.Fastpath, v.Reason));
        Assert.Null(v.Route);
    }

    [Fact]
    public void GetWarnsWhenFibAndRouteTableDisagree()
    {
        _instance.Route("10.9.0.0/16", _instance.OnLink(TestInstance.R1), compiled: false);
        Assert.NotNull(new RouteReader(_instance.Tables).Get(TestInstance.Ip("10.9.1.1")).Warning);
    }

    [Fact]
    public void NeighbourTellsStateVerdictAndLastUse()
    {
        int slot = _instance.Neighbour("10.2.0.2", TestInstance.R1, 0x42);
        _instance.Neighbour("10.2.0.3", TestInstance.R1, 0, state: 0x20);
        UseStampSegment.Stamps(_instance[SegmentNames.UseStamps])[slot] = MonotonicClock.CoarseSeconds;
        List<NeighbourView> n = [.. new NeighbourReader(_instance.Tables).Show(Families.Both)];
        Assert.InRange(n[0].Used!.Value, 0u, 1u);
        AssertJson(
            """[{"family":"inet","dst":"10.2.0.3","dev":"r1","state":["FAILED"],"fastpath":"punt","reason":"no-neighbour"}]""",
            JsonSerializer.Serialize(n.Skip(1), FpctlJson.Default.IEnumerableNeighbourView));
        Assert.Equal(("02:00:00:00:01:42", "forward", "r1"), (n[0].Lladdr, n[0].Fastpath, n[0].Port));
    }

    [Fact]
    public void NexthopObjectHasItsIdAndItsRoutes()
    {
        int n = _instance.Via("10.2.0.2", TestInstance.R1, objectId: 17);
        _instance.Route("10.9.0.0/16", n, nhid: 17);
        _instance.Route("10.8.0.0/16", n, nhid: 17);
        NexthopView v = Assert.Single(new NexthopReader(_instance.Tables).Show(), x => x.Id == 17);
        Assert.Equal((2, "10.2.0.2", "r1", "punt", "no-neighbour"), (v.Routes, v.Gateway, v.Dev, v.Fastpath, v.Reason));
    }

    [Fact]
    public void AddressesAreGroupedByInterfaceAsIpPrintsThem()
    {
        _instance.Addresses.Write(_instance.Addresses.Allocate(), new AddressRecord
        {
            IfIndex = TestInstance.R0,
            Local = IpAddress.FromV4(TestInstance.Ip("10.1.0.1")),
            Peer = IpAddress.FromV4(TestInstance.Ip("10.1.0.1")),
            Broadcast = TestInstance.Ip("10.1.0.255"),
            PrefixLength = 24,
            Label = Name16.From("r0"),
        });
        AssertJson(
            """[{"ifindex":10,"ifname":"r0","flags":["UP","LOWER_UP"],"mtu":1500,"operstate":"UP","address":"02:00:00:00:00:0a","addr_info":[{"family":"inet","local":"10.1.0.1","prefixlen":24,"broadcast":"10.1.0.255","scope":"global","label":"r0"}]}]""",
            JsonSerializer.Serialize(new AddressReader(_instance.Tables).Show(Families.Both), FpctlJson.Default.IEnumerableAddressView));
    }

    [Fact]
    public void PortHasStateAndCounters()
    {
        PortCounters* c = WorkerSegment.Port(_instance.Worker(0, 1), 1);
        (c->Rx, c->Tx, c->Forwarded) = (9, 8, 7);
        AssertJson(
            """{"ifname":"r1","ifindex":11,"id":1,"vrf":"default","mode":"native","zerocopy":false,"queues":1,"mtu":1500,"maxMtu":3000,"state":"up","address":"02:00:00:00:00:0b","rx":9,"tx":8,"forwarded":7}""",
            JsonSerializer.Serialize(new PortReader(_instance.Tables).Show("default").Skip(1), FpctlJson.Default.IEnumerablePortView).Trim('[', ']'));
    }

    [Fact]
    public void VrfTellsSynchronizationAndTableSizes()
    {
        _instance.Vrf->Synchronized = 1;
        _instance.Vrf->PassAll = Families.Both;
        _instance.Route("10.9.0.0/16", _instance.OnLink(TestInstance.R1));
        VrfView v = new VrfReader(_instance.Tables).Show("blue");
        Assert.Equal(("blue", true, true, 1, 3), (v.Name, v.Synced, v.PassAll, v.Tables.Routes.Used, v.Tables.Interfaces.Used));
    }

    [Fact]
    public void TextHasNoEscapesAndEveryRow()
    {
        using StringWriter w = new();
        List<string[]> few = [["10.9.0.0/16", "punt: no-route"]], many = [.. Enumerable.Range(0, 5000).Select(i => new[] { $"{i}", "[x]" })];
        ShowCommand.WriteText(Cli.CliContext.CreateConsole(w, plain: true), w, ["route", "fast path"], few);
        ShowCommand.WriteText(Cli.CliContext.CreateConsole(w, plain: true), w, ["route", "fast path"], many);
        string text = w.ToString();
        Assert.DoesNotContain('\u001b', text);
        Assert.Contains("punt: no-route", text, StringComparison.Ordinal);
        Assert.Equal(5000, text.Split("[x]").Length - 1);
    }

    [Theory]
    [InlineData("10.1.2.3", true)]
    [InlineData("10.1.2", false)]
    [InlineData("10.1.2.256", false)]
    [InlineData("010.1.2.3", false)]
    [InlineData("0x0a010203", false)]
    [InlineData("::1", false)]
    [InlineData("", false)]
    public void OnlyDottedDecimalIsAnAddress(string text, bool valid) => Assert.Equal(valid, Ipv4Text.TryParse(text, out _));

    private static void AssertJson(string expected, string actual) =>
        Assert.True(JsonNode.DeepEquals(JsonNode.Parse(expected), JsonNode.Parse(actual)), $"expected {expected}\nactual   {actual}");

    private string Routes() => JsonSerializer.Serialize(new RouteReader(_instance.Tables).Show(null), FpctlJson.Default.IEnumerableRouteView);
}
