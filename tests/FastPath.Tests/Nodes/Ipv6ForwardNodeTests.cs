using FastPathSync.SharedMemory.Tables;
using static FastPathSync.Packets.Building.Packet;

namespace FastPathSync.FastPath.Tests.Nodes;

public sealed unsafe class Ipv6ForwardNodeTests : IDisposable
{
    private readonly LabRouter _router = new();

    public void Dispose() => _router.Dispose();

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    public void LastHopLeavesByTtlExpired(int hopLimit) =>
        _router.AssertPunts(PuntReason.TtlExpired, Ether().Ipv6(hopLimit: hopLimit).Udp().Build());

    [Theory]
    [InlineData(2)]
    [InlineData(64)]
    [InlineData(255)]
    public void HopLimitIsOneLessAndNothingElseChanges(int hopLimit) => Assert.Equal(
        Ether(LabRouter.MacA, "02:00:00:00:01:01").Ipv6(hopLimit: hopLimit - 1, trafficClass: 0xb8, flowLabel: 0x54321).Udp().Payload(9).Build(),
        _router.Run(Ether().Ipv6(hopLimit: hopLimit, trafficClass: 0xb8, flowLabel: 0x54321).Udp().Payload(9).Build()).Bytes);

    [Theory]
    [InlineData("3ffe::1", PuntReason.NoRoute)]
    [InlineData("2001:db8::254", PuntReason.Local)]
    [InlineData("2001:db8:4::1", PuntReason.Unreachable)]
    public void RouteIsAskedBeforeHopLimit(string destination, PuntReason reason) =>
        _router.AssertPunts(reason, Ether().Ipv6(destination: destination, hopLimit: 1).Udp().Build());

    [Theory]
    [InlineData("2001:db8:1::1", 1500)]
    [InlineData("2001:db8:1:2::1", 1280)]
    [InlineData("2001:db8:3::5", 1400)]
    public void LongerThanTheNexthopsMtuLeavesByFragmentationNeeded(string destination, int mtu)
    {
        Outcome fits = _router.Run(Ether().Ipv6(destination: destination).Payload(mtu - 40).Build());
        Assert.Equal((Verdict.Forward, 14 + mtu), (fits.Verdict, fits.Bytes.Length));
        _router.AssertPunts(PuntReason.FragmentationNeeded, Ether().Ipv6(destination: destination).Payload(mtu - 39).Build());
    }

    [Fact]
    public void PaddingDoesNotCountAgainstTheMtu() =>
        _router.AssertForwards(Ether().Ipv6(destination: "2001:db8:1:2::1").Udp().PadTo(1400).Build(), port: 2);

    [Fact]
    public void HopLimitIsAskedBeforeTheWayBackAndThatBeforeTheMtu()
    {
        _router.AssertPunts(PuntReason.TtlExpired, Ether().Ipv6(destination: "2001:db8:9::1", hopLimit: 1).Payload(1600).Build());
        _router.AssertPunts(PuntReason.RedirectNeeded, Ether().Ipv6(destination: "2001:db8:9::1").Payload(1600).Build());
    }

    [Fact]
    public void BackOutTheWayItCameLeavesByRedirectNeeded()
    {
        byte[] p = Ether().Ipv6(destination: "2001:db8:9::1").Udp().Build();
        _router.AssertPunts(PuntReason.RedirectNeeded, p, rxPort: 0);
        _router.AssertForwards(p, port: 0, rxPort: 1);
        _router.Tables.Vrf->SendRedirects[0] = (byte)Families.Ipv4;
        _router.AssertForwards(p, port: 0, rxPort: 0); // Linux would send no redirect
    }
}
