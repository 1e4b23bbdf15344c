using FastPathSync.SharedMemory;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FastPath;

/// <summary>
/// Where a worker finds the tables of one VRF: pointers into the attached segments, made once for each VRF. All are
/// read-only to it but UseStamps, Counters and Nodes.
/// </summary>
public readonly unsafe struct WorkerTables
{
    public required VrfState* Vrf { get; init; }

    /// <summary>NexthopSegment.Words</summary>
    public required ulong* Nexthops { get; init; }

    public required GroupMember* Members { get; init; }

    public required Adjacency* Adjacencies { get; init; }

    public required NeighbourHash Neighbours { get; init; }

    public required Fib4Reader Fib { get; init; }

    /// <summary>Tables by root slot: IPv6, and IPv4 other than main.</summary>
    public required FibTrieReader Tries { get; init; }

    /// <summary>The policy rules: which of them are a family's says VrfState.</summary>
    public required RuleReader Rules { get; init; }

    /// <summary>Root slots of the IPv6 tables main (local merged in) and local; -1: fpmd keeps none, IPv6 is Linux's.</summary>
    public required int Ipv6Main { get; init; }

    public required int Ipv6Local { get; init; }

    public required LocalAddressFilter LocalAddresses { get; init; }

    /// <summary>The exact answer to what the filter takes for ours; walked on the cold path only.</summary>
    public required RecordTableReader<AddressRecord> Addresses { get; init; }

    /// <summary>By neighbour slot; written when the second differs.</summary>
    public required uint* UseStamps { get; init; }

    /// <summary>This worker's counters by PortId: WorkerSegment.Port(s, 0).</summary>
    public required PortCounters* Counters { get; init; }

    /// <summary>This worker's counters by PipelineNode: WorkerSegment.Nodes(s).</summary>
    public required NodeCounters* Nodes { get; init; }

    /// <summary>CLOCK_MONOTONIC seconds, kept by the control thread of the process (a worker reads no clock).</summary>
    public required uint* CoarseSecond { get; init; }
}
