using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics.X86;
using FastPathSync.Packets;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FastPath.Nodes;

/// <summary>
/// ipv6-lookup: destination to nexthop, and on to the one adjacency. As fib6_lookup and fib6_select_path (net/ipv6/route.c)
/// with the rules every namespace is born with: table local, then main. With others ipv6-rule stands in its place.
/// </summary>
/// <remarks>
/// May enter: what ipv6-input let through. Precondition: Key is set, for punted packets too. Nothing is written to a packet here.
/// Leaves behind: Nexthop, a Forward word.
/// Edges:
///   next              a Forward word, at once or through a group's member or the neighbour of an on-link destination.
///   Punt (the word's) the route is Linux's to answer: local, anycast, blackhole, no route, ... (see PuntReason).
///   Punt NoNeighbour  the destination is on-link and its neighbour isn't known: Linux resolves it.
/// </remarks>
internal static unsafe class Ipv6LookupNode
{
    private const ulong ForwardAction = (ulong)NexthopAction.Forward;

    public static void Run(ref PacketVector v, in WorkerTables t)
    {
        int n = v.Count;
        uint* entry = v.Entry;
        ulong* nexthop = v.Nexthop, words = t.Nexthops;
        Adjacency* adjacencies = t.Adjacencies;

        // All lookups at once, so that the cache misses of a burst overlap: punted packets too, which is cheaper than asking.
        t.Tries.Lookup(t.Ipv6Main, v.Key, entry, n);
        if (t.Vrf->LocalFirst6 != 0)
        {
            LocalFirst(ref v, t);
        }

        ulong odd = 0;
        for (int i = 0; i < n; i++)
        {
            // Nothing found is no route; word 0 itself is IPv4's default.
            uint e = entry[i];
            ulong word = Volatile.Read(ref words[e & FibEntry.NexthopMask]);
            word = e == 0 ? 0 : word;
            nexthop[i] = word;
            odd |= (word >> 56) ^ ForwardAction;
            Sse.Prefetch0(adjacencies + (uint)word);
        }

        if (odd != 0)
        {
            Resolve(ref v, t);
        }
    }

    /// <summary>
    /// Table main holds what table local says only prefix by prefix. A local prefix that covers many addresses also beats a
    /// longer one of main (fib6_rule_lookup: rule 0 has table local): then local is looked up by itself.
    /// </summary>
    [SkipLocalsInit]
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void LocalFirst(ref PacketVector v, in WorkerTables t)
    {
        if (t.Ipv6Local < 0)
        {
            return;
        }

        uint* local = stackalloc uint[PacketVector.Size];
        t.Tries.Lookup(t.Ipv6Local, v.Key, local, v.Count);
        for (int i = 0; i < v.Count; i++)
        {
            v.Entry[i] = local[i] != 0 ? local[i] : v.Entry[i];
        }
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
            Ipv6Header* ip = (Ipv6Header*)(v.Data[i] + EthernetHeader.Size);
            if (word.IsGroup)
            {
                word = GroupChoice.Of(word, hash.Ipv6((byte*)ip, v.TotalLength[i]), t);
            }

            if (word.Action == NexthopAction.OnLink)
            {
                word = Neighbour(word, ip->Destination, t);
            }

            if (word.Action != NexthopAction.Forward)
            {
                v.Punt(i, word.Action == NexthopAction.Punt ? word.Reason : PuntReason.RouteUnsupported);
                continue;
            }

            v.Nexthop[i] = word.Value;
        }
    }

    private static NexthopWord Neighbour(NexthopWord word, Ipv6Address destination, in WorkerTables t)
    {
        // In the table of neighbours a mapped address is the IPv4 one: another machine, perhaps.
        int adjacency = destination.IsIpv4Mapped ? -1 : t.Neighbours.Find(word.Index, new IpAddress(destination.High, destination.Low));
        return adjacency < 0 ? NexthopWord.Punt(PuntReason.NoNeighbour) : NexthopWord.Forward(adjacency, word.Mtu);
    }
}
