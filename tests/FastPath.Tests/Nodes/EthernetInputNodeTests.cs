using FastPathSync.Packets;
using FastPathSync.SharedMemory.Tables;
using static FastPathSync.Packets.Building.Packet;

namespace FastPathSync.FastPath.Tests.Nodes;

public sealed unsafe class EthernetInputNodeTests : IDisposable
{
    private readonly LabRouter _router = new();

    public void Dispose() => _router.Dispose();

    [Theory]
    [InlineData(EtherType.Arp)]
    [InlineData(EtherType.Vlan)]
    [InlineData(0x0801)]
    [InlineData(0x0900)]
    [InlineData(46)]
    public void OtherEtherTypeLeavesByNotIp(int type) =>
        _router.AssertPunts(PuntReason.NotIp, Ether(type: type).Ipv4().Udp().Build());

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(13)]
    public void NoWholeEthernetHeaderLeavesByTruncated(int length) =>
        _router.AssertPunts(PuntReason.Truncated, Ether().Ipv4().Udp().Build()[..length]);

    [Theory]
    [InlineData(14)]
    [InlineData(33)]
    public void NoWholeIpv4HeaderLeavesByTruncated(int length) =>
        _router.AssertPunts(PuntReason.Truncated, Ether().Ipv4().Udp().Build()[..length]);

    [Theory]
    [InlineData(14)]
    [InlineData(34)]
    [InlineData(53)]
    public void NoWholeIpv6HeaderLeavesByTruncated(int length) =>
        _router.AssertPunts(PuntReason.Truncated, Ether().Ipv6().Udp().Build()[..length]);

    [Fact]
    public void TaggedFrameLeavesByNotIp() =>
        _router.AssertPunts(PuntReason.NotIp, Ether(type: EtherType.Vlan).Payload([0, 5, 0x86, 0xdd]).Ipv6().Udp().Build());

    [Fact]
    public void ShortFrameOfOtherEtherTypeLeavesByNotIp() =>
        _router.AssertPunts(PuntReason.NotIp, Ether(type: EtherType.Arp).Build());

    [Fact]
    public void CountsPacketsAndBytesOfTheIngressPort()
    {
        _router.Run([Ether().Ipv4().Udp().Build(), new byte[3], Ether().Ipv4().Udp().PadTo(100).Build()], rxPort: 2);
        Assert.Equal((3ul, 42ul + 3 + 100), (_router.Tables.Counters[2].Rx, _router.Tables.Counters[2].RxBytes));
        Assert.Equal((0ul, 0ul), (_router.Tables.Counters[0].Rx, _router.Tables.Counters[2].Tx));
    }

    [Fact]
    public void EmptyVectorPasses() => Assert.Empty(_router.Run(Array.Empty<byte[]>()));

    [Fact]
    public void BadPacketDisturbsNoneBesideIt()
    {
        byte[] good = Ether().Ipv4(destination: "10.1.0.1").Udp().Build(), good6 = Ether().Ipv6(destination: "2001:db8:1::1").Udp().Build();
        byte[][] bad =
        [
            [], good[..20], good6[..50], Ether(type: EtherType.Arp).PadTo(60).Build(), Ether().Ipv4(checksum: 1).Udp().Build(),
            Ether().Ipv4(destination: "11.0.0.1").Udp().Build(), Ether().Ipv4(ttl: 1).Udp().Build(), Ether().Ipv6(destination: "3ffe::1").Udp().Build(),
            Ether().Ipv6(hopLimit: 1).Udp().Build(), Ether().Ipv6(source: "fe80::1").Udp().Build(),
        ];
        Outcome alone = _router.Run(good), alone6 = _router.Run(good6);
        Assert.Equal((Verdict.Forward, Verdict.Forward), (alone.Verdict, alone6.Verdict));
        for (int at = 0; at < PacketVector.Size; at++)
        {
            for (int mix = 0; mix < 3; mix++)
            {
                bool[] six = [.. Enumerable.Range(0, PacketVector.Size).Select(i => mix == 1 || (mix == 2 && i * 7 % 5 < 2))];
                Outcome[] o = _router.Run([.. six.Select((s, i) => i == at ? bad[at % bad.Length] : s ? good6 : good)]);
                for (int i = 0; i < o.Length; i++)
                {
                    Assert.True(
                        i == at ? o[i].Verdict == Verdict.Punt : o[i].Same(six[i] ? alone6 : alone), $"packet {i} of a burst whose packet {at} is bad: {o[i]}");
                }
            }
        }
    }
}
