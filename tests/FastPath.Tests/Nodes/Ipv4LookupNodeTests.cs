using FastPathSync.SharedMemory.Tables;
using static FastPathSync.Packets.Building.Packet;

namespace FastPathSync.FastPath.Tests.Nodes;

public sealed unsafe class Ipv4LookupNodeTests : IDisposable
{
    private readonly LabRouter _router = new();

    public void Dispose() => _router.Dispose();

    [Theory]
    [InlineData("10.1.0.1", 1)]
    [InlineData("10.1.255.255", 1)]
    [InlineData("10.1.2.1", 2)]
    [InlineData("10.1.2.127", 2)]
    [InlineData("10.1.2.200", 1)]
    public void LongestPrefixWins(string destination, int port) => _router.AssertForwards(To(destination), port);

    [Theory]
    [InlineData("11.0.0.1", PuntReason.NoRoute)]
    [InlineData("10.1.2.128", PuntReason.Blackhole)]
    [InlineData("10.1.2.201", PuntReason.Blackhole)]
    [InlineData("10.4.1.1", PuntReason.Unreachable)]
    [InlineData("10.0.0.254", PuntReason.Local)]
    [InlineData("10.3.0.254", PuntReason.Local)]
    [InlineData("10.3.0.255", PuntReason.Broadcast)]
    [InlineData("10.5.0.1", PuntReason.LinkDown)]
    public void WordThatSaysPuntLeavesByItsReason(string destination, PuntReason reason) => _router.AssertPunts(reason, To(destination));

    [Fact]
    public void NexthopZeroIsTheDefaultRoute()
    {
        _router.Route("0.0.0.0", 0, _router.Lab.AddNexthop(NexthopWord.Forward(_router.B, 1500)));
        _router.AssertForwards(To("11.0.0.1"), port: 2);
    }

    [Fact]
    public void OnLinkDestinationGoesByItsNeighbour()
    {
        Outcome o = _router.Run(To("10.3.0.5"));
        Assert.Equal((Verdict.Forward, 1), (o.Verdict, o.TxPort));
        Assert.StartsWith("02AA00000001", Convert.ToHexString(o.Bytes), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("10.3.0.7")]
    [InlineData("10.3.0.6")] // known, but on another interface
    public void OnLinkDestinationWithoutNeighbourLeavesByNoNeighbour(string destination) =>
        _router.AssertPunts(PuntReason.NoNeighbour, To(destination));

    [Fact]
    public void FlowsSpreadOverTheMembersOfAGroupByTheirBounds()
    {
        uint a = _router.Lab.AddNexthop(NexthopWord.Forward(_router.A, 1500)), b = _router.Lab.AddNexthop(NexthopWord.Forward(_router.B, 1500));
        _router.Route("10.20.0.0", 16, _router.Lab.AddGroup((0x3fff_ffffu, a), (uint.MaxValue, b)));
        int viaA = 0;
        for (int i = 0; i < 4000; i++)
        {
            viaA += _router.Run(To($"10.20.{i >> 8}.{i & 255}")).TxPort == 1 ? 1 : 0;
        }

        // A quarter of 4,000: standard deviation 27.
        Assert.InRange(viaA, 1000 - 150, 1000 + 150);
    }

    [Fact]
    public void BothAddressesTellFlowsApart()
    {
        Assert.Equal(2, Enumerable.Range(1, 64).Select(i => _router.Run(To("10.2.0.1", $"30.0.0.{i}")).TxPort).Distinct().Count());
        Assert.Equal(2, Enumerable.Range(1, 64).Select(i => _router.Run(To($"10.2.0.{i}", "30.0.0.1")).TxPort).Distinct().Count());
    }

    [Fact]
    public void PortsAndFragmentsOfAFlowGoOneWay()
    {
        int? way = _router.Run(To("10.2.0.1")).TxPort;
        for (int i = 0; i < 64; i++)
        {
            Assert.Equal(way, _router.Run(Ether().Ipv4(destination: "10.2.0.1", id: i, tos: i).Udp(1000 + i, 2000 + i).Build()).TxPort);
            Assert.Equal(way, _router.Run(Ether().Ipv4(destination: "10.2.0.1", flagsAndOffset: i + 1).Payload(8).Build()).TxPort);
        }
    }

    [Fact]
    public void MemberOfAGroupMayBeOnLink()
    {
        _router.AssertForwards(To("10.6.0.1"), port: 1);
        _router.AssertPunts(PuntReason.NoNeighbour, To("10.6.0.2"));
    }

    [Fact]
    public void GroupWithoutMembersLeavesByNoRoute()
    {
        _router.Route("10.21.0.0", 16, _router.Lab.AddNexthop(NexthopWord.Group(0, 0)));
        _router.AssertPunts(PuntReason.NoRoute, To("10.21.0.1"));
    }

    [Fact]
    public void AHashBehindAllBoundsGoesToTheFirstMember()
    {
        uint a = _router.Lab.AddNexthop(NexthopWord.Forward(_router.A, 1500)), b = _router.Lab.AddNexthop(NexthopWord.Forward(_router.B, 1500));
        _router.Route("10.22.0.0", 16, _router.Lab.AddGroup((0u, a), (0u, b)));
        _router.Lab.AddGroup((uint.MaxValue, b)); // what stands behind it in the table
        Assert.All(Enumerable.Range(0, 64), i => _router.AssertForwards(To($"10.22.0.{i}"), port: 1));
    }

    [Fact]
    public void GroupInAGroupIsLinuxs()
    {
        uint inner = _router.Lab.AddGroup((uint.MaxValue, _router.Lab.AddNexthop(NexthopWord.Forward(_router.A, 1500))));
        _router.Route("10.23.0.0", 16, _router.Lab.AddGroup((uint.MaxValue, inner)));
        _router.AssertPunts(PuntReason.RouteUnsupported, To("10.23.0.1"));
    }

    [Fact]
    public void ChangedWordTurnsEveryRouteThatLeadsToIt()
    {
        uint n = _router.Lab.AddNexthop(NexthopWord.Forward(_router.A, 1500));
        _router.Route("10.24.0.0", 16, n);
        _router.Route("10.25.0.0", 28, n);
        _router.Tables.Nexthops[n] = NexthopWord.Forward(_router.B, 1500).Value;
        _router.AssertForwards(To("10.24.0.1"), port: 2);
        _router.AssertForwards(To("10.25.0.1"), port: 2);
    }

    private static byte[] To(string destination, string source = "10.0.0.1") => Ether().Ipv4(source, destination).Udp().Build();
}
