using System.Buffers.Binary;

namespace FastPathSync.SharedMemory.Tables;

/// <summary>
/// An IPv4 or IPv6 address, 128 bits in host byte order, IPv4 as ::ffff:a.b.c.d (RFC 4291 §2.5.5.2); the default value
/// means "none". What leads to a neighbour (nexthops, adjacencies) doesn't ask for the family: an IPv4 route may leave by
/// an IPv6 gateway.
/// </summary>
public readonly record struct IpAddress(ulong High, ulong Low)
{
    private const ulong Mapped = 0xffff_0000_0000;

    public bool IsNone => (High | Low) == 0;

    public bool IsV4 => High == 0 && Low >> 32 == Mapped >> 32;

    /// <summary>The IPv4 address in host byte order; meaningful when IsV4.</summary>
    public uint V4 => (uint)Low;

    public static IpAddress FromV4(uint hostOrder) => new(0, Mapped | hostOrder);

    /// <summary>From 4 or 16 bytes in network byte order; None for anything else.</summary>
    public static IpAddress FromBytes(ReadOnlySpan<byte> bytes) => bytes.Length switch
    {
        4 => FromV4(BinaryPrimitives.ReadUInt32BigEndian(bytes)),
        16 => new(BinaryPrimitives.ReadUInt64BigEndian(bytes), BinaryPrimitives.ReadUInt64BigEndian(bytes[8..])),
        _ => default,
    };

    /// <summary>4 or 16 bytes in network byte order; none for None.</summary>
    public byte[] ToBytes()
    {
        byte[] bytes = IsNone ? [] : new byte[IsV4 ? 4 : 16];
        if (bytes.Length == 4)
        {
            BinaryPrimitives.WriteUInt32BigEndian(bytes, V4);
        }
        else if (bytes.Length == 16)
        {
            BinaryPrimitives.WriteUInt64BigEndian(bytes, High);
            BinaryPrimitives.WriteUInt64BigEndian(bytes.AsSpan(8), Low);
        }

        return bytes;
    }

    /// <summary>RFC 5952 text; "none" for None.</summary>
    public override string ToString() => IsNone ? "none" : new System.Net.IPAddress(ToBytes()).ToString();
}
