using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;

namespace FastPathSync.Fpctl.Inspection;

/// <summary>IPv4 addresses (host byte order) and MAC addresses as iproute2 writes them.</summary>
internal static class Ipv4Text
{
    public static string Address(uint address) => $"{address >> 24}.{(address >> 16) & 255}.{(address >> 8) & 255}.{address & 255}";

    /// <summary>"default" for 0/0, hosts without /32.</summary>
    public static string Prefix(uint address, int length) => length switch
    {
        0 when address == 0 => "default",
        32 => Address(address),
        _ => $"{Address(address)}/{length}",
    };

    /// <summary>Four decimal numbers, nothing else ("10.1" and "0x0a000001" are mistakes here, not addresses).</summary>
    public static bool TryParse(string text, out uint address)
    {
        address = 0;
        Span<byte> bytes = stackalloc byte[4];
        if (text.Count(c => c == '.') != 3 || text.Any(c => c != '.' && !char.IsAsciiDigit(c))
            || !IPAddress.TryParse(text, out IPAddress? ip) || ip.AddressFamily != AddressFamily.InterNetwork
            || !ip.TryWriteBytes(bytes, out _) || HasLeadingZero(text))
        {
            return false;
        }

        address = BinaryPrimitives.ReadUInt32BigEndian(bytes);
        return true;
    }

    public static string Mac(ReadOnlySpan<byte> bytes) => Convert.ToHexStringLower(bytes).Chunk(2).Aggregate(
        string.Empty, (s, pair) => s.Length == 0 ? new string(pair) : $"{s}:{new string(pair)}");

    /// <summary>inet_aton would read 010 as eight.</summary>
    private static bool HasLeadingZero(string text) => text.Split('.').Any(p => p.Length > 1 && p[0] == '0');
}
