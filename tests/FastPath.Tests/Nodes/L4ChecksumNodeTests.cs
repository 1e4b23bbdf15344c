using FastPathSync.Packets;
using FastPathSync.Packets.Building;
using FastPathSync.SharedMemory.Tables;
using static FastPathSync.Packets.Building.Packet;

namespace FastPathSync.FastPath.Tests.Nodes;

public sealed unsafe class L4ChecksumNodeTests : IDisposable
{
    private readonly LabRouter _router = new();

    public void Dispose() => _router.Dispose();

    private ulong Completed => _router.Tables.Counters[0].ChecksumsCompleted;

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(31)]
    [InlineData(1400)]
    public void UnfinishedUdpIsCompleted(int payload)
    {
        Outcome o = _router.Run(Ether().Ipv4().Udp(partialChecksum: true).Payload(payload).Build(), partialChecksums: true);
        Assert.Equal(Ether(LabRouter.MacA, "02:00:00:00:01:01").Ipv4(ttl: 63).Udp().Payload(payload).Build(), o.Bytes);
        Assert.Equal(1ul, Completed);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(1460)]
    public void UnfinishedTcpIsCompleted(int payload)
    {
        Outcome o = _router.Run(Ether().Ipv4().Tcp(partialChecksum: true).Payload(payload).Build(), partialChecksums: true);
        Assert.Equal(Ether(LabRouter.MacA, "02:00:00:00:01:01").Ipv4(ttl: 63).Tcp().Payload(payload).Build(), o.Bytes);
        Assert.Equal(1ul, Completed);
    }

    [Fact]
    public void PaddingIsNotSummed()
    {
        byte[] p = [.. Ether().Ipv4().Udp(partialChecksum: true).Build(), 1, 2, 3, 4, 5];
        Outcome o = _router.Run(p, partialChecksums: true);
        Assert.Equal(Ether(LabRouter.MacA, "02:00:00:00:01:01").Ipv4(ttl: 63).Udp().Build(), o.Bytes);
    }

    [Fact]
    public void UdpSumOfZeroBecomesAllOnes()
    {
        // The payload that makes the sum zero: put the finished checksum into it.
        byte[] finished = Ether().Ipv4().Udp(checksum: 0).Payload(2).Build();
        byte[] whole = Ether().Ipv4().Udp().Payload([0, 0]).Build();
        byte[] p = Ether().Ipv4().Udp(partialChecksum: true).Payload(whole.AsSpan(40, 2)).Build();
        Outcome o = _router.Run(p, partialChecksums: true);
        Assert.Equal([0xff, 0xff], o.Bytes[40..42]);
        Assert.Equal(finished.Length, o.Bytes.Length);
    }

    [Fact]
    public void FinishedChecksumsAreLeftAlone()
    {
        foreach (byte[] p in new[] { Ether().Ipv4().Udp().Payload(9).Build(), Ether().Ipv4().Tcp().Payload(9).Build(), Ether().Ipv4().Icmp().Build() })
        {
            Outcome without = _router.Run(p), with = _router.Run(p, partialChecksums: true);
            Assert.True(without.Same(with));
        }

        Assert.Equal(0ul, Completed);
    }

    [Fact]
    public void FinishedChecksumThatLooksUnfinishedIsLeftAlone()
    {
        // Search the payload whose true checksum equals the pseudo header's sum.
        byte[] partial = Ether().Ipv4().Udp(partialChecksum: true).Payload(2).Build();
        for (int i = 0; i < 65536; i++)
        {
            byte[] p = Ether().Ipv4().Udp().Payload([(byte)(i >> 8), (byte)i]).Build();
            if (p.AsSpan(40, 2).SequenceEqual(partial.AsSpan(40, 2)))
            {
                Outcome o = _router.Run(p, partialChecksums: true);
                Assert.Equal(p[40..], o.Bytes[40..]);
                Assert.Equal(0ul, Completed);
                return;
            }
        }

        Assert.Fail("no such payload");
    }

    [Fact]
    public void WrongChecksumIsNotMended()
    {
        byte[] p = Ether().Ipv4().Udp(checksum: 0x1234).Payload(9).Build();
        Assert.Equal(p[34..], _router.Run(p, partialChecksums: true).Bytes[34..]);
    }

    [Fact]
    public void RealDevicesAreTakenAtTheirWord()
    {
        byte[] p = Ether().Ipv4().Udp(partialChecksum: true).Payload(9).Build();
        Assert.Equal(p[34..], _router.Run(p, partialChecksums: false).Bytes[34..]);
        Assert.Equal(0ul, Completed);
    }

    [Theory]
    [InlineData(0x2000)]
    [InlineData(0x0001)]
    public void FragmentsAreLeftAlone(int flags)
    {
        byte[] p = Ether().Ipv4(flagsAndOffset: flags).Udp(partialChecksum: true).Payload(9).Build();
        Assert.Equal(p[34..], _router.Run(p, partialChecksums: true).Bytes[34..]);
    }

    [Fact]
    public void OtherProtocolsAreLeftAlone()
    {
        byte[] p = Ether().Ipv4().Udp(partialChecksum: true).Payload(9).Build();
        p[23] = 132;
        ushort sum = (ushort)((p[24] << 8) | p[25]);
        sum -= 132 - 17; // the header stays sound
        (p[24], p[25]) = ((byte)(sum >> 8), (byte)sum);

        // Were it UDP's layout, this would be SCTP's pseudo sum.
        p[41] += 132 - 17;
        Outcome o = _router.Run(p, partialChecksums: true);
        Assert.Equal(Verdict.Forward, o.Verdict);
        Assert.Equal(p[34..], o.Bytes[34..]);
    }

    [Theory]
    [InlineData("10.0.0.254", 64, PuntReason.Local)]
    [InlineData("10.1.0.1", 1, PuntReason.TtlExpired)]
    public void PuntedPacketsAreCompletedToo(string destination, int ttl, PuntReason reason)
    {
        Outcome o = _router.Run(Ether().Ipv4(destination: destination, ttl: ttl).Tcp(partialChecksum: true).Payload(7).Build(), partialChecksums: true);
        Assert.Equal(reason, o.Reason);
        Assert.Equal(Ether().Ipv4(destination: destination, ttl: ttl).Tcp().Payload(7).Build(), o.Bytes);
    }

    [Fact]
    public void DemotedPacketsAreCompletedToo()
    {
        _router.Tables.Vrf->PassAll = Families.Both;
        Outcome o = _router.Run(Ether().Ipv4().Udp(partialChecksum: true).Payload(7).Build(), partialChecksums: true);
        Assert.Equal((PuntReason.Demoted, 1ul), (o.Reason, Completed));
        Assert.Equal(Ether().Ipv4().Udp().Payload(7).Build(), o.Bytes);
    }

    [Fact]
    public void PacketsWithOptionsAreCompletedToo()
    {
        Outcome o = _router.Run(Ether().Ipv4(options: [1, 1, 1, 0]).Udp(partialChecksum: true).Payload(7).Build(), partialChecksums: true);
        Assert.Equal(PuntReason.IpOptions, o.Reason);
        Assert.Equal(Ether().Ipv4(options: [1, 1, 1, 0]).Udp().Payload(7).Build(), o.Bytes);
    }

    [Fact]
    public void BrokenHeadersAreLeftAlone()
    {
        foreach (PacketBuilder b in new[] { Ether().Ipv4(checksum: 1), Ether().Ipv4(totalLength: 1000), Ether().Ipv4(version: 6), Ether(type: 0x86dd).Ipv4() })
        {
            byte[] p = b.Udp(partialChecksum: true).Payload(7).Build();
            Assert.Equal(p, _router.Run(p, partialChecksums: true).Bytes);
        }
    }

    [Fact]
    public void SegmentTooShortForItsChecksumIsLeftAlone()
    {
        for (int length = 34; length < 60; length++)
        {
            byte[] p = Ether().Ipv4(protocol: length % 2 == 0 ? 6 : 17).Payload(length - 34).Build();
            Assert.Equal(p[34..], _router.Run(p, partialChecksums: true).Bytes[34..]);
        }
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(1400)]
    public void UnfinishedOverIpv6IsCompleted(int payload)
    {
        Outcome udp = _router.Run(Ether().Ipv6().Udp(partialChecksum: true).Payload(payload).Build(), partialChecksums: true);
        Assert.Equal(Ether(LabRouter.MacA, "02:00:00:00:01:01").Ipv6(hopLimit: 63).Udp().Payload(payload).Build(), udp.Bytes);
        Outcome tcp = _router.Run(Ether().Ipv6().Tcp(partialChecksum: true).Payload(payload).Build(), partialChecksums: true);
        Assert.Equal(Ether(LabRouter.MacA, "02:00:00:00:01:01").Ipv6(hopLimit: 63).Tcp().Payload(payload).Build(), tcp.Bytes);
        Assert.Equal(2ul, Completed);
    }

    [Fact]
    public void ExtensionHeadersAreSkipped()
    {
        Outcome o = _router.Run(Build(partial: true), partialChecksums: true);
        Assert.Equal(Build(partial: false)[54..], o.Bytes[54..]);
        Assert.Equal((Verdict.Forward, 1ul), (o.Verdict, Completed));

        static byte[] Build(bool partial) => Ether().Ipv6()
            .Extension(IpProtocol.DestinationOptions).Extension(IpProtocol.DestinationOptions, [1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
            .Tcp(partialChecksum: partial).Payload(11).Build();
    }

    [Theory]
    [InlineData(2, 1)]
    [InlineData(4, 1)]
    [InlineData(4, 2)]
    [InlineData(4, 0)]
    public void PseudoHeaderHasTheFinalDestination(int type, int segmentsLeft)
    {
        string[] addresses = type == 2 ? ["2001:db8:77::1"] : ["2001:db8:77::1", "2001:db8:66::1"];
        Outcome o = _router.Run(Ether().Ipv6().Routing(type, segmentsLeft, addresses).Udp(partialChecksum: true).Payload(3).Build(), partialChecksums: true);
        Assert.Equal(Ether().Ipv6().Routing(type, segmentsLeft, addresses).Udp().Payload(3).Build()[54..], o.Bytes[54..]);
        Assert.Equal(1ul, Completed);
    }

    [Fact]
    public void PuntedIpv6IsCompletedToo()
    {
        Outcome o = _router.Run(Ether().Ipv6().Extension(IpProtocol.HopByHop).Udp(partialChecksum: true).Payload(7).Build(), partialChecksums: true);
        Assert.Equal(PuntReason.ExtensionHeader, o.Reason);
        Assert.Equal(Ether().Ipv6().Extension(IpProtocol.HopByHop).Udp().Payload(7).Build(), o.Bytes);
        _router.Tables.Vrf->PassAll = Families.Ipv6;
        Assert.Equal(Ether().Ipv6().Tcp().Build(), _router.Run(Ether().Ipv6().Tcp(partialChecksum: true).Build(), partialChecksums: true).Bytes);
    }

    [Fact]
    public void WhatHasNoReadableTransportOverIpv6IsLeftAlone()
    {
        byte[][] packets =
        [
            Ether().Ipv6().Extension(IpProtocol.Fragment, [0, 1, 0, 0, 0, 1]).Udp(partialChecksum: true).Payload(9).Build(),
            Ether().Ipv6().Extension(IpProtocol.Esp).Udp(partialChecksum: true).Payload(9).Build(),
            Ether().Ipv6().Extension(IpProtocol.Ah, new byte[14]).Udp(partialChecksum: true).Payload(9).Build(),
            Ether().Ipv6().Extension(IpProtocol.DestinationOptions, length: 9).Udp(partialChecksum: true).Build(),
            Ether().Ipv6().Routing(3, 1, "2001:db8:77::1").Udp(partialChecksum: true).Build(),
            Ether().Ipv6().Routing(4, 1).Udp(partialChecksum: true).Build(),
            Ether().Ipv6(payloadLength: 4).Udp(partialChecksum: true).Payload(9).Build(),
            Ether().Ipv6(version: 5).Udp(partialChecksum: true).Payload(9).Build(),
            Ether().Ipv6(payloadLength: 100).Udp(partialChecksum: true).Payload(9).Build(),
        ];
        foreach (byte[] p in packets)
        {
            byte[] got = _router.Run(p, partialChecksums: true).Bytes;
            Assert.Equal(p[54..got.Length], got[54..]);
        }

        Assert.Equal(0ul, Completed);
    }

    [Fact]
    public void UdpWithoutChecksumOverIpv6StaysWithout()
    {
        byte[] p = Ether().Ipv6().Udp(checksum: 0).Payload(9).Build();
        Assert.Equal(p[54..], _router.Run(p, partialChecksums: true).Bytes[54..]);
    }

    [Fact]
    public void SegmentOverIpv6TooShortForItsChecksumIsLeftAlone()
    {
        for (int length = 54; length < 80; length++)
        {
            byte[] p = Ether().Ipv6(nextHeader: length % 2 == 0 ? 6 : 17).Payload(length - 54).Build();
            Assert.Equal(p[54..], _router.Run(p, partialChecksums: true).Bytes[54..]);
        }
    }
}
