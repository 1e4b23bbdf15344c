using System.Runtime.CompilerServices;
using FastPathSync.Packets;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FastPath.Nodes;

/// <summary>
/// interface-output: through which port, and how many bytes. The worker puts the frame on that port's TX ring.
/// </summary>
/// <remarks>
/// May enter: rewritten packets with Adjacency set. No edges. Ethernet padding is not passed on: Linux trims to the total
/// length on input (pskb_trim_rcsum in ip_rcv_core), and hardware pads anew.
/// </remarks>
public static unsafe class InterfaceOutputNode
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Run(ref PacketVector v, in WorkerTables t)
    {
        Adjacency* adjacencies = t.Adjacencies;
        int n = v.Count;
        for (int i = 0; i < n; i++)
        {
            if (v.Verdict[i] == (byte)Verdict.Forward)
            {
                v.TxPort[i] = adjacencies[v.Adjacency[i]].PortId;
                v.TxLength[i] = EthernetHeader.Size + v.TotalLength[i];
            }
        }
    }
}
