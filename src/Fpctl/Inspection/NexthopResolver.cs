using System.Runtime.InteropServices;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.Fpctl.Inspection;

/// <summary>What a worker does with a packet that reached a nexthop: one way out of it.</summary>
/// <param name="Forward">False: the packet is Linux's, for Reason.</param>
/// <param name="OnLink">The next hop is the destination itself.</param>
/// <param name="Adjacency">Of a forwarded packet; -1 when each destination has its own (no destination was given).</param>
/// <param name="Weight">Among the members of a group; 0 outside groups.</param>
/// <param name="Nexthop">Index of the nexthop (of the member's, in a group).</param>
internal readonly record struct Resolution(
    bool Forward, PuntReason Reason, bool OnLink, int Adjacency, uint IfIndex, uint Mtu, uint Weight, int Nexthop);

/// <summary>Follows nexthop words to adjacencies as the workers do.</summary>
internal sealed class NexthopResolver(InstanceTables tables)
{
    /// <summary>
    /// The ways out of a nexthop: one, or one per member of a group (a worker chooses by flow hash). Without a destination an
    /// on-link nexthop counts as forwarding, since what happens depends on the neighbour. Weights of a resilient group are
    /// how many buckets its members have.
    /// </summary>
    public IReadOnlyList<Resolution> Resolve(int nexthop, IpAddress? destination)
    {
        NexthopWord word = tables.Word(nexthop);
        if (!word.IsGroup)
        {
            return [Single(nexthop, word, destination, weight: 0)];
        }

        GroupMember[] run = new GroupMember[word.MemberCount];
        for (int i = 0; i < run.Length; i++)
        {
            run[i] = tables.Member((int)word.Index + i);
        }

        return word.Action == NexthopAction.Group
            ? [.. run.Select(m => Member(m.Nexthop, m.Weight, destination))]
            : [.. run.CountBy(b => b.Nexthop).Select(b => Member(b.Key, (uint)b.Value, destination))];
    }

    private Resolution Member(int nexthop, uint weight, IpAddress? destination)
    {
        NexthopWord w = tables.Word(nexthop);
        return w.IsGroup
                ? new Resolution(false, PuntReason.RouteUnsupported, false, -1, 0, 0, weight, nexthop) // the kernel nests none
                : Single(nexthop, w, destination, weight);
    }

    private Resolution Single(int nexthop, NexthopWord word, IpAddress? destination, uint weight)
    {
        switch (word.Action)
        {
            case NexthopAction.Forward:
                Adjacency a = tables.Adjacency((int)word.Index);
                return new Resolution(true, default, false, (int)word.Index, a.IfIndex, word.Mtu, weight, nexthop);
            case NexthopAction.OnLink:
                int adjacency = destination is IpAddress d ? tables.NeighbourHash.Find(word.Index, d) : -1;
                bool forward = destination is null || adjacency >= 0;
                return new Resolution(forward, PuntReason.NoNeighbour, true, adjacency, word.Index, word.Mtu, weight, nexthop);
            default:
                return new Resolution(false, word.Reason, false, -1, 0, word.Mtu, weight, nexthop);
        }
    }
}

/// <summary>The MAC addresses inside an adjacency: the first 12 bytes of the frame it writes.</summary>
internal static class AdjacencyMac
{
    public static byte[] Destination(in Adjacency a) => Bytes(in a)[..6].ToArray();

    public static byte[] Source(in Adjacency a) => Bytes(in a)[6..12].ToArray();

    private static ReadOnlySpan<byte> Bytes(in Adjacency a) => MemoryMarshal.AsBytes(new ReadOnlySpan<Adjacency>(in a));
}
