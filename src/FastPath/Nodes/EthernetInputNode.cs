using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using FastPathSync.Packets;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FastPath.Nodes;

/// <summary>
/// ethernet-input: the first node. Counts what was received and tells IPv4 from IPv6.
/// </summary>
/// <remarks>
/// May enter: anything a port received (XDP has kept back what is not for our MAC, but nothing here relies on its parsing).
/// Precondition: Count, Data and Length are set.
/// Edges (IEEE 802.3 §3.2.6, RFC 894, RFC 2464):
///   ipv4-input      EtherType 0x0800 and at least 34 bytes: the next nodes may read a whole IPv4 header.
///   ipv6-input      EtherType 0x86dd and at least 54 bytes: a whole IPv6 header.
///   Punt Truncated  no whole Ethernet header, or not the whole of the IP header behind it.
///   Punt NotIp      any other EtherType.
/// </remarks>
internal static unsafe class EthernetInputNode
{
    private const uint Ipv4Length = EthernetHeader.Size + Ipv4Header.Size, Ipv6Length = EthernetHeader.Size + Ipv6Header.Size;
    private const uint Ipv4OnTheWire = 0x0008, Ipv6OnTheWire = 0xdd86; // 0x0800 and 0x86dd as a little-endian load sees them

    /// <returns>How many packets are for ipv6-input; they stand behind all others.</returns>
    [SkipLocalsInit]
    public static int Run(ref PacketVector v, PortCounters* counters)
    {
        int n = v.Count;
        byte** data = v.Data;
        uint* length = v.Length;
        ulong bytes = 0;
        uint shortest = uint.MaxValue;
        new Span<byte>(v.Verdict, PacketVector.Size).Clear();
        for (int i = 0; i < n; i++)
        {
            Sse.Prefetch0(data[i]);
            bytes += length[i];
            shortest = Math.Min(shortest, length[i]);
        }

        // Rx and RxBytes stand side by side: one 16-byte add for the burst.
        (Vector128.Load(&counters->Rx) + Vector128.Create((ulong)(uint)n, bytes)).Store(&counters->Rx);

        if (n == 0)
        {
            return 0;
        }

        // Most bursts are of one family: that of their first packet.
        if (shortest >= Ipv4Length)
        {
            uint first = *(ushort*)(data[0] + EthernetHeader.TypeOffset), different = 0;
            for (int i = 0; i < n; i++)
            {
                different |= *(ushort*)(data[i] + EthernetHeader.TypeOffset) ^ first;
            }

            if (different == 0 && first == Ipv4OnTheWire)
            {
                return 0;
            }

            if (different == 0 && first == Ipv6OnTheWire && shortest >= Ipv6Length)
            {
                return n;
            }
        }

        return Classify(ref v);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static int Classify(ref PacketVector v)
    {
        ulong ipv6 = 0;
        for (int i = 0; i < v.Count; i++)
        {
            if (!EthernetHeader.TryParse(v.Data[i], v.Length[i], out EthernetHeader* ethernet))
            {
                v.Punt(i, PuntReason.Truncated);
                continue;
            }

            switch (ethernet->Type.Value)
            {
                case EtherType.Ipv4 when v.Length[i] >= Ipv4Length:
                    break;
                case EtherType.Ipv6 when v.Length[i] >= Ipv6Length:
                    ipv6 |= 1ul << i;
                    break;
                case EtherType.Ipv4 or EtherType.Ipv6:
                    v.Punt(i, PuntReason.Truncated);
                    break;
                default:
                    v.Punt(i, PuntReason.NotIp);
                    break;
            }
        }

        int count = BitOperations.PopCount(ipv6);
        if (count != 0 && count != v.Count)
        {
            v.MoveToEnd(ipv6);
        }

        return count;
    }
}
