using System.Runtime.InteropServices;

namespace FastPathSync.Packets.Filters;

/// <summary>A packet as a filter sees it: its bytes, and what the kernel would have in the struct sk_buff beside them.</summary>
/// <remarks>
/// Readable must be all from Data, or from the header that lies before it, to Data + Length: what a filter can ask for begins at one
/// of the three. VLAN tags stand in no field: our packets have none beside their bytes.
/// </remarks>
[StructLayout(LayoutKind.Explicit)]
public unsafe struct PacketContext
{
    /// <summary>For machine code, which reaches them by a signed byte.</summary>
    internal const byte AtData = 0, AtLength = 8, AtLinkLayerOffset = 12, AtNetworkOffset = 16, AtProtocol = 20, AtPacketType = 24, AtIfIndex = 28,
        AtHardwareType = 32, AtMark = 36, AtQueueMapping = 40, AtCpu = 44, AtRxHash = 48;

    /// <summary>What offset 0 means to the socket: the MAC header with SOCK_RAW, the network header with SOCK_DGRAM.</summary>
    [FieldOffset(AtData)]
    public byte* Data;

    /// <summary>Bytes from Data on. Less than 2^31, as the kernel's are.</summary>
    [FieldOffset(AtLength)]
    public uint Length;

    /// <summary>Where the MAC header begins, relative to Data: 0 with SOCK_RAW, -14 with SOCK_DGRAM on Ethernet.</summary>
    [FieldOffset(AtLinkLayerOffset)]
    public int LinkLayerOffset;

    /// <summary>Where the network header begins, relative to Data: 14 with SOCK_RAW on Ethernet, 0 with SOCK_DGRAM.</summary>
    [FieldOffset(AtNetworkOffset)]
    public int NetworkOffset;

    /// <summary>ETH_P_*, host order.</summary>
    [FieldOffset(AtProtocol)]
    public uint Protocol;

    /// <summary>PACKET_HOST, PACKET_OUTGOING ... (linux/if_packet.h)</summary>
    [FieldOffset(AtPacketType)]
    public uint PacketType;

    [FieldOffset(AtIfIndex)]
    public uint IfIndex;

    /// <summary>ARPHRD_* (linux/if_arp.h)</summary>
    [FieldOffset(AtHardwareType)]
    public uint HardwareType;

    [FieldOffset(AtMark)]
    public uint Mark;

    /// <summary>As sk_buff keeps it: of a received packet the receive queue's number + 1, or 0 when none was recorded.</summary>
    [FieldOffset(AtQueueMapping)]
    public uint QueueMapping;

    [FieldOffset(AtCpu)]
    public uint Cpu;

    /// <summary>0 when the device gave none.</summary>
    [FieldOffset(AtRxHash)]
    public uint RxHash;
}
