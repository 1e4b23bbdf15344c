using System.Runtime.InteropServices;
using FastPathSync.FastPath.Nodes;
using FastPathSync.FastPath.Trace;
using FastPathSync.Linux;
using FastPathSync.Packets;
using FastPathSync.SharedMemory;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FastPath.Explain;

/// <summary>What the pipeline makes of a packet.</summary>
/// <param name="Verdict">Forward or Punt.</param>
/// <param name="Reason">A PuntReason when the verdict is Punt, a DropReason when it is Drop.</param>
/// <param name="Passed">A bit for each PipelineNode that it came to.</param>
/// <param name="TxPort">With Forward.</param>
/// <param name="Frame">As it would be sent, or handed to Linux.</param>
/// <param name="Nexthop">The nexthop's word, a forwarded packet's final one; 0 when there was no lookup.</param>
/// <param name="Route">Null when there was no lookup.</param>
internal readonly record struct DryOutcome(Verdict Verdict, byte Reason, ushort Passed, int TxPort, byte[] Frame, ulong Nexthop, RouteDecision? Route);

/// <summary>
/// The pipeline over given packets, in memory of its own: it is the workers' code over the workers' tables, but nothing is
/// counted, no neighbour counts as used, and nothing is sent.
/// </summary>
/// <param name="neighbours">Capacity of the tables' neighbours.</param>
internal sealed unsafe class DryRun(int neighbours) : IDisposable
{
    public const int MaxFrame = 16 << 10, MaxFrames = PacketVector.Size;
    private readonly MemoryMapping _frames = MemoryMapping.Anonymous(MaxFrames * MaxFrame, 0, "packets to explain");
    private readonly MemoryMapping _counters = MemoryMapping.Anonymous((nuint)(Capacities.Ports * sizeof(PortCounters)) + (nuint)(NodeCounters.Nodes * sizeof(NodeCounters)), 0, "counters of explained packets");
    private readonly MemoryMapping _stamps = MemoryMapping.Anonymous(UseStampSegment.BodyLengthFor(neighbours), 0, "use stamps of explained packets");
    private readonly PathRecord _path = new();
    private readonly RouteDecision?[] _routes = new RouteDecision?[MaxFrames];
    private readonly int[] _slots = new int[MaxFrames];
    private PacketVector _vector = PacketVector.Allocate();

    public int Neighbours => neighbours;

    /// <summary>Up to MaxFrames packets of up to MaxFrame bytes.</summary>
    public void Load(IReadOnlyList<ReadOnlyMemory<byte>> packets)
    {
        _vector.Count = packets.Count;
        for (int i = 0; i < packets.Count; i++)
        {
            byte* frame = _frames.Address + (i * MaxFrame);
            packets[i].Span.CopyTo(new Span<byte>(frame, MaxFrame));
            _vector.Data[i] = frame;
            _vector.Length[i] = (uint)packets[i].Length;
            _vector.Frame[i] = (ulong)i;
        }
    }

    /// <summary>By a registered reader of the tables, for they must not be reused meanwhile. Allocates nothing.</summary>
    public void Run(in WorkerTables tables, int rxPort, bool partialChecksums)
    {
        WorkerTables t = tables with
        {
            Counters = (PortCounters*)_counters.Address,
            Nodes = (NodeCounters*)((PortCounters*)_counters.Address + Capacities.Ports),
            UseStamps = (uint*)_stamps.Address,
        };
        _path.Begin();
        Pipeline.Run(ref _vector, t, rxPort, partialChecksums, new PathObserver(_path));
        for (int slot = 0; slot < _vector.Count; slot++)
        {
            _slots[_vector.Frame[slot]] = slot;
            _routes[slot] = RouteOf(slot, t, rxPort);
        }
    }

    /// <summary>In the order in which they were loaded.</summary>
    public IEnumerable<DryOutcome> Outcomes() => Enumerable.Range(0, _vector.Count).Select(i => Outcome(_slots[i]));

    public void Dispose()
    {
        _vector.Free();
        _frames.Dispose();
        _counters.Dispose();
        _stamps.Dispose();
    }

    private DryOutcome Outcome(int slot)
    {
        bool forward = _vector.Verdict[slot] == (byte)Verdict.Forward;
        uint length = forward ? _vector.TxLength[slot] : _vector.Length[slot];
        return new DryOutcome(
            (Verdict)_vector.Verdict[slot], forward ? (byte)0 : _vector.Reason[slot], _path.Passed(slot), forward ? _vector.TxPort[slot] : -1,
            new ReadOnlySpan<byte>(_vector.Data[slot], (int)length).ToArray(), _path.Nexthop(slot), _routes[slot]);
    }

    /// <summary>Which rule, prefix and nexthop: the rules' walk is made once more, for the nodes keep only the word.</summary>
    private RouteDecision? RouteOf(int slot, in WorkerTables t, int rxPort)
    {
        uint entry = _path.Entry(slot);
        byte* ip = _vector.Data[slot] + EthernetHeader.Size;
        foreach (PipelineNode node in (ReadOnlySpan<PipelineNode>)[PipelineNode.Ipv4Lookup, PipelineNode.Ipv6Lookup, PipelineNode.Ipv4Rule, PipelineNode.Ipv6Rule])
        {
            if ((_path.Passed(slot) >> (int)node & 1) == 0)
            {
                continue;
            }

            RuleList rules = new(node == PipelineNode.Ipv4Rule ? t.Vrf->Rules4 : t.Vrf->Rules6);
            return node switch
            {
                PipelineNode.Ipv4Rule => t.Rules.Ipv4(rules, RuleKeys.OfIpv4(ip, _vector.TotalLength[slot], rxPort, rules)),
                PipelineNode.Ipv6Rule => t.Rules.Ipv6(rules, RuleKeys.OfIpv6(ip, rxPort, rules)),
                _ => new RouteDecision(new NexthopWord(_path.Nexthop(slot)), (uint)FibEntry.Nexthop(entry), FibEntry.Depth(entry), uint.MaxValue),
            };
        }

        return null;
    }
}
