using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Text;

namespace FastPathSync.Netlink;

/// <summary>Builds messages into a growing buffer: header, family header, attributes, nests.</summary>
public sealed class NetlinkRequest
{
    private byte[] _buffer = new byte[512];
    private int _length;
    private int _message;

    public ReadOnlySpan<byte> Bytes => _buffer.AsSpan(0, _length);

    /// <summary>The sequence number of the message last begun; the socket sets it when sending.</summary>
    public NetlinkRequest Begin<T>(ushort type, ushort flags, in T familyHeader)
        where T : unmanaged
    {
        _message = _length;
        NlMsgHdr h = new() { Type = type, Flags = flags };
        Append(MemoryMarshal.AsBytes(new ReadOnlySpan<NlMsgHdr>(in h)));
        Append(MemoryMarshal.AsBytes(new ReadOnlySpan<T>(in familyHeader)));
        return Pad();
    }

    public NetlinkRequest Attribute(ushort type, ReadOnlySpan<byte> payload)
    {
        Span<byte> head = stackalloc byte[4];
        MemoryMarshal.Write(head, (ushort)(4 + payload.Length));
        MemoryMarshal.Write(head[2..], type);
        Append(head);
        Append(payload);
        return Pad();
    }

    public NetlinkRequest Attribute(ushort type, uint value) => Attribute(type, MemoryMarshal.AsBytes(new ReadOnlySpan<uint>(in value)));

    public NetlinkRequest Attribute(ushort type, ushort value) => Attribute(type, MemoryMarshal.AsBytes(new ReadOnlySpan<ushort>(in value)));

    public NetlinkRequest Attribute(ushort type, byte value) => Attribute(type, new ReadOnlySpan<byte>(in value));

    public NetlinkRequest AttributeBigEndian(ushort type, uint value)
    {
        uint v = BinaryPrimitives.ReverseEndianness(value);
        return Attribute(type, v);
    }

    /// <summary>A NUL-terminated string.</summary>
    public NetlinkRequest Attribute(ushort type, string text) => Attribute(type, Encoding.UTF8.GetBytes(text + "\0"));

    /// <summary>Opens a nest; give the returned offset to EndNest.</summary>
    public int BeginNest(ushort type)
    {
        int at = _length;
        Attribute((ushort)(type | 0x8000), []);
        return at;
    }

    public NetlinkRequest EndNest(int offset)
    {
        MemoryMarshal.Write(_buffer.AsSpan(offset), (ushort)(_length - offset));
        return this;
    }

    public void Clear() => _length = _message = 0;

    /// <summary>Sets the sequence number of the message last begun.</summary>
    internal void SetSequence(uint sequence) => MemoryMarshal.Write(_buffer.AsSpan(_message + 8), sequence);

    /// <summary>Numbers all messages from <paramref name="first"/> on, and returns how many there are.</summary>
    internal int SetSequences(uint first)
    {
        int count = 0;
        for (int at = 0; at < _length; count++)
        {
            MemoryMarshal.Write(_buffer.AsSpan(at + 8), first + (uint)count);
            at += Nlm.Align((int)MemoryMarshal.Read<uint>(_buffer.AsSpan(at)));
        }

        return count;
    }

    private NetlinkRequest Pad()
    {
        Append(stackalloc byte[Nlm.Align(_length) - _length]);
        MemoryMarshal.Write(_buffer.AsSpan(_message), (uint)(_length - _message));
        return this;
    }

    private void Append(ReadOnlySpan<byte> bytes)
    {
        if (_length + bytes.Length > _buffer.Length)
        {
            Array.Resize(ref _buffer, Math.Max(_buffer.Length * 2, _length + bytes.Length));
        }

        bytes.CopyTo(_buffer.AsSpan(_length));
        _length += bytes.Length;
    }
}
