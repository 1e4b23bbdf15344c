using System.Buffers.Binary;
using System.Runtime.InteropServices;

namespace FastPathSync.Netlink;

/// <summary>struct nlmsghdr (linux/netlink.h), host byte order.</summary>
[StructLayout(LayoutKind.Sequential)]
public struct NlMsgHdr
{
    public uint Length;
    public ushort Type;
    public ushort Flags;
    public uint Sequence;
    public uint PortId;
}

/// <summary>Constants of linux/netlink.h.</summary>
public static class Nlm
{
    public const ushort NLMSG_NOOP = 1, NLMSG_ERROR = 2, NLMSG_DONE = 3, NLMSG_OVERRUN = 4;
    public const ushort NLM_F_REQUEST = 1, NLM_F_MULTI = 2, NLM_F_ACK = 4, NLM_F_DUMP_INTR = 0x10;
    public const ushort NLM_F_ROOT = 0x100, NLM_F_MATCH = 0x200, NLM_F_DUMP = 0x300;
    public const ushort NLM_F_REPLACE = 0x100, NLM_F_EXCL = 0x200, NLM_F_CREATE = 0x400, NLM_F_APPEND = 0x800;
    public const int HeaderSize = 16;

    public static int Align(int length) => (length + 3) & ~3;
}

/// <summary>One netlink message inside a received datagram: its header, and its payload as bytes.</summary>
public readonly ref struct NetlinkMessage(NlMsgHdr header, ReadOnlySpan<byte> payload)
{
    public NlMsgHdr Header { get; } = header;

    public ReadOnlySpan<byte> Payload { get; } = payload;

    public ushort Type => Header.Type;

    public ushort Flags => Header.Flags;

    /// <summary>The attributes behind a fixed family header of this size.</summary>
    public NetlinkAttributes Attributes(int familyHeaderSize) =>
        familyHeaderSize > Payload.Length ? new NetlinkAttributes([]) : new NetlinkAttributes(Payload[Math.Min(Payload.Length, Nlm.Align(familyHeaderSize))..]);

    /// <summary>The fixed family header, or false when the message is too short for it.</summary>
    public bool TryHeader<T>(out T value)
        where T : unmanaged => MemoryMarshal.TryRead(Payload, out value);
}

/// <summary>Walks the messages of a datagram. A malformed length ends the walk and sets Malformed.</summary>
public ref struct NetlinkMessages(ReadOnlySpan<byte> datagram)
{
    private ReadOnlySpan<byte> _rest = datagram;

    public NetlinkMessage Current { get; private set; }

    public bool Malformed { get; private set; }

    public readonly NetlinkMessages GetEnumerator() => this;

    public bool MoveNext()
    {
        if (_rest.IsEmpty)
        {
            return false;
        }

        if (!MemoryMarshal.TryRead(_rest, out NlMsgHdr h) || h.Length < Nlm.HeaderSize || h.Length > _rest.Length)
        {
            Malformed = true;
            _rest = default;
            return false;
        }

        Current = new NetlinkMessage(h, _rest[Nlm.HeaderSize..(int)h.Length]);
        _rest = _rest[Math.Min(_rest.Length, Nlm.Align((int)h.Length))..];
        return true;
    }
}

/// <summary>One attribute (struct nlattr): type without the nested and byte-order flags, and its payload.</summary>
public readonly ref struct NetlinkAttribute(ushort type, ReadOnlySpan<byte> payload)
{
    public ushort Type { get; } = type;

    public ReadOnlySpan<byte> Payload { get; } = payload;

    public byte U8 => Payload.Length >= 1 ? Payload[0] : (byte)0;

    public ushort U16 => Payload.Length >= 2 ? MemoryMarshal.Read<ushort>(Payload) : (ushort)0;

    public uint U32 => Payload.Length >= 4 ? MemoryMarshal.Read<uint>(Payload) : 0;

    public ulong U64 => Payload.Length >= 8 ? MemoryMarshal.Read<ulong>(Payload) : 0;

    public uint U32BigEndian => Payload.Length >= 4 ? BinaryPrimitives.ReadUInt32BigEndian(Payload) : 0;

    public ulong U64BigEndian => Payload.Length >= 8 ? BinaryPrimitives.ReadUInt64BigEndian(Payload) : 0;

    /// <summary>Text up to the first NUL.</summary>
    public string Text
    {
        get
        {
            int end = Payload.IndexOf((byte)0);
            return System.Text.Encoding.UTF8.GetString(end < 0 ? Payload : Payload[..end]);
        }
    }

    public NetlinkAttributes Nested => new(Payload);
}

/// <summary>
/// foreach over attributes. Malformed input ends the iteration with Malformed set on the enumerator; whoever cares
/// walks with MoveNext. Unknown attributes are the caller's to skip.
/// </summary>
public ref struct NetlinkAttributes(ReadOnlySpan<byte> bytes)
{
    private const ushort TypeMask = 0x3fff;
    private ReadOnlySpan<byte> _rest = bytes;

    public NetlinkAttribute Current { get; private set; }

    public bool Malformed { get; private set; }

    public readonly NetlinkAttributes GetEnumerator() => this;

    public bool MoveNext()
    {
        if (_rest.Length < 4)
        {
            Malformed = !_rest.IsEmpty;
            return false;
        }

        int length = MemoryMarshal.Read<ushort>(_rest);
        if (length < 4 || length > _rest.Length)
        {
            Malformed = true;
            _rest = default;
            return false;
        }

        Current = new NetlinkAttribute((ushort)(MemoryMarshal.Read<ushort>(_rest[2..]) & TypeMask), _rest[4..length]);
        _rest = _rest[Math.Min(_rest.Length, Nlm.Align(length))..];
        return true;
    }
}
