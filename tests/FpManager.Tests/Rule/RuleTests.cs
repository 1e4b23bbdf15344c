using FastPathSync.SharedMemory.Tables;
using static FastPathSync.FpManager.Tests.RuleLab;
using Wire = FastPathSync.Fpc.Protocol;

namespace FastPathSync.FpManager.Tests;

public sealed unsafe class RuleTests : IDisposable
{
    private const uint Goto = 2, Nop = 3, Blackhole = 6, Unreachable = 7, Prohibit = 8;
    private readonly RuleLab _lab = new();

    public void Dispose() => _lab.Dispose();

    [Fact]
    public void WithoutRulesOfOnesOwnTheMergedTableIsAllThereIs()
    {
        Assert.False(_lab.List4.IsDefault); // before any rule is known nothing is forwarded
        Assert.Equal("punt no-route", _lab.Route(Main, "10.9.0.0/16", 9).Ask("10.9.0.1"));
        _lab.Born();
        Assert.True(_lab.List4.IsDefault);
        Assert.Equal("way 9", _lab.Ask("10.9.0.1"));
        Assert.Equal(0u, _lab.Tables.Vrf->CheckSource);
    }

    [Fact]
    public void ARuleSendsWhatItMatchesToItsTableAndTheRestToMain()
    {
        _lab.Born().Route(Main, "10.9.0.0/16", 9).Route(100, "10.9.0.0/16", 5);
        Assert.True(_lab.List4.IsDefault);
        Wire.Rule rule = Lookup(1000, 100);
        rule.Source = Tables.Bytes("10.1.0.0");
        rule.SourceLength = 24;
        _lab.Add(rule);
        Assert.Equal("way 5", _lab.Ask("10.9.0.1"));
        Assert.Equal("way 9", _lab.Ask(Packet("10.9.0.1", from: "10.1.1.2")));
        Assert.Equal("way 9", _lab.Delete(rule).Ask("10.9.0.1"));
        Assert.True(_lab.List4.IsDefault);
        Assert.Equal(1u, _lab.Tables.Vrf->CheckSource); // as in the kernel, for ever
    }

    [Fact]
    public void AShortPrefixOfTableLocalMakesEverySourceSuspect()
    {
        _lab.Born().Route(Main, "10.9.0.0/16", 9);
        _lab.Tables.Route(new Wire.Route { Key = Tables.Key("127.0.0.0/8", table: Local), Type = 2, Protocol = 2 }); // RTPROT_KERNEL: never looked up
        Assert.Equal(0u, _lab.Tables.Vrf->CheckSource);
        _lab.Tables.Route(new Wire.Route { Key = Tables.Key("10.8.1.0/24", table: Local), Type = 2, Protocol = 2 });
        Assert.Equal(1u, _lab.Tables.Vrf->CheckSource);
        Assert.True(_lab.List4.IsDefault);
    }

    [Fact]
    public void ALocalRouteOfAPersonsInAnyTableMakesEverySourceSuspect()
    {
        _lab.Born().Route(Main, "10.9.0.0/16", 9);
        Assert.Equal(0u, _lab.Tables.Vrf->CheckSource);
        _lab.Special(100, "10.8.1.1/32", 2);
        Assert.Equal(1u, _lab.Tables.Vrf->CheckSource);
    }

    [Fact]
    public void BroadcastAddressesAreSuspectsAsSources()
    {
        LocalAddressFilter filter = AddressSegment.Filter4(_lab.Tables.Segments.Address);
        Assert.False(filter.MayContain(Tables.Ip("10.9.1.255")));
        _lab.Special(Local, "10.9.1.255/32", 3);
        Assert.True(filter.MayContain(Tables.Ip("10.9.1.255")));
        Assert.True(AddressSegment.Filter4(new Tables(_lab.Tables.Segments).Segments.Address).MayContain(Tables.Ip("10.9.1.255")));
        _lab.Tables.NoRoute(Tables.Key("10.9.1.255/32", table: Local));
        Assert.False(filter.MayContain(Tables.Ip("10.9.1.255")));
    }

    [Fact]
    public void ATableThatFindsNothingOrThrowsGivesTheNextRuleItsTurn()
    {
        _lab.Born().Route(Main, "10.9.0.0/16", 9).Add(Lookup(1000, 100));
        Assert.True(_lab.List4.IsDefault); // an empty table can't decide anything
        _lab.Route(100, "10.8.0.0/16", 5).Special(100, "10.9.7.0/24", 9);
        Assert.Equal("way 9", _lab.Ask("10.9.0.1"));
        Assert.Equal("way 9", _lab.Ask("10.9.7.1"));
        Assert.Equal("way 5", _lab.Ask("10.8.0.1"));
        _lab.Tables.NoRoute(Tables.Key("10.8.0.0/16", table: 100)).NoRoute(Tables.Key("10.9.7.0/24", table: 100));
        Assert.True(_lab.List4.IsDefault);
    }

    [Theory]
    [InlineData(6u, "punt blackhole")]
    [InlineData(7u, "punt unreachable")]
    [InlineData(8u, "punt prohibit")]
    public void ErrorsEndTheWalkInRulesAndInTables(uint kind, string outcome)
    {
        _lab.Born().Route(Main, "0.0.0.0/0", 9).Special(100, "10.8.0.0/16", kind).Add(Lookup(1000, 100));
        Assert.Equal(outcome, _lab.Ask("10.8.0.1"));
        Wire.Rule rule = Act(900, kind);
        rule.Destination = Tables.Bytes("10.7.0.0");
        rule.DestinationLength = 16;
        Assert.Equal(outcome, _lab.Add(rule).Ask("10.7.0.1"));
        Assert.Equal("way 9", _lab.Ask("10.6.0.1"));
    }

    [Fact]
    public void LocalComesBeforeTheRules()
    {
        _lab.Born().Special(Local, "10.1.0.1/32", 2).Route(100, "0.0.0.0/0", 5).Add(Lookup(1000, 100));
        Assert.Equal("punt local", _lab.Ask("10.1.0.1"));
        Assert.Equal("way 5", _lab.Ask("10.1.0.3"));
    }

    [Fact]
    public void MainIsLookedUpAloneWhenLocalDoesNotComeFirst()
    {
        _lab.Born().Special(Local, "10.9.0.1/32", 2).Route(Main, "10.9.0.0/16", 9);
        _lab.Add(Lookup(10, Main)).Delete(Lookup(0, Local));
        Assert.Equal("way 9", _lab.Ask("10.9.0.1"));
        _lab.Add(Lookup(5, Local));
        Assert.Equal("punt local", _lab.Ask("10.9.0.1"));
    }

    [Fact]
    public void AThrowRouteInLocalIsLinuxs()
    {
        _lab.Born().Special(Local, "10.9.0.0/24", 9).Route(Main, "10.9.0.0/16", 9).Route(100, "10.8.0.0/16", 5).Add(Lookup(1000, 100));
        Assert.Equal("punt throw", _lab.Ask("10.9.0.1"));
        Assert.Equal("way 9", _lab.Ask("10.9.1.1"));
    }

    [Fact]
    public void SuppressionPassesOverShortPrefixes()
    {
        _lab.Born().Route(Main, "0.0.0.0/0", 9).Route(Main, "10.9.0.0/16", 8).Route(100, "0.0.0.0/0", 5);
        Wire.Rule rule = Lookup(1000, Main);
        rule.SuppressPrefixLength = 0;
        _lab.Add(rule).Add(Lookup(1001, 100));
        Assert.Equal("way 8", _lab.Ask("10.9.0.1"));
        Assert.Equal("way 5", _lab.Ask("10.8.0.1"));
        _lab.Delete(rule);
        rule.SuppressPrefixLength = 16;
        Assert.Equal("way 5", _lab.Add(rule).Ask("10.9.0.1"));
    }

    [Fact]
    public void SuppressionByInterfaceGroupIsLinuxsWhereItCouldApply()
    {
        Wire.Rule rule = Lookup(1000, 100);
        rule.SuppressInterfaceGroup = 7;
        _lab.Born().Route(100, "10.9.0.0/16", 5).Route(Main, "0.0.0.0/0", 9).Add(rule);
        Assert.Equal("punt rule-unsupported", _lab.Ask("10.9.0.1"));
        Assert.Equal("way 9", _lab.Ask("10.8.0.1"));
        Assert.Equal("ip rule 1000", Gap().Object.ToString());
    }

    [Fact]
    public void GotoLeadsForwardOnlyAndUnresolvedIsPassedOver()
    {
        _lab.Born().Route(Main, "0.0.0.0/0", 9).Route(100, "0.0.0.0/0", 5).Route(101, "0.0.0.0/0", 6);
        _lab.Add(Act(500, Goto, 2000)).Add(Lookup(1000, 100));
        Assert.Equal("way 5", _lab.Ask("10.9.0.1")); // nobody stands at 2000 yet
        _lab.Add(Lookup(2000, 101));
        Assert.Equal("way 6", _lab.Ask("10.9.0.1"));
        _lab.Add(Lookup(1500, 100)).Delete(Lookup(2000, 101)).Add(Act(2000, Nop));
        Assert.Equal("way 9", _lab.Ask("10.9.0.1"));
        _lab.Add(Act(3000, Goto, 100)); // what the kernel refuses never becomes a loop
        Assert.Equal("way 9", _lab.Ask("10.9.0.1"));
    }

    [Fact]
    public void InvertedRulesMatchTheRest()
    {
        Wire.Rule rule = Lookup(1000, 100);
        rule.Source = Tables.Bytes("10.1.0.0");
        rule.SourceLength = 24;
        rule.Invert = true;
        _lab.Born().Route(Main, "0.0.0.0/0", 9).Route(100, "0.0.0.0/0", 5).Add(rule);
        Assert.Equal("way 9", _lab.Ask("10.9.0.1"));
        Assert.Equal("way 5", _lab.Ask(Packet("10.9.0.1", from: "10.1.1.1")));

        // Inverted and about what no forwarded packet has: always; about everything: never.
        Wire.Rule marked = Lookup(900, 101);
        marked.Fwmark = 7;
        marked.Invert = true;
        Wire.Rule never = Act(800, Blackhole);
        never.Invert = true;
        _lab.Route(101, "0.0.0.0/0", 6).Add(marked).Add(never);
        Assert.Equal("way 6", _lab.Ask("10.9.0.1"));
    }

    [Fact]
    public void InputInterfacesAreFollowedByName()
    {
        Wire.Rule rule = Lookup(1000, 100);
        rule.Iif = "r1";
        _lab.Born().Route(Main, "0.0.0.0/0", 9).Route(100, "0.0.0.0/0", 5).Add(rule);
        Assert.Equal("way 9", _lab.Ask("10.9.0.1"));
        Assert.Equal("way 5", _lab.Ask(Packet("10.9.0.1", port: 1)));
        _lab.Tables.State.Apply(new Wire.InterfaceBatch { Updates = { new Wire.InterfaceBatch.Types.Update { Delete = new Wire.InterfaceKey { Ifindex = Tables.R1 } } } });
        Assert.True(_lab.List4.IsDefault);
        _lab.Tables.Interface(Tables.R1, "r1");
        Assert.Equal("way 5", _lab.Ask(Packet("10.9.0.1", port: 1)));
        rule.Iif = "lo"; // of packets that start here
        Assert.Equal("way 9", _lab.Add(rule).Ask(Packet("10.9.0.1", port: 0)));
    }

    [Fact]
    public void TosComparesThreeBitsAndDscpAllSix()
    {
        Wire.Rule tos = Lookup(1000, 100), dscp = Lookup(1001, 101), impossible = Act(900, Blackhole);
        tos.Tos = 0x10;
        dscp.Dscp = 0x2e;
        impossible.Tos = 0x30; // the upper bits are masked out of the packet before the comparison
        _lab.Born().Route(Main, "0.0.0.0/0", 9).Route(100, "0.0.0.0/0", 5).Route(101, "0.0.0.0/0", 6).Add(tos).Add(dscp).Add(impossible);
        Assert.Equal("way 5", _lab.Ask(Packet("10.9.0.1", tos: 0x10)));
        Assert.Equal("way 5", _lab.Ask(Packet("10.9.0.1", tos: 0xf3)));
        Assert.Equal("way 6", _lab.Ask(Packet("10.9.0.1", tos: 0xb9)));
        Assert.Equal("way 9", _lab.Ask(Packet("10.9.0.1", tos: 0x38)));
        dscp = Lookup(1002, 101);
        dscp.Dscp = 8;
        dscp.DscpMask = 8;
        Assert.Equal("way 6", _lab.Add(dscp).Ask(Packet("10.9.0.1", tos: 0x38)));
    }

    [Fact]
    public void ProtocolAndPorts()
    {
        Wire.Rule rule = Lookup(1000, 100);
        rule.IpProtocol = 17;
        rule.SourcePorts = new Wire.RulePorts { First = 1000, Last = 1000 };
        rule.DestinationPorts = new Wire.RulePorts { First = 2000, Last = 2010 };
        _lab.Born().Route(Main, "0.0.0.0/0", 9).Route(100, "0.0.0.0/0", 5).Add(rule);
        Assert.True(_lab.List4.NeedsTransport);
        Assert.Equal("way 5", _lab.Ask(Packet("10.9.0.1")));
        Assert.Equal("way 5", _lab.Ask(Packet("10.9.0.1", dport: 2010)));
        Assert.Equal("way 9", _lab.Ask(Packet("10.9.0.1", dport: 2011)));
        Assert.Equal("way 9", _lab.Ask(Packet("10.9.0.1", sport: 999)));
        Assert.Equal("way 9", _lab.Ask(Packet("10.9.0.1", protocol: 6)));
        Wire.Rule masked = Lookup(1001, 100);
        masked.DestinationPorts = new Wire.RulePorts { First = 0x100, Last = 0x100, Mask = 0xff00 };
        _lab.Add(masked);
        Assert.Equal("way 5", _lab.Ask(Packet("10.9.0.1", protocol: 6, dport: 0x1ff)));
        Assert.Equal("way 9", _lab.Ask(Packet("10.9.0.1", protocol: 6, dport: 0x200)));
    }

    [Fact]
    public void WhatForwardedPacketsNeverHaveMatchesNone()
    {
        Wire.Rule mark = Act(100, Blackhole), oif = Act(101, Blackhole), tunnel = Act(102, Blackhole), user = Act(103, Blackhole), l3mdev = Lookup(104, 0);
        (mark.Fwmark, mark.Fwmask) = (0x11, 0x10);
        oif.Oif = "r1";
        tunnel.TunnelId = 5;
        (user.UidFirst, user.UidLast) = (1, 1000);
        l3mdev.L3Mdev = true;
        _lab.Born().Route(Main, "0.0.0.0/0", 9).Add(mark).Add(oif).Add(tunnel).Add(user).Add(l3mdev);
        Assert.True(_lab.List4.IsDefault);
        Wire.Rule masked = Act(99, Blackhole), root = Act(98, Prohibit);
        (masked.Fwmark, masked.Fwmask) = (0x11, 0x100); // no bit of it counts
        Assert.Equal("punt blackhole", _lab.Add(masked).Ask("10.9.0.1"));
        (root.UidFirst, root.UidLast) = (0, 0);
        Assert.Equal("punt prohibit", _lab.Add(root).Ask("10.9.0.1"));
    }

    [Fact]
    public void WhatIsNotUnderstoodIsLinuxsWhereItCouldApply()
    {
        Wire.Rule rule = Lookup(1000, 100);
        rule.Destination = Tables.Bytes("10.8.0.0");
        rule.DestinationLength = 16;
        rule.Unknown = 77;
        _lab.Born().Route(Main, "0.0.0.0/0", 9).Add(rule);
        Assert.Equal("way 9", _lab.Ask("10.9.0.1"));
        Assert.Equal("punt rule-unsupported", _lab.Ask("10.8.0.1"));
        DemotionRecord gap = Gap();
        Assert.Equal(("ip rule 1000", Families.Ipv4), (gap.Object.ToString(), gap.Families));
        Assert.Contains("77", gap.Reason.ToString(), StringComparison.Ordinal);
        Assert.Equal(Families.None, _lab.Tables.Vrf->PassAll);
        _lab.Delete(rule);
        Assert.Empty(_lab.Tables.State.Demotions.All());

        // Inverted: whatever fails the selectors that are understood is surely matched.
        rule.Invert = true;
        _lab.Route(100, "0.0.0.0/0", 5).Add(rule);
        Assert.Equal("way 5", _lab.Ask("10.9.0.1"));
        Assert.Equal("punt rule-unsupported", _lab.Ask("10.8.0.1"));
        _lab.Add(Act(500, 5));
        Assert.Equal("punt rule-unsupported", _lab.Ask("10.9.0.1"));
    }

    [Fact]
    public void ManyRulesThatAreNotUnderstoodAreListedAsOne()
    {
        _lab.Born();
        for (uint p = 100; p < 400; p++)
        {
            Wire.Rule rule = Act(p, Blackhole);
            (rule.Unknown, rule.Fwmark) = (77, 0);
            _lab.Add(rule);
        }

        Assert.Equal(17, _lab.Tables.State.Demotions.All().Count());
        Assert.Equal(Families.None, _lab.Tables.Vrf->PassAll);
    }

    [Fact]
    public void TableDefaultIsAskedLast()
    {
        _lab.Born().Route(Main, "10.9.0.0/16", 9).Route(Default, "0.0.0.0/0", 5).Route(Default, "10.9.1.0/24", 6).Special(Main, "10.8.0.0/16", 6);
        Assert.Equal("way 9", _lab.Ask("10.9.1.1"));
        Assert.Equal("way 5", _lab.Ask("10.7.0.1"));
        Assert.Equal("punt blackhole", _lab.Ask("10.8.0.1"));
        Assert.Empty(_lab.Tables.State.Demotions.All());
        _lab.Tables.NoRoute(Tables.Key("0.0.0.0/0", table: Default)).NoRoute(Tables.Key("10.9.1.0/24", table: Default));
        Assert.True(_lab.List4.IsDefault);
    }

    [Fact]
    public void AShortPrefixInLocalHidesWhatMainHasBelowIt()
    {
        _lab.Born().Route(Main, "10.9.0.0/16", 9).Route(Main, "10.8.0.0/16", 8);
        _lab.Special(Local, "10.9.0.0/12", 2);
        Assert.Equal("punt local", _lab.Ask("10.9.0.1"));
        Assert.Equal("punt local", _lab.Ask("10.8.0.1"));
        _lab.Route(Main, "10.9.5.0/24", 7);
        Assert.Equal("punt local", _lab.Ask("10.9.5.1"));
        _lab.Tables.NoRoute(Tables.Key("10.0.0.0/12", table: Local));
        Assert.Equal("way 9", _lab.Ask("10.9.0.1"));
        Assert.Equal("way 7", _lab.Ask("10.9.5.1"));
    }

    [Fact]
    public void SamePriorityKeepsTheKernelsOrder()
    {
        _lab.Born().Route(100, "0.0.0.0/0", 5).Route(101, "0.0.0.0/0", 6).Add(Lookup(1000, 101)).Add(Lookup(1000, 100));
        Assert.Equal("way 6", _lab.Ask("10.9.0.1"));
        _lab.Delete(Lookup(1000, 101)).Add(Lookup(1000, 101));
        Assert.Equal("way 5", _lab.Ask("10.9.0.1"));
    }

    [Fact]
    public void ASynchronizationSweepsWhatIsNotRenewed()
    {
        _lab.Born().Route(100, "0.0.0.0/0", 5).Route(Main, "0.0.0.0/0", 9).Add(Lookup(1000, 100));
        _lab.Tables.Sync(5, () => _lab.Born(), Wire.ObjectKind.Rule);
        Assert.Equal("way 9", _lab.Ask("10.9.0.1"));
        Assert.True(_lab.List4.IsDefault);
    }

    [Fact]
    public void ARestartGoesOnWithTheSameRules()
    {
        _lab.Born().Route(100, "10.8.0.0/16", 5).Route(Main, "0.0.0.0/0", 9).Add(Lookup(1000, 100));
        ulong before = _lab.Tables.Vrf->Rules4;
        RuleLab restarted = new(new SharedMemoryOf(_lab.Tables.Segments));
        Assert.Equal(before, _lab.Tables.Vrf->Rules4);
        Assert.Equal(("way 5", "way 9"), (restarted.Ask("10.8.0.1"), restarted.Ask("10.9.0.1")));
        restarted.Route(100, "10.9.0.0/16", 6);
        Assert.Equal("way 6", restarted.Ask("10.9.0.1"));
    }

    [Fact]
    public void RootsAndRunsAreReusedAfterAGracePeriod()
    {
        _lab.Born().Route(Main, "0.0.0.0/0", 9);
        for (uint table = 1000; table < 4000; table++)
        {
            _lab.Route(table, "10.8.0.0/16", 5).Add(Lookup(1000, table));
            Assert.Equal("way 5", _lab.Ask("10.8.0.1"));
            _lab.Delete(Lookup(1000, table));
            _lab.Tables.State.Tick();
        }

        Assert.True(_lab.List4.IsDefault);
    }

    [Fact]
    public void WithoutRoomForALookupItsPacketsAreLinuxs()
    {
        _lab.Born().Route(Main, "0.0.0.0/0", 9);
        for (uint table = 1000; table < 1000 + FibTrieSegment.Roots; table++)
        {
            _lab.Route(table, "10.8.0.0/16", 5);
        }

        _lab.Add(Enumerable.Range(1000, FibTrieSegment.Roots).Select(From));
        Assert.Equal("way 5", _lab.Ask(Packet("10.8.0.1", from: "11.0.3.232"))); // table 1000
        Assert.Equal("punt table-full", _lab.Ask(Packet("10.8.0.1", from: "11.0.7.231"))); // the last one
        Assert.NotEmpty(_lab.Tables.State.Demotions.All());

        static Wire.Rule From(int table)
        {
            Wire.Rule rule = Lookup(1000, (uint)table);
            rule.Source = Tables.Bytes($"11.0.{table >> 8}.{table & 255}");
            rule.SourceLength = 32;
            return rule;
        }
    }

    private DemotionRecord Gap() => Assert.Single(_lab.Tables.State.Demotions.All(), d => d.Effect == DemotionEffect.Partial);
}
