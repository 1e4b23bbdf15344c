using FastPathSync.Packets;
using FastPathSync.SharedMemory.Tables;
using static FastPathSync.Packets.Building.Packet;

namespace FastPathSync.FastPath.Tests;

public sealed unsafe class PipelineTests : IDisposable
{
    private readonly LabRouter _router = new();

    public void Dispose() => _router.Dispose();

    [Fact]
    public void DemotedVrfLeavesEverythingToLinux()
    {
        byte[][] burst = [Ether().Ipv4().Udp().Build(), Ether().Ipv4(ttl: 1).Udp().Build(), Ether(type: 0x86dd).Build(), new byte[5]];
        _router.Tables.Vrf->PassAll = Families.Both;
        Outcome[] o = _router.Run(burst);
        Assert.All(o, x => Assert.Equal((Verdict.Punt, PuntReason.Demoted), (x.Verdict, x.Reason)));
        Assert.Equal(burst, o.Select(x => x.Bytes));
        _router.Tables.Vrf->PassAll = Families.None;
        _router.AssertForwards(burst[0], port: 1);
    }

    [Fact]
    public void DemotedIngressLeavesThatPortToLinux()
    {
        byte[] p = Ether().Ipv4().Udp().Build();
        _router.Tables.Vrf->IngressPass[2] = 1;
        _router.AssertPunts(PuntReason.Demoted, p, rxPort: 2);
        _router.AssertForwards(p, port: 1, rxPort: 0);
    }

    [Theory]
    [InlineData(0, false, false, 0, true, Families.Ipv4, 1)]
    [InlineData(0, true, false, 0, true, Families.Ipv4, 2)]
    [InlineData(1, true, true, 0, true, Families.Ipv4, 3)]
    [InlineData(2, false, true, 0, true, Families.Ipv4, 4)]
    [InlineData(0, false, false, 0, true, Families.Ipv6, 5)]
    [InlineData(1, true, true, 0, true, Families.Ipv6, 6)]
    [InlineData(0, true, false, 0, true, Families.Both, 7)]
    [InlineData(2, false, true, 0, true, Families.Both, 8)]
    [InlineData(0, false, false, 1, true, Families.Ipv4, 9)]
    [InlineData(1, false, true, 2, true, Families.Ipv4, 10)]
    [InlineData(1, true, false, 1, false, Families.Ipv4, 11)]
    [InlineData(1, false, false, 2, true, Families.Both, 12)]
    public void DoesWhatTheReferenceModelDoes(int rxPort, bool virtualPort, bool checkSource, byte rpFilter, bool redirects, Families families, int seed)
    {
        const int Bursts = 800; // of up to 64, twelve cases: 300,000 packets
        LabSettings settings = new(checkSource, rpFilter, redirects);
        _router.Tables.Vrf->RpFilter[rxPort] = rpFilter;
        _router.Tables.Vrf->SendRedirects[rxPort] = (byte)(redirects ? Families.Both : Families.Ipv6);
        _router.Tables.Vrf->CheckSource = checkSource ? 1u : 0;
        RandomPackets packets = new(seed, families);
        Random random = new(seed);
        Dictionary<string, int> seen = [];
        ulong count = 0;
        for (int n = 0; n < Bursts; n++)
        {
            byte[][] burst = [.. Enumerable.Range(0, random.Next(PacketVector.Size + 1)).Select(_ => packets.Next())];
            Outcome[] outcomes = _router.Run(burst, rxPort, virtualPort, atEnd: n % 2 == 0);
            count += (ulong)burst.Length;
            for (int i = 0; i < burst.Length; i++)
            {
                Outcome[] legal = [.. ReferenceModel.Outcomes(burst[i], rxPort, virtualPort, settings)];
                Assert.True(
                    legal.Any(outcomes[i].Same),
                    $"seed {seed}, burst {n}, packet {i}\n  in    {Convert.ToHexString(burst[i])}\n  is    {outcomes[i]}\n  legal {string.Join("\n        ", legal.Select(o => o.ToString()))}");
                string kind = $"{outcomes[i].Verdict} {outcomes[i].Reason}";
                seen[kind] = seen.GetValueOrDefault(kind) + 1;
            }
        }

        // The generator reaches every edge, or this test says less than it seems to.
        Assert.Equal(count, _router.Tables.Counters[rxPort].Rx);
        PuntReason[] both =
        [
            PuntReason.NoRoute, PuntReason.NoNeighbour, PuntReason.TtlExpired, PuntReason.FragmentationNeeded, PuntReason.Local, PuntReason.Multicast,
            PuntReason.Blackhole, PuntReason.Unreachable, PuntReason.MartianSource, PuntReason.MartianDestination,
            PuntReason.HeaderError, PuntReason.Truncated, PuntReason.LinkDown, PuntReason.NotIp,
        ];
        PuntReason[] ipv4 = [PuntReason.IpOptions, PuntReason.Broadcast, PuntReason.ChecksumError, PuntReason.TosRoute];
        PuntReason[] ipv6 = [PuntReason.ExtensionHeader, PuntReason.LinkLocal, PuntReason.SourceRoute];
        PuntReason[] expected =
            [.. both, .. (families & Families.Ipv4) != 0 ? ipv4 : [], .. (families & Families.Ipv6) != 0 ? ipv6 : []];
        foreach (PuntReason r in expected)
        {
            Assert.True(seen.GetValueOrDefault($"{Verdict.Punt} {r}") > 10, $"{r} was hardly reached");
        }

        Assert.Equal(redirects, seen.GetValueOrDefault($"{Verdict.Punt} {PuntReason.RedirectNeeded}") > 10);
        Assert.Equal(rpFilter != 0, seen.GetValueOrDefault($"{Verdict.Punt} {PuntReason.ReversePath}") > 10);
        Assert.True(seen.GetValueOrDefault($"{Verdict.Forward} ") > (rpFilter == 1 ? 100 : 1000));
        Assert.Equal(virtualPort, _router.Tables.Counters[rxPort].ChecksumsCompleted > 0);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void RandomBytesOfAnyLengthAreNeverReadBeyond(bool atEnd)
    {
        // The pages around each packet may not be touched: reading one byte too far kills this process.
        Random random = new(7);
        for (int n = 0; n < 2000; n++)
        {
            byte[][] burst = new byte[PacketVector.Size][];
            for (int i = 0; i < burst.Length; i++)
            {
                burst[i] = new byte[random.Next(4) == 0 ? random.Next(200) : random.Next(70)];
                random.NextBytes(burst[i]);
                if (burst[i].Length > 14 && random.Next(4) != 0)
                {
                    (burst[i][12], burst[i][13], burst[i][14]) =
                        random.Next(2) == 0 ? ((byte)8, (byte)0, (byte)(0x40 + random.Next(16))) : ((byte)0x86, (byte)0xdd, (byte)(0x60 + random.Next(16)));
                }
            }

            Outcome[] o = _router.Run(burst, partialChecksums: n % 2 == 0, atEnd: atEnd);
            Assert.All(o, x => Assert.InRange((int)x.Verdict, 0, 1));
        }
    }

    [Fact]
    public void EveryLengthOfASoundPacketIsNeverReadBeyond()
    {
        byte[][] packets =
        [
            Ether().Ipv4().Tcp(partialChecksum: true).Payload(100).Build(),
            Ether().Ipv6().Tcp(partialChecksum: true).Payload(100).Build(),
            Ether().Ipv6().Extension(IpProtocol.DestinationOptions).Routing(4, 1, "2001:db8:1::2").Udp(partialChecksum: true).Build(),
        ];
        foreach (byte[] whole in packets)
        {
            for (int length = 0; length <= whole.Length; length++)
            {
                Outcome o = _router.Run(whole[..length], partialChecksums: true);
                Assert.Equal(length == whole.Length ? Verdict.Forward : Verdict.Punt, o.Verdict);
            }
        }
    }

    [Fact]
    public void MixedBurstsKeepTheOrderOfEachFamily()
    {
        Random random = new(11);
        for (int n = 0; n < 200; n++)
        {
            // The identification and the flow label number the packets.
            byte[][] burst =
            [
                .. Enumerable.Range(0, random.Next(PacketVector.Size + 1)).Select(i => random.Next(5) switch
                {
                    0 or 1 => Ether().Ipv4(id: i).Udp().Build(),
                    2 or 3 => Ether().Ipv6(flowLabel: i).Udp().Build(),
                    _ => Ether(type: EtherType.Arp).PadTo(60).Build(),
                }),
            ];
            _router.Run(burst);
            ref PacketVector v = ref _router.Vector;
            int[] order = [.. Enumerable.Range(0, v.Count).Select(slot => (int)_router.Vector.Frame[slot])];
            Assert.Equal(Numbers(order, burst, 8), Numbers(order, burst, 8).Order());
            Assert.Equal(Numbers(order, burst, 0x86), Numbers(order, burst, 0x86).Order());
        }

        static int[] Numbers(int[] order, byte[][] burst, byte type) => [.. order.Where(i => burst[i][12] == type && burst[i][13] != 6)];
    }

    [Theory]
    [InlineData(Families.Ipv4)]
    [InlineData(Families.Ipv6)]
    public void DemotionOfAFamilyLeavesTheOtherAlone(Families demoted)
    {
        byte[][] burst = [Ether().Ipv6().Udp().Build(), Ether().Ipv4().Udp().Build(), Ether().Ipv6().Udp().Build()];
        _router.Tables.Vrf->PassAll = demoted;
        Check(0);
        _router.Tables.Vrf->PassAll = Families.None;
        _router.Tables.Vrf->IngressPass[2] = (uint)demoted;
        Check(2);

        void Check(int rxPort)
        {
            Outcome[] o = _router.Run(burst, rxPort);
            for (int i = 0; i < burst.Length; i++)
            {
                Families family = i == 1 ? Families.Ipv4 : Families.Ipv6;
                Assert.Equal(family == demoted ? PuntReason.Demoted : null, o[i].Reason);
                Assert.True(o[i].Same(_router.Run(burst[i], rxPort)));
            }

            Assert.All([burst[0], burst[2]], p => Assert.Equal(demoted == Families.Ipv6 ? PuntReason.Demoted : null, _router.Run([p, p], rxPort)[1].Reason));
        }
    }

    [Fact]
    public void Ipv6WithoutItsTableIsLinuxs()
    {
        _router.WithoutIpv6 = true;
        _router.AssertPunts(PuntReason.Demoted, Ether().Ipv6().Udp().Build());
        _router.AssertForwards(Ether().Ipv4().Udp().Build(), port: 1);
    }

    [Fact]
    public void AllocatesNothing()
    {
        PacketVector v = PacketVector.Allocate();
        byte[][] packets =
        [
            Ether().Ipv4().Udp().Build(), Ether().Ipv6().Udp().Build(), Ether().Ipv4(ttl: 1).Udp().Build(), Ether().Ipv4(destination: "10.2.0.1").Udp().Build(),
            new byte[20], Ether().Ipv6(destination: "2001:db8:2::1").Udp(partialChecksum: true).Build(), Ether().Ipv6(destination: "fe80::1").Udp().Build(),
        ];
        using GuardedFrames frames = new();
        WorkerTables tables = _router.Tables;
        long before = 0;
        for (int round = 0; round < 200; round++)
        {
            before = round == 100 ? GC.GetAllocatedBytesForCurrentThread() : before;
            v.Count = packets.Length;
            for (int i = 0; i < packets.Length; i++)
            {
                v.Data[i] = frames.Place(i, packets[i], atEnd: true);
                v.Length[i] = (uint)packets[i].Length;
            }

            FastPath.Pipeline.Run(ref v, tables, 0, partialChecksums: true);
        }

        Assert.Equal(before, GC.GetAllocatedBytesForCurrentThread());
        v.Free();
    }
}
