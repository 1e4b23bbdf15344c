using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using FastPathSync.Packets;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FastPath.Nodes;

/// <summary>
/// ipv4-input: is this an IPv4 packet that Linux would route? As ip_rcv_core (net/ipv4/ip_input.c) and the first half of
/// ip_route_input_slow (net/ipv4/route.c) decide; RFC 1812 §5.2.2 and §5.3.7.
/// </summary>
/// <remarks>
/// May enter: frames of at least 34 bytes with EtherType 0x0800. Nothing is written to a packet here.
/// Leaves behind: Destination, TotalLength. Edges, in the order in which Linux asks:
///   Punt HeaderError         version is not 4, IHL below 5, or total length below the header's.
///   Punt Truncated           the frame ends before the header, or before the total length.
///   Punt ChecksumError       of the header (RFC 1071).
///   Punt IpOptions           IHL above 5.
///   Punt Multicast           destination in 224/4.
///   Punt MartianSource       source in 224/4, 255.255.255.255, 0.0.0.0, 127/8; or an address of our own.
///   Punt ReversePath and others: see <see cref="Ipv4SourceCheck"/>.
///   Punt Broadcast           destination 255.255.255.255.
///   Punt MartianDestination  destination 0.0.0.0 or in 127/8.
///   next                     everything else; 240/4 but for the broadcast address, and 0/8 but for 0.0.0.0, are valid.
/// </remarks>
internal static unsafe class Ipv4InputNode
{
    public static void Run(ref PacketVector v, in WorkerTables t, int rxPort, RuleList rules)
    {
        int n = v.Count;
        byte** data = v.Data;
        byte* verdict = v.Verdict;
        uint* length = v.Length, destination = v.Destination, totalLength = v.TotalLength, odd = v.Odd;
        Fib4Reader fib = t.Fib;
        LocalAddressFilter local = t.LocalAddresses;
        uint any = 0;
        for (int i = 0; i < n;)
        {
            if (Ipv4HeaderColumns.IsSupported && i <= n - 8 && *(ulong*)(verdict + i) == 0)
            {
                any |= Eight(data + i, length + i, destination + i, totalLength + i, odd + i, fib, local);
                i += 8;
                continue;
            }

            if (verdict[i] == (byte)Verdict.Forward)
            {
                any |= One(data[i], length[i], destination + i, totalLength + i, odd + i, fib, local);
            }

            i++;
        }

        bool full = Ipv4SourceCheck.IsFull(t.Vrf, rxPort);
        if (any != 0)
        {
            ClassifyOdd(ref v, t, checkSource: !full);
        }

        if (full && rules.IsDefault) // with rules the way back is looked up once it is known where the packet goes
        {
            Ipv4SourceCheck.All(ref v, t, rxPort);
        }
    }

    // No branch in either: whatever is not zero in the end has the packet looked at again, by Classify. It may prove sound.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static uint One(byte* frame, uint length, uint* destination, uint* totalLength, uint* odd, Fib4Reader fib, LocalAddressFilter local)
    {
        byte* ip = frame + EthernetHeader.Size;
        uint total = ((Be16*)(ip + Ipv4Header.TotalLengthOffset))->Value;
        uint source = ((Be32*)(ip + Ipv4Header.SourceOffset))->Value;
        uint to = ((Be32*)(ip + Ipv4Header.DestinationOffset))->Value;
        *destination = to;
        fib.Prefetch(destination, 1);
        *totalLength = total;
        return *odd = (uint)(ip[0] ^ Ipv4Header.Plain) | ChecksumFault(ip)
            | (((total - Ipv4Header.Size) | (length - EthernetHeader.Size - total)) >> 31)
            | SpecialFirstByte[ip[Ipv4Header.SourceOffset]] | SpecialFirstByte[ip[Ipv4Header.DestinationOffset]]
            | (local.MayContain(source) ? 1u : 0u);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static uint Eight(byte** frames, uint* length, uint* destination, uint* totalLength, uint* odd, Fib4Reader fib, LocalAddressFilter local)
    {
        Ipv4HeaderColumns headers = new(frames);
        headers.Destination.Store(destination);
        headers.TotalLength.Store(totalLength);
        Vector256<uint> faults = headers.Faults(Vector256.Load(length)) | local.MayContain(headers.Source);
        faults.Store(odd);
        fib.Prefetch(destination, 8);
        return faults == Vector256<uint>.Zero ? 0u : 1u;
    }

    /// <summary>1 for the first bytes of addresses that may be special: 0, 127, 224-239, 255.</summary>
    private static ReadOnlySpan<byte> SpecialFirstByte =>
    [
        1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
    ];

    /// <summary>0 when the sum over a 20-byte header is right.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static uint ChecksumFault(byte* ip)
    {
        // Eight of the ten words as four lanes, each the sum of two; then the lanes as two packed pairs.
        Vector128<uint> x = Vector128.Load((uint*)ip);
        Vector128<ulong> pairs = ((x & Vector128.Create(0xffffu)) + (x >>> 16)).AsUInt64();
        ulong two = pairs.ToScalar() + pairs.GetElement(1);
        uint last = *(uint*)(ip + Ipv4Header.DestinationOffset);
        uint sum = (uint)two + (uint)(two >> 32) + (last & 0xffff) + (last >> 16);

        // One fold is enough: ten words sum to less than 10 * 0x10000, so a multiple of 0xffff folds to 0xffff at once.
        return ((sum & 0xffff) + (sum >> 16)) ^ 0xffff;
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void ClassifyOdd(ref PacketVector v, in WorkerTables t, bool checkSource)
    {
        for (int i = 0; i < v.Count; i++)
        {
            if (v.Verdict[i] != (byte)Verdict.Forward || v.Odd[i] == 0)
            {
                continue;
            }

            if (Fault((Ipv4Header*)(v.Data[i] + EthernetHeader.Size), v.Length[i] - EthernetHeader.Size) is PuntReason reason)
            {
                v.Punt(i, reason);
            }
            else if (checkSource)
            {
                Ipv4SourceCheck.One(ref v, t, i);
            }
        }
    }

    private static PuntReason? Fault(Ipv4Header* ip, uint room)
    {
        if (ip->Version != 4 || ip->HeaderLength < Ipv4Header.Size)
        {
            return PuntReason.HeaderError;
        }

        if (room < ip->HeaderLength)
        {
            return PuntReason.Truncated;
        }

        if (InternetChecksum.Fold(InternetChecksum.Sum((byte*)ip, ip->HeaderLength)) != 0xffff)
        {
            return PuntReason.ChecksumError;
        }

        uint total = ip->TotalLength.Value;
        if (room < total)
        {
            return PuntReason.Truncated;
        }

        if (total < ip->HeaderLength)
        {
            return PuntReason.HeaderError;
        }

        return ip->HeaderLength > Ipv4Header.Size ? PuntReason.IpOptions : Martian(ip->Source.Value, ip->Destination.Value);
    }

    private static PuntReason? Martian(uint source, uint destination) =>
        (destination >> 28) == 0xe ? PuntReason.Multicast
        : (source >> 28) == 0xe || source == uint.MaxValue ? PuntReason.MartianSource
        : destination == uint.MaxValue ? PuntReason.Broadcast
        : source == 0 ? PuntReason.MartianSource
        : destination == 0 || (destination >> 24) == 127 ? PuntReason.MartianDestination
        : (source >> 24) == 127 ? PuntReason.MartianSource
        : null;
}
