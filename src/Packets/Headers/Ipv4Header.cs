using System.Runtime.InteropServices;

namespace FastPathSync.Packets;

/// <summary>Protocol numbers (IANA "Assigned Internet Protocol Numbers").</summary>
public static class IpProtocol
{
    public const byte Icmp = 1, Tcp = 6, Udp = 17, Icmpv6 = 58;

    // IPv6 extension headers, and what ends their chain.
    public const byte HopByHop = 0, Routing = 43, Fragment = 44, Esp = 50, Ah = 51, NoNextHeader = 59, DestinationOptions = 60;
}

/// <summary>
/// RFC 791 §3.1:
/// <code>
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |Version|  IHL  |Type of Service|          Total Length         |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |         Identification        |Flags|      Fragment Offset    |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |  Time to Live |    Protocol   |         Header Checksum       |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |                       Source Address                          |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |                    Destination Address                        |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// </code>
/// </summary>
[StructLayout(LayoutKind.Sequential, Pack = 1)]
public unsafe struct Ipv4Header
{
    /// <summary>Without options.</summary>
    public const int Size = 20;

    /// <summary>Version 4, five words of header: what nearly every packet begins with.</summary>
    public const byte Plain = 0x45;

    public const int TotalLengthOffset = 2, FragmentOffset = 6, TtlOffset = 8, ProtocolOffset = 9;
    public const int SourceOffset = 12, DestinationOffset = 16;

    public const ushort DontFragment = 0x4000, MoreFragments = 0x2000, FragmentOffsetMask = 0x1fff;

    public byte VersionAndLength;
    public byte TypeOfService;
    public Be16 TotalLength;
    public Be16 Identification;
    public Be16 FlagsAndOffset;
    public byte Ttl;
    public byte Protocol;
    public Be16 Checksum;
    public Be32 Source;
    public Be32 Destination;

    public readonly int Version => VersionAndLength >> 4;

    /// <summary>Bytes, options included.</summary>
    public readonly uint HeaderLength => (VersionAndLength & 15u) * 4;

    public readonly bool IsFragment => (FlagsAndOffset.Value & (MoreFragments | FragmentOffsetMask)) != 0;

    /// <summary>False unless a whole header of version 4 is there. Its checksum and total length are not looked at.</summary>
    public static bool TryParse(byte* bytes, uint length, out Ipv4Header* header)
    {
        header = (Ipv4Header*)bytes;
        return length >= Size && header->Version == 4 && header->HeaderLength >= Size && header->HeaderLength <= length;
    }
}
