using FastPathSync.SharedMemory.Tables;
using static FastPathSync.Packets.Building.Packet;

namespace FastPathSync.FastPath.Tests.Nodes;

public sealed unsafe class Ipv6LookupNodeTests : IDisposable
{
    private readonly LabRouter _router = new();

    public void Dispose() => _router.Dispose();

    [Theory]
    [InlineData("2001:db8:1::1", 1)]
    [InlineData("2001:db8:1:ffff:ffff:ffff:ffff:ffff", 1)]
    [InlineData("2001:db8:1:2::1", 2)]
    [InlineData("2001:db8:1:2:7fff::1", 2)]
    [InlineData("2001:db8:1:2:c000::5", 1)]
    [InlineData("64:ff9b::808:808", 2)]
    [InlineData("::ffff:10.1.0.1", 1)]
    public void LongestPrefixWins(string destination, int port) => _router.AssertForwards(To(destination), port);

    [Theory]
    [InlineData("3ffe::1", PuntReason.NoRoute)]
    [InlineData("2001:db8:1:2:8000::1", PuntReason.Blackhole)]
    [InlineData("2001:db8:1:2:c000::6", PuntReason.Blackhole)]
    [InlineData("2001:db8:4::1", PuntReason.Unreachable)]
    [InlineData("2001:db8::254", PuntReason.Local)]
    [InlineData("2001:db8:3::", PuntReason.Local)] // subnet-router anycast
    [InlineData("2001:db8:5::1", PuntReason.LinkDown)]
    [InlineData("2001:db8:8::1", PuntReason.SourceRoute)]
    public void WordThatSaysPuntLeavesByItsReason(string destination, PuntReason reason) => _router.AssertPunts(reason, To(destination));

    [Fact]
    public void Ipv4sDefaultRouteIsNotIpv6s()
    {
        _router.Route("0.0.0.0", 0, _router.Lab.AddNexthop(NexthopWord.Forward(_router.B, 1500)));
        _router.AssertPunts(PuntReason.NoRoute, To("3ffe::1"));
        _router.Route("::", 0, _router.Lab.AddNexthop(NexthopWord.Forward(_router.A, 1500)));
        _router.AssertForwards(To("3ffe::1"), port: 1);
    }

    [Fact]
    public void OnLinkDestinationGoesByItsNeighbour()
    {
        Outcome o = _router.Run(To("2001:db8:3::5"));
        Assert.Equal((Verdict.Forward, 1), (o.Verdict, o.TxPort));
        Assert.StartsWith("02AA00000001", Convert.ToHexString(o.Bytes), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("2001:db8:3::7")]
    [InlineData("2001:db8:3::6")] // known, but on another interface
    [InlineData("::ffff:10.3.0.5")] // the IPv4 neighbour of that number is somebody else
    public void OnLinkDestinationWithoutNeighbourLeavesByNoNeighbour(string destination) =>
        _router.AssertPunts(PuntReason.NoNeighbour, To(destination));

    [Fact]
    public void FlowsSpreadOverTheMembersOfAGroupByTheirBounds()
    {
        uint a = _router.Lab.AddNexthop(NexthopWord.Forward(_router.A, 1500)), b = _router.Lab.AddNexthop(NexthopWord.Forward(_router.B, 1500));
        _router.Route("2001:db8:20::", 48, _router.Lab.AddGroup((0x3fff_ffffu, a), (uint.MaxValue, b)));
        int viaA = 0;
        for (int i = 0; i < 4000; i++)
        {
            viaA += _router.Run(To($"2001:db8:20::{i:x}")).TxPort == 1 ? 1 : 0;
        }

        // A quarter of 4,000: standard deviation 27.
        Assert.InRange(viaA, 1000 - 150, 1000 + 150);
    }

    [Fact]
    public void AddressesAndFlowLabelTellFlowsApart()
    {
        Assert.Equal(2, Enumerable.Range(1, 64).Select(i => _router.Run(To("2001:db8:2::1", $"2001:db8:30::{i:x}")).TxPort).Distinct().Count());
        Assert.Equal(2, Enumerable.Range(1, 64).Select(i => _router.Run(To("2001:db8:2::1", $"2001:db8:{i:x}::1")).TxPort).Distinct().Count());
        Assert.Equal(2, Enumerable.Range(1, 64).Select(i => _router.Run(To($"2001:db8:2::{i:x}")).TxPort).Distinct().Count());
        Assert.Equal(2, Enumerable.Range(1, 64).Select(i => _router.Run(Ether().Ipv6(destination: "2001:db8:2::1", flowLabel: i).Udp().Build()).TxPort).Distinct().Count());
    }

    [Fact]
    public void PortsOfAFlowGoOneWay()
    {
        int? way = _router.Run(To("2001:db8:2::1")).TxPort;
        for (int i = 0; i < 64; i++)
        {
            Assert.Equal(way, _router.Run(Ether().Ipv6(destination: "2001:db8:2::1", trafficClass: i).Udp(1000 + i, 2000 + i).Build()).TxPort);
        }
    }

    [Fact]
    public void Policy1TellsFlowsApartByPorts()
    {
        _router.Tables.Vrf->MultipathPolicy6 = 1;
        Assert.Equal(2, Enumerable.Range(1, 64).Select(i => _router.Run(Ether().Ipv6(destination: "2001:db8:2::1").Udp(1000 + i).Build()).TxPort).Distinct().Count());
        Assert.Single(Enumerable.Range(1, 64).Select(i => _router.Run(Ether().Ipv6(destination: "2001:db8:2::1", flowLabel: i).Udp().Build()).TxPort).Distinct());
    }

    [Fact]
    public void FlowsOfAResilientGroupSpreadOverItsBuckets()
    {
        uint a = _router.Lab.AddNexthop(NexthopWord.Forward(_router.A, 1500)), b = _router.Lab.AddNexthop(NexthopWord.Forward(_router.B, 1500));
        _router.Route("2001:db8:20::", 48, _router.Lab.AddResilientGroup(a, b, b, b));
        int viaA = Enumerable.Range(0, 4000).Count(i => _router.Run(To($"2001:db8:20::{i:x}")).TxPort == 1);
        Assert.InRange(viaA, 1000 - 150, 1000 + 150);
    }

    [Fact]
    public void MemberOfAGroupMayBeOnLink()
    {
        _router.AssertForwards(To("2001:db8:6::1"), port: 1);
        _router.AssertPunts(PuntReason.NoNeighbour, To("2001:db8:6::2"));
    }

    [Fact]
    public void PrefixOfTableLocalBeatsALongerOneOfMain()
    {
        uint local = _router.Lab.AddNexthop(NexthopWord.Punt(PuntReason.Local));
        _router.Lab.AddRoute(LabTables.Ip6("2001:db8:1:2::"), 63, local, local: true);
        _router.AssertForwards(To("2001:db8:1:2::1"), port: 2); // nobody has said so
        _router.Tables.Vrf->LocalFirst6 = 1;
        _router.AssertPunts(PuntReason.Local, To("2001:db8:1:2::1"));
        _router.AssertPunts(PuntReason.Local, To("2001:db8:1:2:c000::5"));
        _router.AssertForwards(To("2001:db8:1:4::1"), port: 1);
        _router.AssertPunts(PuntReason.NoRoute, To("3ffe::1"));
    }

    private static byte[] To(string destination, string source = "2001:db8::1") => Ether().Ipv6(source, destination).Udp().Build();
}
