using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics.X86;
using FastPathSync.Packets;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FastPath.Nodes;

/// <summary>
/// ipv4-lookup: destination to nexthop, and on to the one adjacency. As fib_lookup and fib_select_path; RFC 1812 §5.2.4.3.
/// </summary>
/// <remarks>
/// May enter: what ipv4-input let through. Precondition: Destination is set. Nothing is written to a packet here.
/// Leaves behind: Nexthop, a Forward word.
/// Edges:
///   next              a Forward word, at once or through a group's member or the neighbour of an on-link destination.
///   Punt (the word's) the route is Linux's to answer: local, broadcast, blackhole, no route, ... (see PuntReason).
///   Punt NoNeighbour  the destination is on-link and its neighbour isn't known: Linux resolves it.
/// </remarks>
internal static unsafe class Ipv4LookupNode
{
    private const ulong ForwardAction = (ulong)NexthopAction.Forward;

    public static void Run(ref PacketVector v, in WorkerTables t)
    {
        int n = v.Count;
        uint* destination = v.Destination, entry = v.Entry;
        ulong* nexthop = v.Nexthop;

        // All lookups at once, so that the cache misses of a burst overlap: punted packets too, whose destination is an old one.
        t.Fib.Lookup(destination, entry, n);
        ulong* words = t.Nexthops;
        Adjacency* adjacencies = t.Adjacencies;
        ulong odd = 0;
        int i = 0;
        for (; i <= n - 4; i += 4)
        {
            odd |= Follow(words, entry[i], nexthop + i, adjacencies) | Follow(words, entry[i + 1], nexthop + i + 1, adjacencies)
                | Follow(words, entry[i + 2], nexthop + i + 2, adjacencies) | Follow(words, entry[i + 3], nexthop + i + 3, adjacencies);
        }

        for (; i < n; i++)
        {
            odd |= Follow(words, entry[i], nexthop + i, adjacencies);
        }

        if (odd != 0)
        {
            Resolve(ref v, t);
        }
    }

    /// <returns>0 when it is a Forward word.</returns>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static ulong Follow(ulong* words, uint entry, ulong* nexthop, Adjacency* adjacencies)
    {
        ulong word = Volatile.Read(ref words[entry & Fib4Reader.IndexMask]);
        *nexthop = word;
        Sse.Prefetch0(adjacencies + (uint)word);
        return (word >> 56) ^ ForwardAction;
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    internal static void Resolve(ref PacketVector v, in WorkerTables t)
    {
        FlowHash hash = new(t.Vrf);
        for (int i = 0; i < v.Count; i++)
        {
            if (v.Verdict[i] != (byte)Verdict.Forward)
            {
                continue;
            }

            NexthopWord word = new(v.Nexthop[i]);
            if (word.IsGroup)
            {
                word = GroupChoice.Of(word, hash.Ipv4(v.Data[i] + EthernetHeader.Size, v.TotalLength[i]), t);
            }

            if (word.Action == NexthopAction.OnLink)
            {
                int adjacency = t.Neighbours.Find(word.Index, IpAddress.FromV4(v.Destination[i]));
                word = adjacency < 0 ? NexthopWord.Punt(PuntReason.NoNeighbour) : NexthopWord.Forward(adjacency, word.Mtu);
            }

            if (word.Action != NexthopAction.Forward)
            {
                v.Punt(i, word.Action == NexthopAction.Punt ? word.Reason : PuntReason.RouteUnsupported);
                continue;
            }

            v.Nexthop[i] = word.Value;
        }
    }
}
