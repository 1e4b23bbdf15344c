using System.CommandLine;
using System.Globalization;
using FastPathSync.Fpctl.Cli;
using FastPathSync.Fpctl.Inspection;
using FastPathSync.Packets;
using FastPathSync.Packets.Building;
using FastPathSync.SharedMemory.Tables;
using static FastPathSync.Packets.Building.Packet;

namespace FastPathSync.Fpctl.Features.Explain;

/// <summary>A packet said by its fields: --src … --dst … and what else of it matters.</summary>
internal static class PacketFields
{
    private const int MaxLength = 16 << 10;
    private static readonly Option<string?> s_source = new("--src") { Description = "source address", HelpName = "ADDR" };
    private static readonly Option<string?> s_destination = new("--dst") { Description = "destination address", HelpName = "ADDR" };
    private static readonly Option<string> s_protocol = new("--proto") { Description = "what it carries", HelpName = "udp|tcp|icmp|NUMBER", DefaultValueFactory = _ => "udp" };
    private static readonly Option<int?> s_sourcePort = new("--sport") { Description = "source port", HelpName = "PORT" };
    private static readonly Option<int?> s_destinationPort = new("--dport") { Description = "destination port", HelpName = "PORT" };
    private static readonly Option<int> s_ttl = new("--ttl") { Description = "TTL or hop limit", HelpName = "N", DefaultValueFactory = _ => 64 };
    private static readonly Option<int> s_tos = new("--tos") { Description = "DS field, IPv6: traffic class", HelpName = "N" };
    private static readonly Option<int?> s_length = new("--length") { Description = "bytes of the IP packet, header and all", HelpName = "N" };
    private static readonly Option<bool> s_dontFragment = new("--df") { Description = "don't fragment (IPv4)" };

    public static void AddTo(Command command)
    {
        foreach (Option o in (Option[])[s_source, s_destination, s_protocol, s_sourcePort, s_destinationPort, s_ttl, s_tos, s_length, s_dontFragment])
        {
            command.Options.Add(o);
        }
    }

    /// <summary>Whether a packet is said so; then the addresses are right.</summary>
    public static bool Are(ParseResult parsed)
    {
        if (parsed.GetValue(s_source) is null && parsed.GetValue(s_destination) is null)
        {
            return false;
        }

        _ = Addresses(parsed);
        return true;
    }

    public static IpAddress Source(ParseResult parsed) => Addresses(parsed).Source;

    /// <param name="mac">Of the port that it comes in on.</param>
    public static byte[] Build(ParseResult parsed, string mac)
    {
        (IpAddress source, IpAddress destination, bool ipv4) = Addresses(parsed);
        (string from, string to) = ipv4 ? (source.ToString(), destination.ToString()) : (Ip6Text.Address(source), Ip6Text.Address(destination));
        int ttl = InRange(parsed.GetValue(s_ttl), "ttl", 255), tos = InRange(parsed.GetValue(s_tos), "tos", 255);
        int protocol = Protocol(parsed.GetValue(s_protocol)!, ipv4);
        PacketBuilder packet = Ether(mac);
        packet = ipv4
            ? packet.Ipv4(from, to, ttl, protocol, tos, flagsAndOffset: parsed.GetValue(s_dontFragment) ? Ipv4Header.DontFragment : 0)
            : packet.Ipv6(from, to, ttl, protocol, tos);
        (int sourcePort, int destinationPort) = (InRange(parsed.GetValue(s_sourcePort) ?? 1024, "sport", 65535), InRange(parsed.GetValue(s_destinationPort) ?? 9, "dport", 65535));
        packet = protocol switch
        {
            IpProtocol.Udp => packet.Udp(sourcePort, destinationPort),
            IpProtocol.Tcp => packet.Tcp(sourcePort, destinationPort),
            IpProtocol.Icmp when ipv4 => packet.Icmp(),
            IpProtocol.Icmpv6 when !ipv4 => packet.Icmpv6(),
            _ => packet,
        };
        byte[] built = packet.Build();
        if (parsed.GetValue(s_length) is not int length)
        {
            return built;
        }

        int shortest = built.Length - EthernetHeader.Size;
        return length < shortest || length > MaxLength
            ? throw new CliError($"--length {length}: such a packet has {shortest} to {MaxLength} bytes", CliError.Usage)
            : packet.Payload(new byte[length - shortest]).Build();
    }

    private static (IpAddress Source, IpAddress Destination, bool Ipv4) Addresses(ParseResult parsed)
    {
        if (parsed.GetValue(s_source) is not string source || parsed.GetValue(s_destination) is not string destination)
        {
            throw new CliError("a packet said by its fields needs both --src and --dst", CliError.Usage);
        }

        (IpAddress from, bool ipv4) = Address(source);
        (IpAddress to, bool alike) = Address(destination);
        return ipv4 == alike ? (from, to, ipv4) : throw new CliError($"--src {source} and --dst {destination} are of different families", CliError.Usage);
    }

    private static (IpAddress, bool Ipv4) Address(string text) =>
        Ipv4Text.TryParse(text, out uint ipv4) ? (IpAddress.FromV4(ipv4), true)
        : Ip6Text.TryParse(text, out IpAddress ipv6) ? (ipv6, false)
        : throw new CliError($"'{text}' is no IP address; write one like 10.9.0.1 or 2001:db8::1", CliError.Usage);

    private static int Protocol(string text, bool ipv4) => text switch
    {
        "udp" => IpProtocol.Udp,
        "tcp" => IpProtocol.Tcp,
        "icmp" => ipv4 ? IpProtocol.Icmp : IpProtocol.Icmpv6,
        _ => int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int n) && n <= 255 ? n
            : throw new CliError($"--proto {text}: udp, tcp, icmp or a number up to 255", CliError.Usage),
    };

    private static int InRange(int value, string option, int most) =>
        value >= 0 && value <= most ? value : throw new CliError($"--{option} {value}: 0 to {most}", CliError.Usage);
}
