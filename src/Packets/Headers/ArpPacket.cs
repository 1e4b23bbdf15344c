using System.Runtime.InteropServices;

namespace FastPathSync.Packets;

/// <summary>
/// RFC 826, for IPv4 over Ethernet (hardware type 1, protocol 0x0800, lengths 6 and 4):
/// <code>
/// +-------------------------------+-------------------------------+
/// |         hardware type         |         protocol type         |
/// +---------------+---------------+-------------------------------+
/// | hw addr len   | proto addr len|           operation           |
/// +---------------+---------------+-------------------------------+
/// |    sender hardware address (6), sender protocol address (4)   |
/// +---------------------------------------------------------------+
/// |    target hardware address (6), target protocol address (4)   |
/// +---------------------------------------------------------------+
/// </code>
/// </summary>
[StructLayout(LayoutKind.Sequential, Pack = 1)]
public unsafe struct ArpPacket
{
    public const int Size = 28;
    public const ushort Request = 1, Reply = 2;

    public Be16 HardwareType;
    public Be16 ProtocolType;
    public byte HardwareLength;
    public byte ProtocolLength;
    public Be16 Operation;
    public MacAddress SenderMac;
    public Be32 Sender;
    public MacAddress TargetMac;
    public Be32 Target;

    /// <summary>False unless it is ARP for IPv4 over Ethernet, and whole.</summary>
    public static bool TryParse(byte* bytes, uint length, out ArpPacket* packet)
    {
        packet = (ArpPacket*)bytes;
        return length >= Size && packet->HardwareType.Value == 1 && packet->ProtocolType.Value == EtherType.Ipv4
            && packet->HardwareLength == 6 && packet->ProtocolLength == 4;
    }
}
