using System.Runtime.InteropServices;

namespace FastPathSync.Packets;

/// <summary>
/// RFC 768:
/// <code>
///  0      7 8     15 16    23 24    31
/// +--------+--------+--------+--------+
/// |   Source Port   | Destination Port|
/// +--------+--------+--------+--------+
/// |     Length      |    Checksum     |
/// +--------+--------+--------+--------+
/// </code>
/// </summary>
[StructLayout(LayoutKind.Sequential, Pack = 1)]
public unsafe struct UdpHeader
{
    public const int Size = 8;
    public const int ChecksumOffset = 6;

    public Be16 SourcePort;
    public Be16 DestinationPort;
    public Be16 Length;

    /// <summary>0: the sender made none.</summary>
    public Be16 Checksum;

    public static bool TryParse(byte* bytes, uint length, out UdpHeader* header)
    {
        header = (UdpHeader*)bytes;
        return length >= Size;
    }
}
