using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using FastPathSync.Packets;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FastPath.Nodes;

/// <summary>
/// ethernet-input: the first node. Counts what was received and lets through what can be an IPv4 packet.
/// </summary>
/// <remarks>
/// May enter: anything a port received (XDP has kept back what is not for our MAC, but nothing here relies on its parsing).
/// Precondition: Count, Data and Length are set.
/// Edges (IEEE 802.3 §3.2.6, RFC 894):
///   next            EtherType 0x0800 and at least 34 bytes: the next nodes may read a whole IPv4 header.
///   Punt Truncated  no whole Ethernet header, or IPv4 with less than 20 bytes behind it.
///   Punt NotIp      any other EtherType.
/// </remarks>
internal static unsafe class EthernetInputNode
{
    private const uint MinimumLength = EthernetHeader.Size + Ipv4Header.Size;
    private const ushort Ipv4OnTheWire = 0x0008; // 0x0800 as a little-endian load sees it

    [SkipLocalsInit]
    public static void Run(ref PacketVector v, PortCounters* counters)
    {
        int n = v.Count;
        byte** data = v.Data;
        uint* length = v.Length;
        ulong bytes = 0;
        uint suspect = 0;
        new Span<byte>(v.Verdict, PacketVector.Size).Clear();
        for (int i = 0; i < n; i++)
        {
            Sse.Prefetch0(data[i]);
            bytes += length[i];
            suspect |= length[i] < MinimumLength ? 1u : 0u;
        }

        // Rx and RxBytes stand side by side: one 16-byte add for the burst.
        (Vector128.Load(&counters->Rx) + Vector128.Create((ulong)(uint)n, bytes)).Store(&counters->Rx);

        if (suspect == 0)
        {
            for (int i = 0; i < n; i++)
            {
                suspect |= (uint)(*(ushort*)(data[i] + EthernetHeader.TypeOffset) ^ Ipv4OnTheWire);
            }
        }

        if (suspect != 0)
        {
            Classify(ref v);
        }
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void Classify(ref PacketVector v)
    {
        for (int i = 0; i < v.Count; i++)
        {
            if (!EthernetHeader.TryParse(v.Data[i], v.Length[i], out EthernetHeader* ethernet))
            {
                v.Punt(i, PuntReason.Truncated);
            }
            else if (ethernet->Type.Value != EtherType.Ipv4)
            {
                v.Punt(i, PuntReason.NotIp);
            }
            else if (v.Length[i] < MinimumLength)
            {
                v.Punt(i, PuntReason.Truncated);
            }
        }
    }
}
