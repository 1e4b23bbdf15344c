using System.Buffers.Binary;
using System.Runtime.InteropServices;

namespace FastPathSync.Packets;

/// <summary>Sixteen bytes in network order, and what RFC 4291 says they are.</summary>
[StructLayout(LayoutKind.Sequential, Pack = 1)]
public readonly record struct Ipv6Address
{
    private readonly ulong _first, _last;

    public ulong High => BinaryPrimitives.ReverseEndianness(_first);

    public ulong Low => BinaryPrimitives.ReverseEndianness(_last);

    /// <summary>::</summary>
    public bool IsUnspecified => (_first | _last) == 0;

    /// <summary>::1</summary>
    public bool IsLoopback => High == 0 && Low == 1;

    /// <summary>ff00::/8</summary>
    public bool IsMulticast => High >> 56 == 0xff;

    /// <summary>fe80::/10</summary>
    public bool IsLinkLocal => High >> 54 == 0xfe80 >> 6;

    /// <summary>::ffff:0:0/96, an IPv4 address.</summary>
    public bool IsIpv4Mapped => High == 0 && Low >> 32 == 0xffff;
}

/// <summary>
/// RFC 8200 §3:
/// <code>
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |Version| Traffic Class |           Flow Label                  |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |         Payload Length        |  Next Header  |   Hop Limit   |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |                   Source Address (16 bytes)                   |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |                Destination Address (16 bytes)                 |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// </code>
/// </summary>
[StructLayout(LayoutKind.Sequential, Pack = 1)]
public unsafe struct Ipv6Header
{
    public const int Size = 40;

    /// <summary>The upper half of the first byte.</summary>
    public const byte VersionBits = 0x60;

    public const int PayloadLengthOffset = 4, NextHeaderOffset = 6, HopLimitOffset = 7, SourceOffset = 8, DestinationOffset = 24;

    public Be32 VersionClassLabel;
    public Be16 PayloadLength;
    public byte NextHeader;
    public byte HopLimit;
    public Ipv6Address Source;
    public Ipv6Address Destination;

    public readonly int Version => (int)(VersionClassLabel.Value >> 28);

    /// <summary>The lower 20 bits of the first word.</summary>
    public readonly uint FlowLabel => VersionClassLabel.Value & 0xfffff;

    /// <summary>With the header; of anything but a jumbogram.</summary>
    public readonly uint TotalLength => Size + (uint)PayloadLength.Value;

    /// <summary>False unless a whole header of version 6 is there. Its payload length is not looked at.</summary>
    public static bool TryParse(byte* bytes, uint length, out Ipv6Header* header)
    {
        header = (Ipv6Header*)bytes;
        return length >= Size && header->Version == 6;
    }
}
