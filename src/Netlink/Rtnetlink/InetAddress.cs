using System.Buffers.Binary;
using System.Net;

namespace FastPathSync.Netlink.Rtnetlink;

/// <summary>An IPv4 or IPv6 address as a value: 4 or 16 bytes of a netlink attribute, or none.</summary>
public readonly record struct InetAddress
{
    private readonly ulong _high;
    private readonly ulong _low;

    private InetAddress(byte length, ulong high, ulong low)
    {
        Length = length;
        _high = high;
        _low = low;
    }

    /// <summary>In bytes: 4, 16, or 0 when there is no address.</summary>
    public byte Length { get; }

    public bool IsNone => Length == 0;

    /// <summary>The first and last 64 bits of an IPv6 address in host byte order; of an IPv4 address Low is all.</summary>
    public ulong High => _high;

    public ulong Low => _low;

    /// <summary>The IPv4 address in host byte order; 0 when this is none.</summary>
    public uint V4 => Length == 4 ? (uint)_low : 0;

    public static InetAddress FromV4(uint hostOrder) => new(4, 0, hostOrder);

    public static InetAddress FromV6(ulong high, ulong low) => new(16, high, low);

    /// <summary>False unless there are exactly 4 or 16 bytes.</summary>
    public static bool TryRead(ReadOnlySpan<byte> networkOrder, out InetAddress address)
    {
        switch (networkOrder.Length)
        {
            case 4:
                address = new InetAddress(4, 0, BinaryPrimitives.ReadUInt32BigEndian(networkOrder));
                return true;
            case 16:
                address = new InetAddress(16, BinaryPrimitives.ReadUInt64BigEndian(networkOrder), BinaryPrimitives.ReadUInt64BigEndian(networkOrder[8..]));
                return true;
            default:
                address = default;
                return false;
        }
    }

    /// <summary>Writes the address in network byte order; the destination must hold Length bytes.</summary>
    public void CopyTo(Span<byte> destination)
    {
        switch (Length)
        {
            case 4:
                BinaryPrimitives.WriteUInt32BigEndian(destination, (uint)_low);
                break;
            case 16:
                BinaryPrimitives.WriteUInt64BigEndian(destination, _high);
                BinaryPrimitives.WriteUInt64BigEndian(destination[8..], _low);
                break;
        }
    }

    public byte[] ToArray()
    {
        byte[] bytes = new byte[Length];
        CopyTo(bytes);
        return bytes;
    }

    public override string ToString() => Length == 0 ? "" : new IPAddress(ToArray()).ToString();
}
