using System.Runtime.InteropServices;

namespace FastPathSync.Packets;

/// <summary>EtherType numbers (IANA "IEEE 802 Numbers").</summary>
public static class EtherType
{
    public const ushort Ipv4 = 0x0800, Arp = 0x0806, Vlan = 0x8100, Ipv6 = 0x86dd;
}

/// <summary>
/// Ethernet II, as RFC 894 carries IP in it:
/// <code>
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// +-------------------------------+-------------------------------+
/// |                      destination (6 bytes)                    |
/// +                               +-------------------------------+
/// |                               |       source (6 bytes)        |
/// +-------------------------------+                               +
/// |                                                               |
/// +-------------------------------+-------------------------------+
/// |           EtherType           |
/// +-------------------------------+
/// </code>
/// </summary>
[StructLayout(LayoutKind.Sequential, Pack = 1)]
public unsafe struct EthernetHeader
{
    public const int Size = 14;

    /// <summary>Where the EtherType stands.</summary>
    public const int TypeOffset = 12;

    public MacAddress Destination;
    public MacAddress Source;
    public Be16 Type;

    /// <summary>False when the bytes are too few. The header points into them.</summary>
    public static bool TryParse(byte* bytes, uint length, out EthernetHeader* header)
    {
        header = (EthernetHeader*)bytes;
        return length >= Size;
    }
}
