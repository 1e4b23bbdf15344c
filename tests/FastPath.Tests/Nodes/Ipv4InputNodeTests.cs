using FastPathSync.SharedMemory.Tables;
using static FastPathSync.FastPath.Tests.LabTables;
using static FastPathSync.Packets.Building.Packet;

namespace FastPathSync.FastPath.Tests.Nodes;

public sealed unsafe class Ipv4InputNodeTests : IDisposable
{
    private static readonly byte[] s_noOperations = [1, 1, 1, 0];
    private readonly LabRouter _router = new();

    public void Dispose() => _router.Dispose();

    [Fact]
    public void PlainPacketGoesOn() => _router.AssertForwards(Ether().Ipv4().Udp().Build(), port: 1);

    [Fact]
    public void HeaderAloneGoesOn() => _router.AssertForwards(Ether().Ipv4().Build(), port: 1);

    [Theory]
    [InlineData(0)]
    [InlineData(5)]
    [InlineData(6)]
    [InlineData(15)]
    public void OtherVersionLeavesByHeaderError(int version) =>
        _router.AssertPunts(PuntReason.HeaderError, Ether().Ipv4(version: version).Udp().Build());

    [Theory]
    [InlineData(0)]
    [InlineData(4)]
    public void HeaderLengthBelowFiveWordsLeavesByHeaderError(int ihl) =>
        _router.AssertPunts(PuntReason.HeaderError, Ether().Ipv4(ihl: ihl).Udp().Build());

    [Fact]
    public void HeaderLongerThanTheFrameLeavesByTruncated() =>
        _router.AssertPunts(PuntReason.Truncated, Ether().Ipv4(ihl: 15).Udp().Build());

    [Fact]
    public void EveryWrongBitOfTheHeaderLeavesIt()
    {
        byte[] good = Ether().Ipv4(id: 0x1234, tos: 0x10).Udp().Build();
        for (int bit = 14 * 8; bit < 34 * 8; bit++)
        {
            byte[] p = [.. good];
            p[bit / 8] ^= (byte)(1 << (bit % 8));
            Outcome o = _router.Run(p);
            PuntReason expected = bit / 8 == 14 ? o.Reason!.Value : PuntReason.ChecksumError; // version and length come first
            Assert.Equal((Verdict.Punt, expected), (o.Verdict, o.Reason));
        }
    }

    [Fact]
    public void WrongChecksumWithOptionsLeavesByChecksumError() =>
        _router.AssertPunts(PuntReason.ChecksumError, Ether().Ipv4(options: s_noOperations, checksum: 0x1234).Udp().Build());

    [Fact]
    public void TotalLengthBeyondTheFrameLeavesByTruncated()
    {
        _router.AssertPunts(PuntReason.Truncated, Ether().Ipv4(totalLength: 29).Udp().Build());
        _router.AssertPunts(PuntReason.Truncated, Ether().Ipv4(totalLength: 0xffff).Udp().Build());
    }

    [Theory]
    [InlineData(0)]
    [InlineData(19)]
    public void TotalLengthBelowTheHeaderLeavesByHeaderError(int length) =>
        _router.AssertPunts(PuntReason.HeaderError, Ether().Ipv4(totalLength: length).Udp().Build());

    [Fact]
    public void TotalLengthBelowAHeaderWithOptionsLeavesByHeaderError() =>
        _router.AssertPunts(PuntReason.HeaderError, Ether().Ipv4(options: s_noOperations, totalLength: 23).Udp().Build());

    [Fact]
    public void OptionsLeaveByIpOptions() =>
        _router.AssertPunts(PuntReason.IpOptions, Ether().Ipv4(options: s_noOperations).Udp().Build());

    [Theory]
    [InlineData("0.0.0.0")]
    [InlineData("127.0.0.1")]
    [InlineData("127.255.255.255")]
    [InlineData("224.0.0.1")]
    [InlineData("239.255.255.255")]
    [InlineData("255.255.255.255")]
    public void SpecialSourceLeavesByMartianSource(string source) =>
        _router.AssertPunts(PuntReason.MartianSource, Ether().Ipv4(source: source).Udp().Build());

    [Theory]
    [InlineData("0.0.0.0")]
    [InlineData("127.0.0.1")]
    [InlineData("127.255.255.255")]
    public void SpecialDestinationLeavesByMartianDestination(string destination) =>
        _router.AssertPunts(PuntReason.MartianDestination, Ether().Ipv4(destination: destination).Udp().Build());

    [Theory]
    [InlineData("224.0.0.1")]
    [InlineData("239.255.255.255")]
    public void MulticastDestinationLeavesByMulticast(string destination) =>
        _router.AssertPunts(PuntReason.Multicast, Ether().Ipv4(destination: destination).Udp().Build());

    [Fact]
    public void LimitedBroadcastLeavesByBroadcast()
    {
        _router.AssertPunts(PuntReason.Broadcast, Ether().Ipv4(destination: "255.255.255.255").Udp().Build());
        _router.AssertPunts(PuntReason.Broadcast, Ether().Ipv4(source: "0.0.0.0", destination: "255.255.255.255").Udp().Build());
    }

    [Theory]
    [InlineData("0.0.0.1")]
    [InlineData("0.255.0.0")]
    [InlineData("1.0.0.0")]
    [InlineData("126.255.255.255")]
    [InlineData("128.0.0.0")]
    [InlineData("223.255.255.255")]
    [InlineData("240.0.0.0")]
    [InlineData("255.255.255.254")]
    public void UnusualButValidSourceGoesOn(string source) => _router.AssertForwards(Ether().Ipv4(source: source).Udp().Build(), port: 1);

    [Theory]
    [InlineData("0.5.0.1")]
    [InlineData("240.0.0.1")]
    [InlineData("255.255.255.254")]
    public void UnusualButValidDestinationGoesOn(string destination) =>
        _router.AssertForwards(Ether().Ipv4(destination: destination).Udp().Build(), port: 1);

    [Fact]
    public void OurOwnAddressAsSourceLeavesByMartianSource() =>
        _router.AssertPunts(PuntReason.MartianSource, Ether().Ipv4(source: "10.0.0.254").Udp().Build());

    [Fact]
    public void OurOwnAddressOnAnInterfaceThatIsDownLeavesByMartianSource()
    {
        byte[] p = Ether().Ipv4(source: "10.88.0.1").Udp().Build();
        _router.AssertForwards(p, port: 1);
        _router.Lab.AddAddress(Ip("10.88.0.1"));
        _router.AssertPunts(PuntReason.MartianSource, p);
    }

    [Fact]
    public void SourceThatOnlyTheFilterTakesForOursGoesOn()
    {
        // A stranger that hashes to the bit of 10.0.0.254.
        uint ours = Ip("10.0.0.254"), stranger = Ip("20.0.0.0");
        while (LocalAddressFilter.Hash(stranger) != LocalAddressFilter.Hash(ours))
        {
            stranger++;
        }

        string text = new System.Net.IPAddress(System.Buffers.Binary.BinaryPrimitives.ReverseEndianness(stranger)).ToString();
        _router.AssertForwards(Ether().Ipv4(source: text).Udp().Build(), port: 1);

        // Without CheckSource Linux compares with its own addresses only, and doesn't ask the FIB for more. (We ask whether it is
        // broadcast, for the sake of namespaces that had rules before: Ipv4SourceCheckTests.)
        _router.Punt(text, 32, PuntReason.Unreachable);
        _router.AssertForwards(Ether().Ipv4(source: text).Udp().Build(), port: 1);
    }

    [Theory]
    [InlineData("10.77.0.1", PuntReason.Local)]
    [InlineData("10.77.0.2", PuntReason.Broadcast)]
    [InlineData("10.77.0.3", PuntReason.Multicast)]
    public void WithCheckSourceARouteThatIsNotUnicastMakesAMartian(string source, PuntReason route)
    {
        _router.Punt(source, 32, route);
        byte[] p = Ether().Ipv4(source: source).Udp().Build();
        _router.AssertForwards(p, port: 1);
        _router.Tables.Vrf->CheckSource = 1;
        _router.AssertPunts(PuntReason.MartianSource, p);
    }

    [Theory]
    [InlineData("99.0.0.1")]   // no route
    [InlineData("10.4.0.1")]   // unreachable
    [InlineData("10.1.2.129")] // blackhole
    [InlineData("10.2.0.1")]   // multipath
    [InlineData("10.3.0.9")]   // on-link
    [InlineData("10.5.0.1")]   // link down
    public void WithCheckSourceUnicastAndFailedLookupsGoOn(string source)
    {
        _router.Tables.Vrf->CheckSource = 1;
        _router.AssertForwards(Ether().Ipv4(source: source).Udp().Build(), port: 1);
    }

    [Fact]
    public void WithCheckSourceWhatCannotBeToldIsLinuxs()
    {
        _router.Tables.Vrf->CheckSource = 1;
        _router.AssertPunts(PuntReason.TosRoute, Ether().Ipv4(source: "10.8.0.1").Udp().Build());
    }

    [Fact]
    public void FragmentsGoOn()
    {
        _router.AssertForwards(Ether().Ipv4(flagsAndOffset: 0x2000).Payload(64).Build(), port: 1);
        _router.AssertForwards(Ether().Ipv4(flagsAndOffset: 0x00b9).Payload(64).Build(), port: 1);
    }
}
