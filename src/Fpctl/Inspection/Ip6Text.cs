using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.Fpctl.Inspection;

/// <summary>IPv6 addresses and prefixes as iproute2 writes them (RFC 5952).</summary>
internal static class Ip6Text
{
    public static string Address(ulong high, ulong low)
    {
        Span<byte> bytes = stackalloc byte[16];
        BinaryPrimitives.WriteUInt64BigEndian(bytes, high);
        BinaryPrimitives.WriteUInt64BigEndian(bytes[8..], low);
        return new IPAddress(bytes).ToString();
    }

    public static string Address(IpAddress address) => Address(address.High, address.Low);

    /// <summary>"default" for ::/0, hosts without /128.</summary>
    public static string Prefix(IpAddress address, int length) => length switch
    {
        0 => "default",
        128 => Address(address),
        _ => $"{Address(address)}/{length}",
    };

    public static bool TryParse(string text, out IpAddress address)
    {
        Span<byte> bytes = stackalloc byte[16];
        bool parsed = IPAddress.TryParse(text, out IPAddress? ip) && ip.AddressFamily == AddressFamily.InterNetworkV6 && ip.ScopeId == 0
            && !text.Contains('[', StringComparison.Ordinal) && ip.TryWriteBytes(bytes, out _);
        address = parsed ? IpAddress.FromBytes(bytes) : default;
        return parsed;
    }
}
