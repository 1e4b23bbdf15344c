using static FastPathSync.Packets.Building.Packet;

namespace FastPathSync.FastPath.Tests.Nodes;

public sealed unsafe class InterfaceOutputNodeTests : IDisposable
{
    private readonly LabRouter _router = new();

    public void Dispose() => _router.Dispose();

    [Fact]
    public void AdjacencyGivesPortAndAddresses()
    {
        Outcome o = _router.Run(Ether().Ipv4(destination: "10.1.2.1").Udp().Payload(10).Build());
        Assert.Equal(2, o.TxPort);
        Assert.Equal(Ether(LabRouter.MacB, "02:00:00:00:01:02").Ipv4(destination: "10.1.2.1", ttl: 63).Udp().Payload(10).Build(), o.Bytes);
    }

    [Fact]
    public void AdjacencyServesBothFamilies() => Assert.Equal(
        Ether(LabRouter.MacB, "02:00:00:00:01:02").Ipv6(destination: "2001:db8:1:2::1", hopLimit: 63).Udp().Payload(10).Build(),
        _router.Run(Ether().Ipv6(destination: "2001:db8:1:2::1").Udp().Payload(10).Build()).Bytes);

    [Fact]
    public void PaddingIsCut()
    {
        Assert.Equal(42, _router.Run(Ether().Ipv4().Udp().PadTo(60).Build()).Bytes.Length);
        Assert.Equal(62, _router.Run(Ether().Ipv6().Udp().PadTo(100).Build()).Bytes.Length);
    }

    [Fact]
    public void NeighbourIsStampedWithTheSecond()
    {
        *_router.Tables.CoarseSecond = 1234;
        _router.Run(Ether().Ipv4(destination: "10.1.0.1").Udp().Build());
        Assert.Equal((1234u, 0u), (_router.Tables.UseStamps[_router.A], _router.Tables.UseStamps[_router.B]));
        *_router.Tables.CoarseSecond = 1235;
        _router.Run(Ether().Ipv4(destination: "10.1.0.1").Udp().Build());
        Assert.Equal(1235u, _router.Tables.UseStamps[_router.A]);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(64)]
    public void PuntedPacketStampsNobody(int ttl)
    {
        _router.Run(Ether().Ipv4(destination: ttl == 1 ? "10.1.0.1" : "10.3.0.77", ttl: ttl).Udp().Build());
        Assert.Equal(0u, _router.Tables.UseStamps[_router.A]);
    }
}
