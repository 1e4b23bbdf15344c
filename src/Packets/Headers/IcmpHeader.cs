using System.Runtime.InteropServices;

namespace FastPathSync.Packets;

/// <summary>
/// RFC 792; the last word means what Type and Code say:
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
public unsafe struct IcmpHeader
{
    public const int Size = 8;
    public const byte EchoReply = 0, DestinationUnreachable = 3, Redirect = 5, EchoRequest = 8, TimeExceeded = 11;

    public byte Type;
    public byte Code;
    public Be16 Checksum;
    public Be32 Rest;

    public static bool TryParse(byte* bytes, uint length, out IcmpHeader* header)
    {
        header = (IcmpHeader*)bytes;
        return length >= Size;
    }
}
