using System.Runtime.CompilerServices;
using FastPathSync.Packets;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FastPath.Nodes;

/// <summary>
/// l4-checksum: completes TCP and UDP checksums that their sender left to virtual hardware (docs/adr/0003).
/// </summary>
/// <remarks>
/// May enter: packets of virtual ports that ipv4-input found whole (also those it punts for their options or addresses:
/// Linux has to get what it would have got). Precondition: header sound, total length inside the frame. No edges.
/// A packet left so carries the folded sum of its pseudo header, not complemented (skb_partial_csum in Linux); one that
/// does so by chance is told apart by being valid as it stands. RFC 768, RFC 9293 §3.1, skb_checksum_help.
/// </remarks>
public static unsafe class L4ChecksumNode
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Run(ref PacketVector v, PortCounters* counters)
    {
        ulong completed = 0;
        int n = v.Count;
        for (int i = 0; i < n; i++)
        {
            if (v.Verdict[i] == (byte)Verdict.Forward || IsSound((PuntReason)v.Reason[i]))
            {
                completed += Complete((Ipv4Header*)(v.Data[i] + EthernetHeader.Size)) ? 1u : 0;
            }
        }

        counters->ChecksumsCompleted += completed;
    }

    /// <summary>Punted for what it is, not for being broken.</summary>
    private static bool IsSound(PuntReason reason) =>
        reason is not (PuntReason.Truncated or PuntReason.NotIpv4 or PuntReason.HeaderError or PuntReason.ChecksumError);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static bool Complete(Ipv4Header* ip)
    {
        uint offset = (uint)(ip->Protocol == IpProtocol.Tcp ? TcpHeader.ChecksumOffset : UdpHeader.ChecksumOffset);
        uint headerLength = ip->HeaderLength, length = ip->TotalLength.Value - headerLength;
        if ((ip->Protocol != IpProtocol.Tcp && ip->Protocol != IpProtocol.Udp) || ip->IsFragment || length < offset + 2)
        {
            return false;
        }

        ushort* field = (ushort*)((byte*)ip + headerLength + offset);
        ushort pseudo = InternetChecksum.PseudoHeader(ip->Source, ip->Destination, ip->Protocol, length);
        return *field == pseudo && CompleteCold((byte*)ip + headerLength, length, pseudo, field, ip->Protocol == IpProtocol.Udp);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static bool CompleteCold(byte* segment, uint length, ushort pseudo, ushort* field, bool udp)
    {
        // As it stands the field holds the pseudo header's sum: the segment's sum is already that of both.
        uint sum = InternetChecksum.Sum(segment, length);
        if (InternetChecksum.Fold(sum + pseudo) == 0xffff)
        {
            return false; // a finished checksum that happens to look like an unfinished one
        }

        ushort check = (ushort)~InternetChecksum.Fold(sum);
        *field = udp && check == 0 ? (ushort)0xffff : check;
        return true;
    }
}
