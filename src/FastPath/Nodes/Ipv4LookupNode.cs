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
        uint* table24 = t.Fib.Table24, groups = t.Fib.Groups;

        // Three passes of independent loads, so that the cache misses of a burst overlap. Packets punted before have an
        // old destination here; looking it up is harmless and cheaper than asking.
        uint grouped = 0;
        int i = 0;
        for (; i <= n - 4; i += 4)
        {
            uint e0 = Volatile.Read(ref table24[destination[i] >> 8]), e1 = Volatile.Read(ref table24[destination[i + 1] >> 8]);
            uint e2 = Volatile.Read(ref table24[destination[i + 2] >> 8]), e3 = Volatile.Read(ref table24[destination[i + 3] >> 8]);
            entry[i] = e0;
            entry[i + 1] = e1;
            entry[i + 2] = e2;
            entry[i + 3] = e3;
            grouped |= e0 | e1 | e2 | e3;
        }

        for (; i < n; i++)
        {
            uint e = Volatile.Read(ref table24[destination[i] >> 8]);
            entry[i] = e;
            grouped |= e;
        }

        if ((grouped & Fib4Reader.GroupFlag) != 0)
        {
            for (i = 0; i < n; i++)
            {
                if ((entry[i] & Fib4Reader.GroupFlag) != 0)
                {
                    entry[i] = Volatile.Read(ref groups[((entry[i] & Fib4Reader.IndexMask) << 8) | (destination[i] & 0xff)]);
                }
            }
        }

        ulong* words = t.Nexthops;
        Adjacency* adjacencies = t.Adjacencies;
        ulong odd = 0;
        for (i = 0; i <= n - 4; i += 4)
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
