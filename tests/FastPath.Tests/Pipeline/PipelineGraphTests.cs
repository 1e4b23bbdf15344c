using FastPathSync.FastPath.Trace;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FastPath.Tests;

/// <summary>The graph that is declared (and drawn, and counted by) is the graph that packets take.</summary>
public sealed unsafe class PipelineGraphTests : IDisposable
{
    private readonly LabRouter _router = new();
    private readonly PathRecord _path = new();
    private readonly HashSet<(PipelineNode, PipelineNode)> _went = [];
    private readonly HashSet<(PipelineNode, PuntReason)> _punted = [];

    public void Dispose() => _router.Dispose();

    [Fact]
    public void EveryWayOfEveryPacketIsDeclared()
    {
        PuntReason[] ofRoutes = [.. Enumerable.Range(0, (int)PuntReason.Count).Select(r => (PuntReason)r).Where(r => PipelineGraph.Punts(PipelineNode.Ipv6Lookup).Contains(r) || PipelineGraph.Punts(PipelineNode.Ipv4Lookup).Contains(r))];
        foreach ((int n, PuntReason r) in ofRoutes.Index())
        {
            _router.Punt($"10.9.{n}.0", 24, PipelineGraph.Punts(PipelineNode.Ipv4Lookup).Contains(r) ? r : PuntReason.NoRoute);
            _router.Punt($"2001:db8:9:{n:x}::", 64, PipelineGraph.Punts(PipelineNode.Ipv6Lookup).Contains(r) ? r : PuntReason.NoRoute);
        }

        for (int round = 0; round < 12; round++)
        {
            _router.Tables.Vrf->RpFilter[0] = (byte)(round % 3);
            _router.Tables.Vrf->CheckSource = (uint)(round / 3 % 2);
            ulong rules = round < 6 ? 0 : Rules(unknown: round == 11, local: round % 2 == 0);
            (_router.Tables.Vrf->Rules4, _router.Tables.Vrf->Rules6) = (rules, rules);
            _router.Tables.Vrf->PassAll = round == 4 ? Families.Ipv4 : round == 5 ? Families.Both : Families.None;
            Run(new RandomPackets(round, Families.Both), ofRoutes.Length);
        }

        // Where nothing leads in this lab: what a nexthop says can't be told of a source's way back unless the source is there too.
        (PipelineNode, PuntReason)[] unreached =
        [
            .. PipelineGraph.Nodes.SelectMany(n => PipelineGraph.Punts(n).Select(r => (n, r))).Except(_punted)
                .Where(e => e is not ((PipelineNode.Ipv4Input or PipelineNode.Ipv4Rule) and _, PuntReason.RouteUnsupported or PuntReason.LinkDown or PuntReason.TosRoute or PuntReason.TableFull)),
        ];
        Assert.Equal([(PipelineNode.PacketTap, PuntReason.PacketSocket)], unreached);
        Assert.Empty(PipelineGraph.Nodes.SelectMany(n => PipelineGraph.Next(n).Select(m => (n, m))).Where(e => e.m != PipelineNode.PacketTap).Except(_went));
    }

    [Fact]
    public void NodesCountWhatTheyPuntOnceEach()
    {
        Dictionary<(PipelineNode, PuntReason), ulong> punted = [];
        Dictionary<PipelineNode, ulong> came = [];
        RandomPackets packets = new(9, Families.Both);
        for (int n = 0; n < 200; n++)
        {
            _router.Tables.Vrf->PassAll = n % 20 == 0 ? Families.Ipv4 : Families.None;
            _router.Tables.Vrf->Rules4 = n < 100 ? 0 : Rules(unknown: false, local: false);
            _router.Tables.Vrf->Rules6 = n % 2 == 0 ? 0 : Rules(unknown: false, local: false);
            foreach (byte[] packet in Enumerable.Range(0, 64).Select(_ => packets.Next()))
            {
                NodeCounters[] before = Counters();
                Outcome o = _router.Run([packet], partialChecksums: true)[0];
                NodeCounters[] after = Counters();
                ulong counted = 0;
                foreach (PipelineNode node in PipelineGraph.Nodes)
                {
                    for (int r = 0; r < (int)PuntReason.Count; r++)
                    {
                        ulong more = after[(int)node].Punted[r] - before[(int)node].Punted[r];
                        Assert.True(more == 0 || (PuntReason)r == o.Reason, $"{node} counts {(PuntReason)r} for {o}");
                        counted += more;
                    }
                }

                Assert.Equal(o.Verdict == Verdict.Punt ? 1ul : 0, counted);
                Assert.Equal(1ul, after[0].Packets - before[0].Packets);
            }
        }
    }

    private NodeCounters[] Counters() => new ReadOnlySpan<NodeCounters>(_router.Tables.Nodes, (int)PipelineNode.Count).ToArray();

    private ulong Rules(bool unknown, bool local)
    {
        CompiledRule lookup = new()
        {
            Action = RuleAction.LookupMerged,
            Priority = 2,
            InputPort = CompiledRule.AnyPort,
            SuppressDepth = -1,
            SourcePortLast = 65535,
            DestinationPortLast = 65535,
            Flags = local ? CompiledRuleFlags.Local : CompiledRuleFlags.None,
        };
        _router.Lab.Rules[0] = lookup with { Priority = 1, Flags = unknown ? CompiledRuleFlags.Unknown : CompiledRuleFlags.None, Action = unknown ? RuleAction.Punt : RuleAction.Goto, Target = 1 };
        _router.Lab.Rules[1] = lookup;
        _router.Lab.Rules[2] = lookup with { Priority = 3, Action = RuleAction.Lookup, Target = _router.Tables.Ipv6Main };
        return RuleList.Of(0, 3, needsTransport: false).Value;
    }

    private void Run(RandomPackets packets, int reasons)
    {
        for (int n = 0; n < 250; n++)
        {
            List<byte[]> burst = [.. Enumerable.Range(0, 60).Select(_ => packets.Next())];
            burst.Add(FastPathSync.Packets.Building.Packet.Ether().Ipv4(destination: $"10.9.{n % reasons}.1").Udp().Build());
            burst.Add(FastPathSync.Packets.Building.Packet.Ether().Ipv6(destination: $"2001:db8:9:{n % reasons:x}::1").Udp().Build());
            _path.Begin();
            _router.Run(burst, partialChecksums: n % 2 == 0, observer: new PathObserver(_path));
            for (int slot = 0; slot < burst.Count; slot++)
            {
                ushort way = _path.Passed(slot);
                PipelineNode[] nodes = [.. PipelineGraph.Nodes.Where(x => (way >> (int)x & 1) != 0)];
                Assert.Equal(PipelineNode.EthernetInput, nodes[0]);
                foreach ((PipelineNode from, PipelineNode to) in nodes.Zip(nodes.Skip(1)))
                {
                    Assert.Contains(to, PipelineGraph.Next(from));
                    _went.Add((from, to));
                }

                if (_router.Vector.Verdict[slot] == (byte)Verdict.Forward)
                {
                    Assert.True(PipelineGraph.Forwards(nodes[^1]), $"{nodes[^1]} forwards");
                    continue;
                }

                Assert.Contains((PuntReason)_router.Vector.Reason[slot], PipelineGraph.Punts(nodes[^1]));
                _punted.Add((nodes[^1], (PuntReason)_router.Vector.Reason[slot]));
            }
        }
    }
}
