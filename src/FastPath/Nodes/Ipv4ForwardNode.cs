using System.Runtime.CompilerServices;
using FastPathSync.Packets;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FastPath.Nodes;

/// <summary>
/// ipv4-forward: what Linux does in ip_forward (net/ipv4/ip_forward.c): checks, TTL, and the neighbour's addresses.
/// </summary>
/// <remarks>
/// May enter: packets whose Nexthop word is known (no Group). Nothing is written before every check has passed.
/// Edges to punt: the word's own reason; NoNeighbour (on-link, unresolved); TtlExpired (RFC 1812 §5.3.1, after the route
/// as in Linux); FragmentationNeeded (§4.2.2.7, DF or not); RedirectNeeded (§5.2.7.2: out where it came in).
/// Else interface-output, with Adjacency.
/// </remarks>
public static unsafe class Ipv4ForwardNode
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Run(ref PacketVector v, in WorkerTables t, int rxPort)
    {
        Adjacency* adjacencies = t.Adjacencies;
        uint now = *t.CoarseSecond;
        uint* stamps = t.UseStamps;
        int n = v.Count;
        for (int i = 0; i < n; i++)
        {
            if (v.Verdict[i] != (byte)Verdict.Forward)
            {
                continue;
            }

            NexthopWord word = new(v.Nexthop[i]);
            int index = (int)word.Index;
            if (word.Action != NexthopAction.Forward)
            {
                index = word.Action == NexthopAction.OnLink ? t.Neighbours.Find(word.Index, v.Destination[i]) : -1;
                if (index < 0)
                {
                    Punt(ref v, i, word.Action == NexthopAction.OnLink ? PuntReason.NoNeighbour : word.Reason);
                    continue;
                }
            }

            byte* p = v.Data[i];
            Adjacency* a = adjacencies + index;
            uint* ttl = (uint*)(p + EthernetHeader.Size + Ipv4Header.TtlOffset);
            if ((byte)*ttl <= 1 || v.TotalLength[i] > word.Mtu || a->PortId == rxPort)
            {
                Punt(ref v, i, (byte)*ttl <= 1 ? PuntReason.TtlExpired
                    : a->PortId == rxPort ? PuntReason.RedirectNeeded : PuntReason.FragmentationNeeded);
                continue;
            }

            *(ulong*)p = a->MacLow;
            *(uint*)(p + 8) = a->MacHigh;
            *ttl = InternetChecksum.DecrementTtl(*ttl);
            if (stamps[a->Neighbour] != now)
            {
                stamps[a->Neighbour] = now;
            }

            v.Adjacency[i] = index;
        }
    }

    private static void Punt(ref PacketVector v, int i, PuntReason reason)
    {
        v.Verdict[i] = (byte)Verdict.Punt;
        v.Reason[i] = (byte)reason;
    }
}
