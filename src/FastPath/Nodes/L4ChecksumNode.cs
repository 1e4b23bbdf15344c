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
/// inside a tunnel.
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
            Ipv4Header* ip = (Ipv4Header*)(data[i] + EthernetHeader.Size);
            uint header = Ipv4Header.Size, total = totalLength[i];
            if (verdict[i] == (byte)Verdict.Forward || IsWhole(ref v, i, out header, out total))
            {
                completed += Look(ip, header, total);
            }
        }

        counters->ChecksumsCompleted += completed;
    }

    /// <summary>A punted packet was perhaps never looked at (demoted): is it IPv4, with all that its lengths promise?</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static bool IsWhole(ref PacketVector v, int i, out uint header, out uint total)
    {
        (header, total) = (0, 0);
        if ((PuntReason)v.Reason[i] is PuntReason.HeaderError or PuntReason.ChecksumError
            || !EthernetHeader.TryParse(v.Data[i], v.Length[i], out EthernetHeader* ethernet)
            || ethernet->Type.Value != EtherType.Ipv4
            || !Ipv4Header.TryParse(v.Data[i] + EthernetHeader.Size, v.Length[i] - EthernetHeader.Size, out Ipv4Header* ip))
        {
            return false;
        }

        (header, total) = (ip->HeaderLength, ip->TotalLength.Value);
        return total >= header && total <= v.Length[i] - EthernetHeader.Size;
    }

    /// <returns>How many checksums were completed: 0 or 1.</returns>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static uint Look(Ipv4Header* ip, uint header, uint total)
    {
        bool tcp = ip->Protocol == IpProtocol.Tcp;
        uint length = total - header;
        if ((!tcp && ip->Protocol != IpProtocol.Udp) || length < (uint)(tcp ? TcpHeader.Size : UdpHeader.Size) || ip->IsFragment)
        {
            return 0;
        }

        ushort* field = (ushort*)((byte*)ip + header + (tcp ? TcpHeader.ChecksumOffset : UdpHeader.ChecksumOffset));
        ushort pseudo = InternetChecksum.PseudoHeader(ip->Source, ip->Destination, ip->Protocol, length);
        return *field == pseudo && Complete((byte*)ip + header, length, pseudo, field) ? 1u : 0u;
    }

    /// <summary>False when the checksum was whole already.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static bool Complete(byte* segment, uint length, ushort pseudo, ushort* field)
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
