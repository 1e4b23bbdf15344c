using FastPathSync.Packets;
using FastPathSync.SharedMemory.Tables;
using static FastPathSync.Packets.Building.Packet;

namespace FastPathSync.FastPath.Tests.Nodes;

public sealed unsafe class Ipv6InputNodeTests : IDisposable
{
    private readonly LabRouter _router = new();

    public void Dispose() => _router.Dispose();

    [Fact]
    public void SoundPacketGoesOn() => _router.AssertForwards(Ether().Ipv6().Udp().Payload(20).Build(), port: 1);

    [Theory]
    [InlineData(0)]
    [InlineData(4)]
    [InlineData(5)]
    [InlineData(7)]
    [InlineData(15)]
    public void OtherVersionLeavesByHeaderError(int version) =>
        _router.AssertPunts(PuntReason.HeaderError, Ether().Ipv6(version: version).Udp().Build());

    [Fact]
    public void Ipv4UnderTheTypeOfIpv6LeavesByHeaderError() =>
        _router.AssertPunts(PuntReason.HeaderError, Ether(type: EtherType.Ipv6).Ipv4().Udp().Payload(40).Build());

    [Theory]
    [InlineData(1)]
    [InlineData(8)]
    [InlineData(60000)]
    public void PayloadLongerThanTheFrameLeavesByTruncated(int more) =>
        _router.AssertPunts(PuntReason.Truncated, Ether().Ipv6(payloadLength: 8 + more).Udp().Build());

    [Fact]
    public void EmptyPayloadIsSound()
    {
        Outcome o = _router.Run(Ether().Ipv6(nextHeader: IpProtocol.NoNextHeader).Build());
        Assert.Equal((Verdict.Forward, 54), (o.Verdict, o.Bytes.Length));
    }

    [Theory]
    [InlineData("::1")]
    [InlineData("::")]
    [InlineData("ff02::1")]
    [InlineData("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")]
    public void ImpossibleSourceLeavesByMartianSource(string source) =>
        _router.AssertPunts(PuntReason.MartianSource, Ether().Ipv6(source: source).Udp().Build());

    [Theory]
    [InlineData("::2")]
    [InlineData("::1:0:0:1")]
    [InlineData("::ffff:10.0.0.1")]
    [InlineData("64:ff9b::1")]
    [InlineData("fe7f:ffff::1")]
    [InlineData("fec0::1")]
    [InlineData("2001:db8::254")] // an address of the router itself: Linux forwards it
    public void SourceThatMerelyLooksSpecialGoesOn(string source) =>
        _router.AssertForwards(Ether().Ipv6(source: source).Udp().Build(), port: 1);

    [Theory]
    [InlineData("::1")]
    [InlineData("::")]
    public void ImpossibleDestinationLeavesByMartianDestination(string destination) =>
        _router.AssertPunts(PuntReason.MartianDestination, Ether().Ipv6(destination: destination).Udp().Build());

    [Theory]
    [InlineData("ff00::")]
    [InlineData("ff02::2")]
    [InlineData("ff0e::1")]
    public void MulticastDestinationLeavesByMulticast(string destination) =>
        _router.AssertPunts(PuntReason.Multicast, Ether().Ipv6(destination: destination).Udp().Build());

    [Theory]
    [InlineData("fe80::1", "2001:db8:1::1")]
    [InlineData("2001:db8::1", "fe80::1")]
    [InlineData("febf:ffff::1", "2001:db8:1::1")]
    public void LinkLocalAddressLeavesByLinkLocal(string source, string destination) =>
        _router.AssertPunts(PuntReason.LinkLocal, Ether().Ipv6(source, destination).Udp().Build());

    [Fact]
    public void SiteLocalAddressesAreOrdinary() => _router.AssertForwards(Ether().Ipv6("fec0::1", "fec0::2").Udp().Build(), port: 1);

    [Fact]
    public void HopByHopOptionsLeaveByExtensionHeader() =>
        _router.AssertPunts(PuntReason.ExtensionHeader, Ether().Ipv6().Extension(IpProtocol.HopByHop).Udp().Build());

    [Fact]
    public void JumbogramLeavesByExtensionHeader() =>
        _router.AssertPunts(PuntReason.ExtensionHeader, Ether().Ipv6(payloadLength: 0).Extension(IpProtocol.HopByHop, [0xc2, 4, 0, 1, 0, 0]).Udp().Build());

    [Theory]
    [InlineData(IpProtocol.DestinationOptions)]
    [InlineData(IpProtocol.Routing)]
    [InlineData(IpProtocol.Fragment)]
    [InlineData(IpProtocol.Ah)]
    [InlineData(IpProtocol.Esp)]
    [InlineData(135)]
    [InlineData(200)]
    public void OtherExtensionHeadersAreNoneOfARoutersBusiness(int type) =>
        _router.AssertForwards(Ether().Ipv6().Extension(type).Udp().Build(), port: 1);

    [Fact]
    public void HopByHopBehindAnotherHeaderIsNotLookedAt() =>
        _router.AssertForwards(Ether().Ipv6().Extension(IpProtocol.DestinationOptions).Extension(IpProtocol.HopByHop).Udp().Build(), port: 1);

    [Fact]
    public void ScopeIsAskedBeforeLengthAndLengthBeforeOptions()
    {
        _router.AssertPunts(PuntReason.Multicast, Ether().Ipv6(destination: "ff02::1", payloadLength: 100).Udp().Build());
        _router.AssertPunts(PuntReason.Truncated, Ether().Ipv6(payloadLength: 100).Extension(IpProtocol.HopByHop).Build());
    }
}
