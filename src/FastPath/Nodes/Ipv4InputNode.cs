using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using FastPathSync.Packets;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FastPath.Nodes;

/// <summary>
/// ipv4-input: is this a packet that Linux would route? What is plain goes on; what is odd is looked at in Linux's own
/// order (ip_rcv_core in net/ipv4/ip_input.c, then ip_route_input_slow in net/ipv4/route.c).
/// </summary>
/// <remarks>
/// May enter: frames with EtherType IPv4 of at least 34 bytes (others are skipped). Edges, all to punt, numbered after
/// RFC 1812 §5.2.2: Truncated (1), ChecksumError (2), HeaderError (3, 4, 5), IpOptions (§4.2.2.6), and by address
/// (§5.3.7) Multicast, Broadcast, MartianDestination, MartianSource; else ipv4-lookup, with Destination and TotalLength.
/// </remarks>
public static unsafe class Ipv4InputNode
{
    /// <summary>Version 4, header of 20 bytes, EtherType IPv4: bytes 12 to 14 of the frame, as loaded.</summary>
    private const uint Plain = 0x45_0008, PlainMask = 0xff_ffff;

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Run(ref PacketVector v, in WorkerTables t)
    {
        LocalAddressFilter local = t.LocalAddresses;
        uint* table24 = t.Fib.Table24;
        uint checkSource = t.Vrf->CheckSource;
        int n = v.Count;
        for (int i = 0; i < n; i++)
        {
            if (v.Verdict[i] != (byte)Verdict.Forward)
            {
                continue;
            }

            byte* p = v.Data[i];
            Vector128<ushort> head = Vector128.Load((ushort*)(p + EthernetHeader.Size)); // up to and with the source
            uint wireDestination = *(uint*)(p + EthernetHeader.Size + Ipv4Header.DestinationOffset);
            uint destination = System.Buffers.Binary.BinaryPrimitives.ReverseEndianness(wireDestination);
            uint source = System.Buffers.Binary.BinaryPrimitives.ReverseEndianness(head.AsUInt32().GetElement(3));
            uint total = System.Buffers.Binary.BinaryPrimitives.ReverseEndianness(head.GetElement(1));

            // The sum of all ten words; each 32-bit half stays below 2^18.
            Vector256<uint> words = Avx2.ConvertToVector256Int32(head).AsUInt32();
            Vector128<ulong> sums = (words.GetLower() + words.GetUpper()).AsUInt64();
            ulong sum = sums.ToScalar() + sums.GetElement(1);
            uint folded = (uint)sum + (uint)(sum >> 32) + (wireDestination & 0xffff) + (wireDestination >> 16);
            folded = (folded & 0xffff) + (folded >> 16);
            folded = (folded & 0xffff) + (folded >> 16);

            uint odd = ((*(uint*)(p + 12) ^ Plain) & PlainMask)
                | (folded ^ 0xffff)
                | (((total - Ipv4Header.Size) | (v.Length[i] - EthernetHeader.Size - total)) & 0x8000_0000)
                | IsSpecial(source >> 24) | IsSpecial(destination >> 24)
                | (local.MayContain(source) ? 1u : 0)
                | checkSource;
            v.Destination[i] = destination;
            v.TotalLength[i] = total;
            Sse.Prefetch0(table24 + (destination >> 8));
            if (odd != 0)
            {
                Classify(ref v, i, in t);
            }
        }
    }

    /// <summary>Nonzero for first octets 0, 127 and 224 to 255, where martians, multicast and broadcast live.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static uint IsSpecial(uint octet) => (octet - 1 >= 223 ? 1u : 0) | (octet == 127 ? 1u : 0);

    /// <summary>The cold path: the verdict of a packet that is not plain. It may well turn out to be an ordinary one.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void Classify(ref PacketVector v, int i, in WorkerTables t)
    {
        Ipv4Header* ip = (Ipv4Header*)(v.Data[i] + EthernetHeader.Size);
        uint length = v.Length[i] - EthernetHeader.Size, headerLength = ip->HeaderLength, total = ip->TotalLength.Value;
        uint source = ip->Source.Value, destination = ip->Destination.Value;
        PuntReason? reason =
            ip->Version != 4 || headerLength < Ipv4Header.Size ? PuntReason.HeaderError
            : headerLength > length ? PuntReason.Truncated
            : InternetChecksum.Fold(InternetChecksum.Sum((byte*)ip, headerLength)) != 0xffff ? PuntReason.ChecksumError
            : total > length ? PuntReason.Truncated
            : total < headerLength ? PuntReason.HeaderError
            : headerLength > Ipv4Header.Size ? PuntReason.IpOptions
            : destination >> 28 == 0xe ? PuntReason.Multicast
            : source >> 28 == 0xe || source is 0 or uint.MaxValue || source >> 24 == 127 ? PuntReason.MartianSource
            : destination == uint.MaxValue ? PuntReason.Broadcast
            : destination == 0 || destination >> 24 == 127 ? PuntReason.MartianDestination
            : IsMartianSource(source, in t) ? PuntReason.MartianSource
            : null;
        if (reason is PuntReason r)
        {
            v.Verdict[i] = (byte)Verdict.Punt;
            v.Reason[i] = (byte)r;
        }
    }

    /// <summary>
    /// fib_validate_source with rp_filter off: our own address is no valid source; and where local routes were added by
    /// hand (CheckSource), nothing is whose lookup ends in a route that isn't unicast. No route at all is no objection.
    /// </summary>
    private static bool IsMartianSource(uint source, in WorkerTables t)
    {
        bool maybeOurs = t.LocalAddresses.MayContain(source);
        if (!maybeOurs && t.Vrf->CheckSource == 0)
        {
            return false;
        }

        NexthopWord w = new(t.Nexthops[t.Fib.Lookup(source)]);
        return w.Action == NexthopAction.Punt
            && (w.Reason == PuntReason.Local || (t.Vrf->CheckSource != 0 && w.Reason is PuntReason.Broadcast or PuntReason.Multicast));
    }
}
