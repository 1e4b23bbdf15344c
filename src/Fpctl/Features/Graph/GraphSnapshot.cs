using FastPathSync.Fpctl.Features.Statistics;
using FastPathSync.Fpctl.Inspection;
using FastPathSync.SharedMemory;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.Fpctl.Features.Graph;

/// <param name="To">Of a packet that goes on: a node. "linux": handed to Linux. "drop": ended.</param>
/// <param name="Reason">null: it goes on.</param>
/// <param name="Packets">null: nobody counts them.</param>
internal sealed record GraphEdge(string From, string To, string? Reason, ulong? Packets);

/// <param name="Packets">That came to it; null: nobody counts them.</param>
internal sealed record GraphNode(string Name, ulong? Packets);

/// <summary>
/// The graph of the packet path from the XDP program to the device or to Linux: as it is declared (PipelineGraph), and with the
/// counters of a running instance what went along each edge.
/// </summary>
internal sealed record GraphSnapshot
{
    public const string Xdp = "xdp", Transmit = "tx", Punt = "punt", Linux = "linux", Drop = "drop";

    public required IReadOnlyList<GraphNode> Nodes { get; init; }

    public required IReadOnlyList<GraphEdge> Edges { get; init; }

    /// <summary>Without counters.</summary>
    public static GraphSnapshot Declared() => Make(null, null);

    public static unsafe GraphSnapshot Take(InstanceTables tables)
    {
        Counters total = StatisticsSnapshot.Take(tables).Total();
        NodeTotals nodes = new();
        FastPathState* state = tables.FastPath;
        for (int i = 0; state != null && i < state->WorkerCount; i++)
        {
            if (tables.Worker(i) is Segment worker)
            {
                nodes.Add(WorkerSegment.Nodes(worker));
            }
        }

        return Make(nodes, total);
    }

    private static GraphSnapshot Make(NodeTotals? counted, Counters? total)
    {
        List<GraphNode> nodes = [];
        List<GraphEdge> edges = [];
        ulong? received = total is null ? null : total.Rx - total.Dropped[(int)DropReason.RxRingFull] - total.Dropped[(int)DropReason.NoFrame];
        nodes.Add(new GraphNode(Xdp, total is null ? null : total.Rx + Counters.Total(total.Passed)));
        edges.Add(new GraphEdge(Xdp, ReasonNames.Of(PipelineNode.EthernetInput), null, received));
        for (PassReason r = 0; r < PassReason.Count; r++)
        {
            edges.Add(new GraphEdge(Xdp, Linux, ReasonNames.Of(r), total?.Passed[(int)r]));
        }

        AddDrop(Xdp, DropReason.RxRingFull);
        AddDrop(Xdp, DropReason.NoFrame);
        foreach (PipelineNode n in PipelineGraph.Nodes)
        {
            string name = ReasonNames.Of(n);
            nodes.Add(new GraphNode(name, counted?.In(n)));
            foreach (PipelineNode next in PipelineGraph.Next(n))
            {
                edges.Add(new GraphEdge(name, ReasonNames.Of(next), null, counted?.Between(n, next)));
            }

            if (PipelineGraph.Forwards(n))
            {
                edges.Add(new GraphEdge(name, Transmit, null, null)); // by which of them depends on the port
            }

            foreach (PuntReason r in PipelineGraph.Punts(n))
            {
                edges.Add(new GraphEdge(name, Punt, ReasonNames.Of(r), counted?.Punted(n, r)));
            }
        }

        nodes.Add(new GraphNode(Transmit, total is null ? null : total.Forwarded + total.Dropped[(int)DropReason.TxRingFull]));
        AddDrop(Transmit, DropReason.TxRingFull);
        nodes.Add(new GraphNode(Punt, total is null ? null : Counters.Total(total.Punted) + total.Dropped[(int)DropReason.PuntLimited] + total.Dropped[(int)DropReason.PuntOverrun]));
        edges.Add(new GraphEdge(Punt, Linux, null, total is null ? null : Counters.Total(total.Punted)));
        AddDrop(Punt, DropReason.PuntLimited);
        AddDrop(Punt, DropReason.PuntOverrun);
        return new GraphSnapshot { Nodes = nodes, Edges = edges };

        void AddDrop(string from, DropReason reason) => edges.Add(new GraphEdge(from, Drop, ReasonNames.Of(reason), total?.Dropped[(int)reason]));
    }

    /// <summary>All workers together. What NodeCounters doesn't count follows: who came to a node and wasn't punted went on.</summary>
    private sealed class NodeTotals
    {
        private readonly ulong[] _packets = new ulong[(int)PipelineNode.Count];
        private readonly ulong[,] _punted = new ulong[(int)PipelineNode.Count, (int)PuntReason.Count];

        public unsafe void Add(NodeCounters* worker)
        {
            for (int n = 0; n < (int)PipelineNode.Count; n++)
            {
                _packets[n] += worker[n].Packets;
                for (int r = 0; r < (int)PuntReason.Count; r++)
                {
                    _punted[n, r] += worker[n].Punted[r];
                }
            }
        }

        public ulong Punted(PipelineNode node, PuntReason reason) => _punted[(int)node, (int)reason];

        public ulong? In(PipelineNode node) => node switch
        {
            PipelineNode.EthernetInput or PipelineNode.Ipv4Rule or PipelineNode.Ipv6Input or PipelineNode.Ipv6Rule => _packets[(int)node],
            PipelineNode.Ipv4Input => Less(Out(PipelineNode.EthernetInput), In(PipelineNode.Ipv6Input)),
            PipelineNode.Ipv4Lookup => Less(Out(PipelineNode.Ipv4Input), In(PipelineNode.Ipv4Rule)),
            PipelineNode.Ipv4Forward => Out(PipelineNode.Ipv4Lookup) + Out(PipelineNode.Ipv4Rule),
            PipelineNode.Ipv6Lookup => Less(Out(PipelineNode.Ipv6Input), In(PipelineNode.Ipv6Rule)),
            PipelineNode.Ipv6Forward => Out(PipelineNode.Ipv6Lookup) + Out(PipelineNode.Ipv6Rule),
            PipelineNode.InterfaceOutput => Out(PipelineNode.Ipv4Forward) + Out(PipelineNode.Ipv6Forward),
            PipelineNode.PacketTap => Punted(PipelineNode.PacketTap, PuntReason.PacketSocket),
            _ => null, // l4-checksum sees all that a virtual port receives, punted ones too
        };

        public ulong? Between(PipelineNode from, PipelineNode to) => to switch
        {
            PipelineNode.Ipv4Forward or PipelineNode.Ipv6Forward or PipelineNode.InterfaceOutput => Out(from),
            PipelineNode.L4Checksum or PipelineNode.PacketTap => null,
            _ => In(to),
        };

        private ulong? Out(PipelineNode node)
        {
            ulong punted = 0;
            for (int r = 0; r < (int)PuntReason.Count; r++)
            {
                punted += _punted[(int)node, r];
            }

            return Less(In(node), punted);
        }

        /// <summary>Counters are read one after the other while workers count on.</summary>
        private static ulong? Less(ulong? a, ulong? b) => a > b ? a - b : 0;
    }
}
