using System.Runtime.InteropServices;

namespace FastPathSync.Packets;

/// <summary>
/// RFC 4443 §2.1; the last word means what Type and Code say:
/// <code>
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |     Type      |     Code      |          Checksum             |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |                             Rest                              |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// </code>
/// </summary>
[StructLayout(LayoutKind.Sequential, Pack = 1)]
public unsafe struct Icmpv6Header
{
    public const int Size = 8, ChecksumOffset = 2;
    public const byte DestinationUnreachable = 1, PacketTooBig = 2, TimeExceeded = 3, ParameterProblem = 4, EchoRequest = 128, EchoReply = 129,
        NeighbourSolicitation = 135, Redirect = 137;

    public byte Type;
    public byte Code;
    public Be16 Checksum;
    public Be32 Rest;

    public static bool TryParse(byte* bytes, uint length, out Icmpv6Header* header)
    {
        header = (Icmpv6Header*)bytes;
        return length >= Size;
    }
}
