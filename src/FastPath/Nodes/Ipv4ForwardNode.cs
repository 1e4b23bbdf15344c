using System.Runtime.CompilerServices;
using FastPathSync.Packets;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FastPath.Nodes;

/// <summary>
/// ipv4-forward: may it go on, and one hop less to live. As ip_forward (net/ipv4/ip_forward.c); RFC 1812 §5.3.1.
/// </summary>
/// <remarks>
/// May enter: what ipv4-lookup let through. Precondition: TotalLength, and Nexthop is a Forward word.
/// Leaves behind: Adjacency; TTL and header checksum are rewritten, for from here on the packet is surely forwarded.
/// Edges, in the order in which Linux asks (all of them after the route lookup):
///   Punt TtlExpired           TTL 0 or 1: Linux says "time exceeded" (RFC 792).
///   Punt FragmentationNeeded  longer than the MTU of the route or interface; with DF Linux says so, without it fragments.
///   Punt RedirectNeeded       out through the port it came in by, and send_redirects is on there: whether an ICMP redirect is
///                             due is for Linux to judge (RFC 1812 §5.2.7.2).
///   next                      everything else.
/// </remarks>
internal static unsafe class Ipv4ForwardNode
{
    public static void Run(ref PacketVector v, in WorkerTables t, int rxPort)
    {
        int n = v.Count;
        byte** data = v.Data;
        byte* verdict = v.Verdict;
        uint* totalLength = v.TotalLength;
        ulong* nexthop = v.Nexthop;
        int* adjacency = v.Adjacency;
        Adjacency* adjacencies = t.Adjacencies;
        int redirecting = ((Families)Volatile.Read(ref t.Vrf->SendRedirects[rxPort]) & Families.Ipv4) != 0 ? rxPort : -1;
        for (int i = 0; i < n; i++)
        {
            if (verdict[i] != (byte)Verdict.Forward)
            {
                continue;
            }

            NexthopWord word = new(nexthop[i]);
            uint* ttlProtocolCheck = (uint*)(data[i] + EthernetHeader.Size + Ipv4Header.TtlOffset);
            uint old = *ttlProtocolCheck;
            bool expired = (byte)old <= 1, tooLong = totalLength[i] > word.Mtu;
            bool back = adjacencies[word.Index].PortId == redirecting;
            if (expired | tooLong | back)
            {
                Refuse(ref v, i, expired, tooLong);
                continue;
            }

            *ttlProtocolCheck = InternetChecksum.DecrementTtl(old);
            adjacency[i] = (int)word.Index;
        }
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void Refuse(ref PacketVector v, int i, bool expired, bool tooLong) =>
        v.Punt(i, expired ? PuntReason.TtlExpired : tooLong ? PuntReason.FragmentationNeeded : PuntReason.RedirectNeeded);
}
