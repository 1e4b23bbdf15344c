using FastPathSync.FastPath.Explain;
using FastPathSync.SharedMemory;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FastPath.Tests.Explain;

public sealed unsafe class DryRunTests : IDisposable
{
    private readonly LabRouter _router = new();
    private readonly DryRun _run = new(Capacities.Neighbours);

    public void Dispose()
    {
        _run.Dispose();
        _router.Dispose();
    }

    [Theory]
    [InlineData(false, 0, 1)]
    [InlineData(true, 1, 2)]
    public void SaysOfFiveThousandPacketsWhatThePipelineThenDoes(bool virtualPort, byte rpFilter, int seed)
    {
        _router.Tables.Vrf->RpFilter[0] = rpFilter;
        RandomPackets packets = new(seed, Families.Both);
        Random random = new(seed);
        for (int done = 0; done < 5000;)
        {
            byte[][] burst = [.. Enumerable.Range(0, random.Next(1, DryRun.MaxFrames + 1)).Select(_ => packets.Next())];
            _run.Load([.. burst.Select(p => (ReadOnlyMemory<byte>)p)]);
            _run.Run(_router.Tables, 0, virtualPort);
            foreach ((byte[] packet, DryOutcome said) in burst.Zip(_run.Outcomes()))
            {
                Outcome is_ = _router.Run([packet], partialChecksums: virtualPort)[0];
                Outcome wouldBe = new(said.Verdict, said.Verdict == Verdict.Forward ? null : (PuntReason)said.Reason, said.Verdict == Verdict.Forward ? said.TxPort : null, said.Frame);
                Assert.True(is_.Same(wouldBe), $"{Convert.ToHexString(packet)}\n  said {wouldBe}\n  is   {is_}");
            }

            done += burst.Length;
        }
    }

    [Fact]
    public void NothingIsCountedAndNoNeighbourUsed()
    {
        RandomPackets packets = new(3, Families.Both);
        _run.Load([.. Enumerable.Range(0, DryRun.MaxFrames).Select(_ => (ReadOnlyMemory<byte>)packets.Next())]);
        *_router.Tables.CoarseSecond = 77;
        _run.Run(_router.Tables, 0, partialChecksums: true);
        Assert.Contains(_run.Outcomes(), o => o.Verdict == Verdict.Forward);
        WorkerTables t = _router.Tables;
        Assert.False(new ReadOnlySpan<byte>(t.Counters, Capacities.Ports * sizeof(PortCounters)).ContainsAnyExcept((byte)0));
        Assert.False(new ReadOnlySpan<byte>(t.Nodes, NodeCounters.Nodes * sizeof(NodeCounters)).ContainsAnyExcept((byte)0));
        Assert.False(new ReadOnlySpan<uint>(t.UseStamps, Capacities.Neighbours).Contains(77u));
    }

    [Fact]
    public void TheRuleThatDecidedIsNamedAndThePrefix()
    {
        _router.Lab.Rules[0] = new CompiledRule
        {
            Action = RuleAction.LookupMerged,
            Priority = 123,
            InputPort = CompiledRule.AnyPort,
            SuppressDepth = -1,
            SourcePortLast = 65535,
            DestinationPortLast = 65535,
        };
        Assert.Equal((uint.MaxValue, 24), Decided());
        _router.Tables.Vrf->Rules4 = RuleList.Of(0, 1, needsTransport: false).Value;
        Assert.Equal((123u, 24), Decided());

        (uint Rule, int Depth) Decided()
        {
            _run.Load([FastPathSync.Packets.Building.Packet.Ether().Ipv4(destination: "10.1.2.1").Udp().Build()]);
            _run.Run(_router.Tables, 0, partialChecksums: false);
            RouteDecision route = Assert.Single(_run.Outcomes()).Route!.Value;
            return (route.Rule, route.Depth);
        }
    }
}
