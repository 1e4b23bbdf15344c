using System.Net;
using System.Net.Sockets;

namespace FastPathSync.Differential;

/// <summary>
/// Who lives on the cables: every address has a host behind it, whose MAC address follows from the IP address; hosts whose
/// last byte is 200 or more are dead and never answer. The same on both routers' cables.
/// </summary>
internal static class Hosts
{
    public const byte FirstDead = 200;

    public static bool Answers(ReadOnlySpan<byte> address) => address[^1] is > 0 and < FirstDead;

    public static byte[] MacOf(ReadOnlySpan<byte> address)
    {
        byte[] mac = [0x02, (byte)(address.Length == 4 ? 4 : 6), address[^4], address[^3], address[^2], address[^1]];
        for (int i = 0; i < address.Length - 4; i++)
        {
            mac[2] ^= (byte)(address[i] * (i + 3));
        }

        return mac;
    }

    public static byte[] MacOf(string address) => MacOf(IPAddress.Parse(address).GetAddressBytes());

    public static string Text(ReadOnlySpan<byte> mac) => Convert.ToHexString(mac).ToLowerInvariant().Chunk(2).Select(c => new string(c)).Aggregate((a, b) => $"{a}:{b}");

    public static byte[] Bytes(string mac) => Convert.FromHexString(mac.Replace(":", "", StringComparison.Ordinal));

    /// <summary>The answer to an ARP request or a neighbour solicitation, null for any other frame or a dead target.</summary>
    public static byte[]? AnswerTo(ReadOnlySpan<byte> frame)
    {
        if (frame.Length >= 42 && frame[12] == 0x08 && frame[13] == 0x06 && frame[20] == 0 && frame[21] == 1)
        {
            ReadOnlySpan<byte> target = frame.Slice(38, 4);
            return Answers(target) ? ArpReply(frame, target) : null;
        }

        // IPv6, next header ICMPv6, type 135 (RFC 4861 §4.3).
        if (frame.Length >= 78 && frame[12] == 0x86 && frame[13] == 0xdd && frame[20] == 58 && frame[54] == 135)
        {
            ReadOnlySpan<byte> target = frame.Slice(62, 16);
            return Answers(target) && frame[22..38].ContainsAnyExcept((byte)0) ? Advertisement(frame, target) : null;
        }

        return null;
    }

    private static byte[] ArpReply(ReadOnlySpan<byte> request, ReadOnlySpan<byte> target)
    {
        byte[] mac = MacOf(target);
        return [.. request.Slice(6, 6), .. mac, 0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 2, .. mac, .. target, .. request.Slice(22, 6), .. request.Slice(28, 4)];
    }

    private static byte[] Advertisement(ReadOnlySpan<byte> solicitation, ReadOnlySpan<byte> target)
    {
        byte[] mac = MacOf(target);
        const byte SolicitedOverride = 0x60;
        byte[] icmp = [136, 0, 0, 0, SolicitedOverride, 0, 0, 0, .. target, 2, 1, .. mac];
        byte[] source = target.ToArray(), destination = solicitation.Slice(22, 16).ToArray();
        return new FrameBuilder().Ether(Text(solicitation.Slice(6, 6)), Text(mac), 0x86dd)
            .Ipv6(new IPAddress(source), new IPAddress(destination), 255, 58).Raw(icmp).Icmpv6Checksum().Build();
    }

    public static bool IsIpv6(string address) => IPAddress.Parse(address).AddressFamily == AddressFamily.InterNetworkV6;
}
