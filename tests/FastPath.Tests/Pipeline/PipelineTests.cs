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
    [InlineData(0, false, false, 0, true, 1)]
    [InlineData(0, true, false, 0, true, 2)]
    [InlineData(1, true, true, 0, true, 3)]
    [InlineData(2, false, true, 0, true, 4)]
    [InlineData(0, false, false, 1, true, 5)]
    [InlineData(1, false, true, 2, true, 6)]
    [InlineData(1, true, false, 1, false, 7)]
    public void DoesWhatTheReferenceModelDoes(int rxPort, bool virtualPort, bool checkSource, byte rpFilter, bool redirects, int seed)
    {
        const int Bursts = 800; // of up to 64, seven cases: 170,000 packets
        LabSettings settings = new(checkSource, rpFilter, redirects);
        _router.Tables.Vrf->CheckSource = checkSource ? 1u : 0;
        _router.Tables.Vrf->RpFilter[rxPort] = rpFilter;
        _router.Tables.Vrf->SendRedirects[rxPort] = (byte)(redirects ? Families.Both : Families.Ipv6);
        RandomPackets packets = new(seed);
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
        foreach (PuntReason r in new[]
        {
            PuntReason.NoRoute, PuntReason.NoNeighbour, PuntReason.TtlExpired, PuntReason.FragmentationNeeded, PuntReason.IpOptions,
            PuntReason.Local, PuntReason.Broadcast, PuntReason.Multicast, PuntReason.Blackhole, PuntReason.Unreachable,
            PuntReason.MartianSource, PuntReason.MartianDestination, PuntReason.HeaderError,
            PuntReason.ChecksumError, PuntReason.Truncated, PuntReason.LinkDown, PuntReason.TosRoute, PuntReason.NotIp,
        })
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
                    (burst[i][12], burst[i][13], burst[i][14]) = (8, 0, (byte)(0x40 + random.Next(16)));
                }
            }

            Outcome[] o = _router.Run(burst, partialChecksums: n % 2 == 0, atEnd: atEnd);
            Assert.All(o, x => Assert.InRange((int)x.Verdict, 0, 1));
        }
    }

    [Fact]
    public void EveryLengthOfASoundPacketIsNeverReadBeyond()
    {
        byte[] whole = Ether().Ipv4().Tcp(partialChecksum: true).Payload(100).Build();
        for (int length = 0; length <= whole.Length; length++)
        {
            Outcome o = _router.Run(whole[..length], partialChecksums: true);
            Assert.Equal(length == whole.Length ? Verdict.Forward : Verdict.Punt, o.Verdict);
        }
    }

    [Fact]
    public void AllocatesNothing()
    {
        PacketVector v = PacketVector.Allocate();
        byte[][] packets = [Ether().Ipv4().Udp().Build(), Ether().Ipv4(ttl: 1).Udp().Build(), Ether().Ipv4(destination: "10.2.0.1").Udp().Build(), new byte[20]];
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
