using System.Buffers.Binary;
using FastPathSync.Fpctl.Cli;

namespace FastPathSync.Fpctl.Features.Capture;

/// <summary>Reads the Ethernet frames of a capture file: pcap-savefile(5) of either byte order, or pcapng (draft-ietf-opsawg-pcapng) as tcpdump and wireshark write it.</summary>
internal static class PcapFile
{
    private const uint LINKTYPE_ETHERNET = 1;
    private const uint SectionHeader = 0x0a0d0d0a, InterfaceDescription = 1, SimplePacket = 3, EnhancedPacket = 6, ByteOrderMagic = 0x1a2b3c4d;
    private static readonly uint[] s_pcap = [0xa1b2c3d4, 0xa1b23c4d]; // microseconds, nanoseconds

    /// <exception cref="CliError">It can't be read, or is no such file.</exception>
    public static List<byte[]> Read(string path)
    {
        byte[] file;
        try
        {
            file = File.ReadAllBytes(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new CliError($"'{path}': {e.Message}", CliError.Usage);
        }

        return Parse(file) ?? throw new CliError($"'{path}' is no pcap or pcapng file of Ethernet frames, or damaged", CliError.Usage);
    }

    /// <summary>Null when it isn't one.</summary>
    public static List<byte[]>? Parse(ReadOnlySpan<byte> file)
    {
        if (file.Length < 4)
        {
            return null;
        }

        uint magic = BinaryPrimitives.ReadUInt32LittleEndian(file);
        return magic == SectionHeader ? PcapNg(file)
            : s_pcap.Contains(magic) ? Pcap(file, bigEndian: false)
            : s_pcap.Contains(BinaryPrimitives.ReverseEndianness(magic)) ? Pcap(file, bigEndian: true)
            : null;
    }

    private static List<byte[]>? Pcap(ReadOnlySpan<byte> file, bool bigEndian)
    {
        const int FileHeader = 24, LinkType = 20, RecordHeader = 16, CapturedLength = 8;
        if (file.Length < FileHeader || (Word(file[LinkType..], bigEndian) & 0x0fffffff) != LINKTYPE_ETHERNET)
        {
            return null;
        }

        List<byte[]> frames = [];
        for (file = file[FileHeader..]; !file.IsEmpty;)
        {
            uint length = file.Length < RecordHeader ? uint.MaxValue : Word(file[CapturedLength..], bigEndian);
            if (length > file.Length - RecordHeader)
            {
                return null;
            }

            frames.Add(file.Slice(RecordHeader, (int)length).ToArray());
            file = file[(RecordHeader + (int)length)..];
        }

        return frames;
    }

    private static List<byte[]>? PcapNg(ReadOnlySpan<byte> file)
    {
        const int BlockOverhead = 12, Order = 8;
        List<byte[]> frames = [];
        List<uint> linkTypes = [];
        bool bigEndian = false;
        while (!file.IsEmpty)
        {
            if (file.Length < BlockOverhead)
            {
                return null;
            }

            if (BinaryPrimitives.ReadUInt32LittleEndian(file) == SectionHeader)
            {
                bigEndian = BinaryPrimitives.ReadUInt32BigEndian(file[Order..]) == ByteOrderMagic;
                linkTypes.Clear();
            }

            (uint type, uint length) = (Word(file, bigEndian), Word(file[4..], bigEndian));
            if (length < BlockOverhead || length > file.Length || length % 4 != 0)
            {
                return null;
            }

            if (!TryBlock(type, file[8..((int)length - 4)], bigEndian, linkTypes, frames))
            {
                return null;
            }

            file = file[(int)length..];
        }

        return frames;
    }

    private static bool TryBlock(uint type, ReadOnlySpan<byte> body, bool bigEndian, List<uint> linkTypes, List<byte[]> frames)
    {
        switch (type)
        {
            case InterfaceDescription:
                if (body.Length < 8)
                {
                    return false;
                }

                linkTypes.Add(bigEndian ? BinaryPrimitives.ReadUInt16BigEndian(body) : BinaryPrimitives.ReadUInt16LittleEndian(body));
                return true;
            case SimplePacket:
                return body.Length >= 4 && linkTypes is [LINKTYPE_ETHERNET, ..] && TryAdd(body[4..], Math.Min(Word(body, bigEndian), (uint)body.Length - 4), frames);
            case EnhancedPacket:
                const int Data = 20, Captured = 12;
                return body.Length >= Data && Word(body, bigEndian) is uint i && i < linkTypes.Count && linkTypes[(int)i] == LINKTYPE_ETHERNET
                    && TryAdd(body[Data..], Word(body[Captured..], bigEndian), frames);
            default:
                return true;
        }
    }

    private static bool TryAdd(ReadOnlySpan<byte> rest, uint length, List<byte[]> frames)
    {
        if (length > rest.Length)
        {
            return false;
        }

        frames.Add(rest[..(int)length].ToArray());
        return true;
    }

    private static uint Word(ReadOnlySpan<byte> at, bool bigEndian) => bigEndian ? BinaryPrimitives.ReadUInt32BigEndian(at) : BinaryPrimitives.ReadUInt32LittleEndian(at);
}
