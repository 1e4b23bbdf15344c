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
/// May enter: the whole burst of a virtual port, last of all, whatever the verdicts: a punted packet must reach Linux
/// as Linux would have had it. Precondition: none; the headers are checked here. Packets punted because their headers
/// are in error, and fragments, are left alone.
/// Edges: none; the verdict stays.
/// </remarks>
internal static unsafe class L4ChecksumNode
{
    public static void Run(ref PacketVector v, PortCounters* counters)
    {
        for (int i = 0; i < v.Count; i++)
        {
            if (v.Verdict[i] == (byte)Verdict.Punt && !HeadersAreSound((PuntReason)v.Reason[i]))
            {
                continue;
            }

            byte* frame = v.Data[i];
            uint room = v.Length[i] - EthernetHeader.Size; // wraps below 14, which the first test catches
            if (v.Length[i] < EthernetHeader.Size + Ipv4Header.Size
                || ((EthernetHeader*)frame)->Type.Value != EtherType.Ipv4
                || !Ipv4Header.TryParse(frame + EthernetHeader.Size, room, out Ipv4Header* ip))
            {
                continue;
            }

            uint total = ip->TotalLength.Value, header = ip->HeaderLength;
            bool tcp = ip->Protocol == IpProtocol.Tcp;
            uint offset = (uint)(tcp ? TcpHeader.ChecksumOffset : UdpHeader.ChecksumOffset);
            uint least = (uint)(tcp ? TcpHeader.Size : UdpHeader.Size);
            if ((!tcp && ip->Protocol != IpProtocol.Udp) || total > room || total < header + least || ip->IsFragment)
            {
                continue;
            }

            uint length = total - header;
            ushort* field = (ushort*)((byte*)ip + header + offset);
            ushort pseudo = InternetChecksum.PseudoHeader(ip->Source, ip->Destination, ip->Protocol, length);
            if (*field == pseudo && Complete((byte*)ip + header, length, pseudo, field))
            {
                counters->ChecksumsCompleted++;
            }
        }
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

    private static bool HeadersAreSound(PuntReason reason) =>
        reason is not (PuntReason.HeaderError or PuntReason.ChecksumError or PuntReason.Truncated or PuntReason.NotIpv4);
}
