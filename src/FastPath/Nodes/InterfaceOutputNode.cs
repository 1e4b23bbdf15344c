using FastPathSync.Packets;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FastPath.Nodes;

/// <summary>
/// interface-output: the last node of a forwarded packet. New MAC addresses, the port, the length; and the neighbour is
/// marked as used. As neigh_hh_output (include/net/neighbour.h); RFC 894, RFC 2464, RFC 1812 §3.3.
/// </summary>
/// <remarks>
/// May enter: what ipv4-forward and ipv6-forward let through. Precondition: Adjacency, TotalLength.
/// Edges:
///   Forward  TxPort and TxLength are set. The length is the IP packet's: padding that the last hop's Ethernet added is
///            cut, as ip_rcv_core and ip6_rcv_core cut it (pskb_trim_rcsum); whoever sends on real Ethernet pads anew.
/// </remarks>
internal static unsafe class InterfaceOutputNode
{
    public static void Run(ref PacketVector v, in WorkerTables t)
    {
        int n = v.Count;
        byte** data = v.Data;
        byte* verdict = v.Verdict;
        uint* totalLength = v.TotalLength, txLength = v.TxLength, stamps = t.UseStamps;
        ushort* txPort = v.TxPort;
        int* adjacency = v.Adjacency;
        Adjacency* adjacencies = t.Adjacencies;
        uint second = Volatile.Read(ref *t.CoarseSecond);
        for (int i = 0; i < n; i++)
        {
            if (verdict[i] != (byte)Verdict.Forward)
            {
                continue;
            }

            Adjacency* a = adjacencies + adjacency[i];
            byte* frame = data[i];
            *(ulong*)frame = a->MacLow;
            *(uint*)(frame + 8) = a->MacHigh;
            txPort[i] = a->PortId;
            txLength[i] = EthernetHeader.Size + totalLength[i];

            // Only when it differs: the line stays shared among the workers that use the same neighbour.
            if (stamps[a->Neighbour] != second)
            {
                Volatile.Write(ref stamps[a->Neighbour], second);
            }
        }
    }
}
