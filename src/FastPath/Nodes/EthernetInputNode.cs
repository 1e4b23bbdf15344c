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
        new Span<byte>(v.Verdict, PacketVector.Size).Clear();
        Vector256<uint> sum = Vector256<uint>.Zero, shortest = Vector256<uint>.AllBitsSet;
        int i = 0;
        for (; i <= n - 8; i += 8)
        {
            Vector256<uint> lengths = Vector256.Load(length + i);
            sum += lengths;
            shortest = Vector256.Min(shortest, lengths);
            Sse.Prefetch0(data[i]);
            Sse.Prefetch0(data[i + 1]);
            Sse.Prefetch0(data[i + 2]);
            Sse.Prefetch0(data[i + 3]);
            Sse.Prefetch0(data[i + 4]);
            Sse.Prefetch0(data[i + 5]);
            Sse.Prefetch0(data[i + 6]);
            Sse.Prefetch0(data[i + 7]);
        }

        ulong bytes = Vector256.Sum(sum);
        uint suspect = Vector256.LessThanAny(shortest, Vector256.Create(Ipv4Length)) ? 1u : 0u;
        for (; i < n; i++)
        {
            Sse.Prefetch0(data[i]);
            bytes += length[i];
            suspect |= length[i] < Ipv4Length ? 1u : 0u;
        }

        // Rx and RxBytes stand side by side: one 16-byte add for the burst.
        (Vector128.Load(&counters->Rx) + Vector128.Create((ulong)(uint)n, bytes)).Store(&counters->Rx);

        if (suspect == 0)
        {
            for (i = 0; i <= n - 4; i += 4)
            {
                suspect |= (Type(data[i]) ^ Ipv4OnTheWire) | (Type(data[i + 1]) ^ Ipv4OnTheWire)
                    | (Type(data[i + 2]) ^ Ipv4OnTheWire) | (Type(data[i + 3]) ^ Ipv4OnTheWire);
            }

            for (; i < n; i++)
            {
                suspect |= Type(data[i]) ^ Ipv4OnTheWire;
            }
        }

        return suspect == 0 ? 0 : IsAllIpv6(v) ? n : Classify(ref v);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static uint Type(byte* frame) => *(ushort*)(frame + EthernetHeader.TypeOffset);

    /// <summary>Most bursts are of one family.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static bool IsAllIpv6(in PacketVector v)
    {
        int n = v.Count;
        byte** data = v.Data;
        uint* length = v.Length;
        uint suspect = 0;
        for (int i = 0; i < n; i++)
        {
            suspect |= length[i] < Ipv6Length ? 1u : 0u;
        }

        for (int i = 0; i < n && suspect == 0; i++)
        {
            suspect |= Type(data[i]) ^ Ipv6OnTheWire;
        }

        return suspect == 0;
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
