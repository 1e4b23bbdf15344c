using System.Runtime.InteropServices;

namespace FastPathSync.Packets;

/// <summary>
/// RFC 9293 §3.1:
/// <code>
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |          Source Port          |       Destination Port        |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |                        Sequence Number                        |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |                    Acknowledgment Number                      |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |  Data |       |C|E|U|A|P|R|S|F|                               |
/// | Offset| Rsrvd |W|C|R|C|S|S|Y|I|            Window             |
/// |       |       |R|E|G|K|H|T|N|N|                               |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |           Checksum            |         Urgent Pointer        |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// </code>
/// </summary>
[StructLayout(LayoutKind.Sequential, Pack = 1)]
public unsafe struct TcpHeader
{
    /// <summary>Without options.</summary>
    public const int Size = 20;
    public const int ChecksumOffset = 16;

    public Be16 SourcePort;
    public Be16 DestinationPort;
    public Be32 Sequence;
    public Be32 Acknowledgment;
    public byte DataOffsetAndReserved;
    public byte Flags;
    public Be16 Window;
    public Be16 Checksum;
    public Be16 UrgentPointer;

    /// <summary>Bytes, options included.</summary>
    public readonly uint HeaderLength => (uint)(DataOffsetAndReserved >> 4) * 4;

    /// <summary>False unless the whole header, options included, is there.</summary>
    public static bool TryParse(byte* bytes, uint length, out TcpHeader* header)
    {
        header = (TcpHeader*)bytes;
        return length >= Size && header->HeaderLength >= Size && header->HeaderLength <= length;
    }
}
