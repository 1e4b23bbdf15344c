using System.Buffers.Binary;
using System.Text;

namespace FastPathSync.Fpctl.Features.Capture;

/// <summary>
/// Writes pcapng (draft-ietf-opsawg-pcapng), little-endian, nanoseconds: an interface description for each interface when its
/// first packet comes, and a comment with each packet. What was written and flushed is a whole file, whatever comes then.
/// </summary>
internal sealed class PcapNgWriter : IDisposable
{
    private const uint SectionHeader = 0x0a0d0d0a, InterfaceDescription = 1, EnhancedPacket = 6, ByteOrderMagic = 0x1a2b3c4d;
    private const ushort LINKTYPE_ETHERNET = 1;
    private const ushort OPT_ENDOFOPT = 0, OPT_COMMENT = 1, SHB_USERAPPL = 4, IF_NAME = 2, IF_TSRESOL = 9, EPB_FLAGS = 2;
    private const byte Nanoseconds = 9;
    private const uint Inbound = 1;
    private readonly Stream _output;
    private readonly Dictionary<string, uint> _interfaces = [];
    private readonly MemoryStream _block = new();

    public PcapNgWriter(Stream output)
    {
        _output = output;
        Begin(SectionHeader);
        Add32(ByteOrderMagic);
        Add16(1); // version 1.0
        Add16(0);
        Add64(ulong.MaxValue); // the section's length isn't known
        Option(SHB_USERAPPL, "fpctl capture"u8);
        EndOptions();
        End();
    }

    /// <param name="interfaceName">It came in there.</param>
    /// <param name="time">Nanoseconds since 1970.</param>
    /// <param name="frame">Perhaps only its first bytes.</param>
    /// <param name="length">On the wire.</param>
    public void Write(string interfaceName, ulong time, ReadOnlySpan<byte> frame, uint length, string comment)
    {
        uint id = Interface(interfaceName);
        Begin(EnhancedPacket);
        Add32(id);
        Add32((uint)(time >> 32));
        Add32((uint)time);
        Add32((uint)frame.Length);
        Add32(length);
        Add(frame);
        Pad();
        Option(OPT_COMMENT, Encoding.UTF8.GetBytes(comment));
        Option(EPB_FLAGS, BitConverter.GetBytes(Inbound));
        EndOptions();
        End();
    }

    public void Flush() => _output.Flush();

    public void Dispose() => _output.Dispose();

    private uint Interface(string name)
    {
        if (_interfaces.TryGetValue(name, out uint id))
        {
            return id;
        }

        id = (uint)_interfaces.Count;
        _interfaces[name] = id;
        Begin(InterfaceDescription);
        Add16(LINKTYPE_ETHERNET);
        Add16(0);
        Add32(0); // no limit to the length of packets
        Option(IF_NAME, Encoding.UTF8.GetBytes(name));
        Option(IF_TSRESOL, [Nanoseconds]);
        EndOptions();
        End();
        return id;
    }

    private void Begin(uint type)
    {
        _block.SetLength(0);
        Add32(type);
        Add32(0); // its length, by End
    }

    private void End()
    {
        uint length = (uint)_block.Length + sizeof(uint);
        Add32(length);
        Span<byte> block = _block.GetBuffer().AsSpan(0, (int)length);
        BinaryPrimitives.WriteUInt32LittleEndian(block[4..], length);
        _output.Write(block);
    }

    private void Option(ushort code, ReadOnlySpan<byte> value)
    {
        Add16(code);
        Add16((ushort)value.Length);
        Add(value);
        Pad();
    }

    private void EndOptions() => Option(OPT_ENDOFOPT, []);

    private void Pad() => Add([0, 0, 0], (int)(-_block.Length & 3));

    private void Add(ReadOnlySpan<byte> bytes, int count) => Add(bytes[..count]);

    private void Add(ReadOnlySpan<byte> bytes) => _block.Write(bytes);

    private void Add16(ushort value) => Add(BitConverter.GetBytes(value));

    private void Add32(uint value) => Add(BitConverter.GetBytes(value));

    private void Add64(ulong value) => Add(BitConverter.GetBytes(value));
}
