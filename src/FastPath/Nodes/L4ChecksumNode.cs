using System.Runtime.CompilerServices;
using FastPathSync.Packets;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FastPath.Nodes;

/// <summary>
/// l4-checksum: does the sum that a sender behind a virtual device left to hardware that doesn't exist. As
/// skb_checksum_help (net/core/dev.c).
/// </summary>
/// <remarks>
/// A local stack sends over veth or TAP with CHECKSUM_PARTIAL: the TCP or UDP checksum field holds the folded sum of the
/// pseudo header, and a mark in the skb says so. AF_XDP loses the mark. Here the value itself is the mark: it is compared
/// in every packet, the payload is summed only when it matches, and a checksum that is right as it stands is left alone
/// (one in 65,536 looks like that by chance). Other offloads can't be seen from the bytes: SCTP's CRC, and checksums
/// inside a tunnel. ICMPv6 is always summed by the one who sends it.
///
/// May enter: the whole burst of a virtual port or one in generic mode, last of all, whatever the verdicts: a punted packet must reach Linux
/// as Linux would have had it. Precondition: TotalLength of forwarded ones; what the headers of punted ones say is checked
/// here. Packets punted because their headers are in error, and fragments, are left alone.
/// Edges: none; the verdict stays.
/// </remarks>
internal static unsafe class L4ChecksumNode
{
    public static void Run(ref PacketVector v, PortCounters* counters)
    {
        int n = v.Count;
        byte** data = v.Data;
        byte* verdict = v.Verdict;
        uint* totalLength = v.TotalLength;
        uint completed = 0;
        for (int i = 0; i < n; i++)
        {
            byte* ip = data[i] + EthernetHeader.Size;
            uint total = totalLength[i];
            if (verdict[i] == (byte)Verdict.Forward || IsWhole(ref v, i, out total))
            {
                completed += (*ip & 0xf0) == Ipv6Header.VersionBits ? Look((Ipv6Header*)ip, total) : Look((Ipv4Header*)ip, total);
            }
        }

        counters->ChecksumsCompleted += completed;
    }

    /// <summary>A punted packet was perhaps never looked at (demoted): is it IP, with all that its lengths promise?</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static bool IsWhole(ref PacketVector v, int i, out uint total)
    {
        total = 0;
        if ((PuntReason)v.Reason[i] is PuntReason.HeaderError or PuntReason.ChecksumError
            || !EthernetHeader.TryParse(v.Data[i], v.Length[i], out EthernetHeader* ethernet))
        {
            return false;
        }

        byte* bytes = v.Data[i] + EthernetHeader.Size;
        uint room = v.Length[i] - EthernetHeader.Size, least;
        if (ethernet->Type.Value == EtherType.Ipv4 && Ipv4Header.TryParse(bytes, room, out Ipv4Header* ip4))
        {
            (total, least) = (ip4->TotalLength.Value, ip4->HeaderLength);
        }
        else if (ethernet->Type.Value == EtherType.Ipv6 && Ipv6Header.TryParse(bytes, room, out Ipv6Header* ip6))
        {
            (total, least) = (ip6->TotalLength, Ipv6Header.Size);
        }
        else
        {
            return false;
        }

        return total >= least && total <= room;
    }

    /// <returns>How many checksums were completed: 0 or 1.</returns>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static uint Look(Ipv4Header* ip, uint total)
    {
        uint header = ip->HeaderLength, length = total - header;
        uint field = FieldOf(ip->Protocol, length);
        if (field == 0 || ip->IsFragment)
        {
            return 0;
        }

        byte* segment = (byte*)ip + header;
        return Complete(segment, length, field, InternetChecksum.PseudoHeader(ip->Source, ip->Destination, ip->Protocol, length));
    }

    private static uint Look(Ipv6Header* ip, uint total)
    {
        if (!Ipv6ExtensionHeaders.TryFindTransport(ip, total, out byte protocol, out uint header, out Ipv6Address* destination))
        {
            return 0;
        }

        uint length = total - header, field = FieldOf(protocol, length);
        return field == 0 ? 0 : Complete((byte*)ip + header, length, field, InternetChecksum.PseudoHeader(ip->Source, *destination, protocol, length));
    }

    /// <summary>Where the checksum stands in so many bytes; 0: no protocol of which it would be left open, or too short for one.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static uint FieldOf(byte protocol, uint length) => protocol switch
    {
        IpProtocol.Tcp when length >= TcpHeader.Size => TcpHeader.ChecksumOffset,
        IpProtocol.Udp when length >= UdpHeader.Size => UdpHeader.ChecksumOffset,
        _ => 0u,
    };

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static uint Complete(byte* segment, uint length, uint offset, ushort pseudo)
    {
        ushort* field = (ushort*)(segment + offset);
        return *field == pseudo && Sum(segment, length, pseudo, field) ? 1u : 0u;
    }

    /// <summary>False when the checksum was whole already.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static bool Sum(byte* segment, uint length, ushort pseudo, ushort* field)
    {
        // The field holds the pseudo header's sum, so this is the whole sum; one that is complete would add up to 0xffff
        // only together with the pseudo header.
        uint sum = InternetChecksum.Sum(segment, length);
        ushort folded = InternetChecksum.Fold(sum);
        if (InternetChecksum.Fold((uint)folded + pseudo) == 0xffff)
        {
            return false;
        }

        ushort check = (ushort)~folded;
        *field = check == 0 ? (ushort)0xffff : check; // CSUM_MANGLED_0: in UDP, 0 would mean "none"
        return true;
    }
}
