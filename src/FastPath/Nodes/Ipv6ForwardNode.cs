using System.Runtime.CompilerServices;
using FastPathSync.Packets;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FastPath.Nodes;

/// <summary>
/// ipv6-forward: may it go on, and one hop less to live. As ip6_forward (net/ipv6/ip6_output.c); RFC 8200 §3, RFC 4443.
/// </summary>
/// <remarks>
/// May enter: what ipv6-lookup let through. Precondition: TotalLength, and Nexthop is a Forward word.
/// Leaves behind: Adjacency; the hop limit is rewritten, for from here on the packet is surely forwarded.
/// Edges, in the order in which Linux asks (all of them after the route lookup):
///   Punt TtlExpired           hop limit 0 or 1: Linux says "time exceeded" (RFC 4443 §3.3).
///   Punt RedirectNeeded       out through the port it came in by: whether an ND redirect is due is for Linux to judge
///                             (ndisc_send_redirect; RFC 4861 §8.2).
///   Punt FragmentationNeeded  longer than the MTU of the route or interface: Linux says "packet too big" (RFC 4443 §3.2).
///   next                      everything else. What ip6_forward says of sources has been said in ipv6-input.
/// </remarks>
internal static unsafe class Ipv6ForwardNode
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

        // No port has this number: where Linux sends no redirects, none is the way back.
        int wayBack = ((Families)t.Vrf->SendRedirects[rxPort] & Families.Ipv6) != Families.None ? rxPort : -1;
        for (int i = 0; i < n; i++)
        {
            if (verdict[i] != (byte)Verdict.Forward)
            {
                continue;
            }

            NexthopWord word = new(nexthop[i]);
            byte* hopLimit = data[i] + EthernetHeader.Size + Ipv6Header.HopLimitOffset;
            byte old = *hopLimit;
            bool expired = old <= 1, tooLong = totalLength[i] > word.Mtu;
            bool back = adjacencies[word.Index].PortId == wayBack;
            if (expired | tooLong | back)
            {
                Refuse(ref v, i, expired, back);
                continue;
            }

            *hopLimit = (byte)(old - 1);
            adjacency[i] = (int)word.Index;
        }
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void Refuse(ref PacketVector v, int i, bool expired, bool back) =>
        v.Punt(i, expired ? PuntReason.TtlExpired : back ? PuntReason.RedirectNeeded : PuntReason.FragmentationNeeded);
}
