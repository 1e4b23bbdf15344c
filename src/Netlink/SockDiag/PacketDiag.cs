using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace FastPathSync.Netlink.SockDiag;

/// <summary>struct packet_diag_req (linux/packet_diag.h).</summary>
[StructLayout(LayoutKind.Sequential)]
public struct PacketDiagRequest
{
    public byte Family;
    public byte Protocol;
    private readonly ushort _pad;
    public uint Inode;
    public uint Show;
    private readonly ulong _cookie;
}

/// <summary>struct packet_diag_msg (linux/packet_diag.h).</summary>
[StructLayout(LayoutKind.Sequential)]
public struct PacketDiagHeader
{
    public byte Family;
    public byte Type;        // SOCK_RAW, SOCK_DGRAM
    public ushort Protocol;  // host byte order; 0: it receives nothing
    public uint Inode;
    private readonly uint _cookieLow;
    private readonly uint _cookieHigh;
}

/// <summary>A packet socket, as the kernel tells it by NETLINK_SOCK_DIAG.</summary>
/// <param name="Cooked">SOCK_DGRAM</param>
/// <param name="IfIndex">0: every interface.</param>
/// <param name="Filter">struct sock_filter, 8 bytes each; empty: none, or an eBPF one.</param>
public readonly record struct PacketDiagSocket(uint Inode, bool Cooked, ushort Protocol, uint IfIndex, byte[] Filter)
{
    private const ushort SOCK_DIAG_BY_FAMILY = 20;                     // linux/sock_diag.h
    private const byte AF_PACKET = 17, SOCK_DGRAM = 2;
    private const uint PACKET_SHOW_INFO = 1, PACKET_SHOW_FILTER = 0x20; // linux/packet_diag.h
    private const ushort PACKET_DIAG_INFO = 0, PACKET_DIAG_FILTER = 7;

    /// <summary>For a NETLINK_SOCK_DIAG socket: tells those of the namespace of the socket.</summary>
    public static NetlinkRequest Dump() => new NetlinkRequest().Begin(
        SOCK_DIAG_BY_FAMILY, Nlm.NLM_F_REQUEST | Nlm.NLM_F_DUMP, new PacketDiagRequest { Family = AF_PACKET, Show = PACKET_SHOW_INFO | PACKET_SHOW_FILTER });

    public static bool TryParse(in NetlinkMessage message, out PacketDiagSocket socket)
    {
        socket = default;
        if (message.Type != SOCK_DIAG_BY_FAMILY || !message.TryHeader(out PacketDiagHeader header) || header.Family != AF_PACKET)
        {
            return false;
        }

        uint ifindex = 0;
        byte[] filter = [];
        foreach (NetlinkAttribute a in message.Attributes(Unsafe.SizeOf<PacketDiagHeader>()))
        {
            if (a.Type == PACKET_DIAG_INFO)
            {
                if (!MemoryMarshal.TryRead(a.Payload, out ifindex)) // struct packet_diag_info begins with pdi_index
                {
                    return false;
                }
            }
            else if (a.Type == PACKET_DIAG_FILTER && a.Payload.Length % 8 == 0)
            {
                filter = a.Payload.ToArray();
            }
        }

        socket = new PacketDiagSocket(header.Inode, header.Type == SOCK_DGRAM, header.Protocol, ifindex, filter);
        return true;
    }
}
