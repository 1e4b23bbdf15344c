using FastPathSync.SharedMemory.Tables;
using static FastPathSync.Packets.Building.Packet;

namespace FastPathSync.FastPath.Tests.Nodes;

/// <summary>rp_filter; what of the source is checked without it: Ipv4InputNodeTests.</summary>
public sealed unsafe class Ipv4SourceCheckTests : IDisposable
{
    private const byte Strict = 1, Loose = 2;
    private readonly LabRouter _router = new();

    public void Dispose() => _router.Dispose();

    [Theory]
    [InlineData("10.0.0.1", 0)]  // on-link
    [InlineData("10.0.0.77", 0)] // on-link, and its neighbour isn't known
    [InlineData("10.0.9.1", 0)]  // through a gateway
    [InlineData("10.1.0.1", 1)]
    [InlineData("10.2.0.1", 1)]  // multipath: either of its ports
    [InlineData("10.2.0.1", 2)]
    public void StrictLetsInWhatGoesBackByTheSamePort(string source, int rxPort)
    {
        Filter(rxPort, Strict);
        Assert.Equal(Verdict.Forward, _router.Run(From(source, rxPort), rxPort).Verdict);
    }

    [Theory]
    [InlineData("10.1.0.1", 0)]
    [InlineData("10.2.0.1", 0)]
    [InlineData("10.0.0.1", 1)]
    [InlineData("11.0.0.1", 0)] // no route
    [InlineData("10.4.0.1", 0)] // unreachable
    [InlineData("10.1.2.130", 0)] // blackhole
    public void StrictRefusesWhatGoesBackAnotherWayOrNowhere(string source, int rxPort)
    {
        Filter(rxPort, Strict);
        _router.AssertPunts(PuntReason.ReversePath, From(source, rxPort), rxPort);
        Filter(rxPort, 0);
        Assert.Equal(Verdict.Forward, _router.Run(From(source, rxPort), rxPort).Verdict);
    }

    [Theory]
    [InlineData("10.1.0.1", true)]
    [InlineData("10.5.0.1", true)] // a group of which no member is up
    [InlineData("11.0.0.1", false)]
    [InlineData("10.4.0.1", false)]
    [InlineData("10.1.2.130", false)]
    public void LooseAsksForAnyRoute(string source, bool forwarded)
    {
        Filter(0, Loose);
        Outcome o = _router.Run(From(source));
        Assert.Equal(forwarded ? null : PuntReason.ReversePath, o.Reason);
    }

    [Fact]
    public void DefaultRouteIsAWayBack()
    {
        Filter(0, Strict);
        _router.Route("0.0.0.0", 0, _router.Lab.AddNexthop(NexthopWord.Forward(_router.C, 1500)));
        _router.AssertForwards(From("11.0.0.1"), port: 1);
        Filter(2, Strict);
        _router.AssertPunts(PuntReason.ReversePath, From("11.0.0.1"), rxPort: 2);
    }

    [Fact]
    public void OwnAndBroadcastSourcesAreMartiansStill()
    {
        Filter(0, Loose);
        _router.AssertPunts(PuntReason.MartianSource, From("10.3.0.254"));
        _router.AssertPunts(PuntReason.MartianSource, From("10.3.0.255"));
    }

    [Theory]
    [InlineData(PuntReason.NoNeighbour)]
    [InlineData(PuntReason.EgressNotAPort)]
    [InlineData(PuntReason.Demoted)]
    public void WayBackThatPuntsIsOneByItsInterface(PuntReason reason)
    {
        _router.Route("10.30.0.0", 16, _router.Lab.AddNexthop(NexthopWord.Punt(reason, LabTables.IfIndexOf(0))));
        Filter(0, Strict);
        Filter(2, Strict);
        _router.AssertForwards(From("10.30.0.1"), port: 1);
        _router.AssertPunts(PuntReason.ReversePath, From("10.30.0.1"), rxPort: 2);
    }

    [Theory]
    [InlineData(PuntReason.LinkDown)]
    [InlineData(PuntReason.RouteUnsupported)]
    [InlineData(PuntReason.TableFull)]
    public void WhatCannotBeToldIsLinuxs(PuntReason reason)
    {
        _router.Route("10.31.0.0", 16, _router.Lab.AddNexthop(NexthopWord.Punt(reason, LabTables.IfIndexOf(0))));
        Filter(0, Loose);
        _router.AssertPunts(reason, From("10.31.0.1"));
    }

    [Fact]
    public void ResilientGroupIsAWayBackByAnyBucket()
    {
        uint a = _router.Lab.AddNexthop(NexthopWord.Forward(_router.A, 1500)), b = _router.Lab.AddNexthop(NexthopWord.Forward(_router.B, 1500));
        _router.Route("10.32.0.0", 16, _router.Lab.AddResilientGroup(a, a, b));
        Filter(0, Strict);
        Filter(2, Strict);
        Assert.Equal(Verdict.Forward, _router.Run(From("10.32.0.1"), 2).Verdict);
        _router.AssertPunts(PuntReason.ReversePath, From("10.32.0.1"));
    }

    [Theory]
    [InlineData("10.0.0.1", 0, true)]
    [InlineData("10.1.0.1", 1, true)]
    [InlineData("10.1.0.1", 0, false)]
    [InlineData("11.0.0.1", 0, false)]
    public void WithRulesStrictAsksThemForTheWayBack(string source, int rxPort, bool forwarded)
    {
        Rules(Lookup());
        Filter(rxPort, Strict);
        Assert.Equal(forwarded ? null : PuntReason.ReversePath, _router.Run(From(source, rxPort), rxPort).Reason);
    }

    /// <summary>The way back comes in where the packet goes out, and from where it goes to.</summary>
    [Theory]
    [InlineData(1, PuntReason.ReversePath)]
    [InlineData(2, null)]
    public void WayBackIsThatOfAPacketFromTheWayOut(int port, PuntReason? reason)
    {
        Rules(Lookup() with { InputPort = (ushort)port, Action = RuleAction.Punt, Reason = PuntReason.Unreachable }, Lookup());
        Filter(0, Loose);
        Assert.Equal(reason, _router.Run(From("10.0.0.1")).Reason); // goes out by port 1
        Filter(0, 0);
        Assert.Null(_router.Run(From("10.0.0.1")).Reason);
    }

    [Fact]
    public void RuleThatIsNotUnderstoodLeavesTheWayBackToLinux()
    {
        Rules(Lookup() with { InputPort = 1, Action = RuleAction.Punt, Flags = CompiledRuleFlags.Unknown }, Lookup());
        Filter(0, Strict);
        _router.AssertPunts(PuntReason.RuleUnsupported, From("10.0.0.1"));
    }

    [Fact]
    public void BroadcastSourceThatIsSuspectedIsLinuxsWithoutAFilterToo()
    {
        Assert.Null(_router.Run(From("10.3.0.255")).Reason);
        _router.Tables.LocalAddresses.Set(IpAddress.FromV4(LabTables.Ip("10.3.0.255")));
        _router.AssertPunts(PuntReason.MartianSource, From("10.3.0.255"));
    }

    /// <summary>Of an interface that is down: there is no local route, and only without a full check that makes it a martian.</summary>
    [Fact]
    public void OwnSourceIsLinuxsWhileRulesStandForALocalPrefixOnly()
    {
        _router.Lab.AddAddress(LabTables.Ip("10.1.0.7"));
        Rules(Lookup());
        _router.AssertPunts(PuntReason.MartianSource, From("10.1.0.7"));
        _router.Tables.Vrf->CheckSource = 1;
        Assert.Null(_router.Run(From("10.1.0.7")).Reason);
    }

    private static CompiledRule Lookup() => new()
    {
        SourcePortLast = ushort.MaxValue,
        DestinationPortLast = ushort.MaxValue,
        InputPort = CompiledRule.AnyPort,
        SuppressDepth = -1,
        Action = RuleAction.LookupMerged,
    };

    private void Rules(params ReadOnlySpan<CompiledRule> rules)
    {
        for (int i = 0; i < rules.Length; i++)
        {
            _router.Lab.Rules[i] = rules[i];
        }

        _router.Tables.Vrf->Rules4 = RuleList.Of(0, rules.Length, needsTransport: false).Value;
    }

    private void Filter(int port, byte filter) => _router.Tables.Vrf->RpFilter[port] = filter;

    /// <summary>To a destination behind another port.</summary>
    private static byte[] From(string source, int rxPort = 0) => Ether().Ipv4(source, rxPort == 1 ? "10.1.2.1" : "10.1.9.9").Udp().Build();
}
