using System.Buffers.Binary;
using System.Net;

namespace FastPathSync.Differential;

/// <summary>Makes up packets: sound ones of every kind and length, odd ones, and broken ones.</summary>
internal sealed class PacketFactory(Configuration configuration, Dice dice)
{
    private static readonly int[] s_portMtu = [RouterPair.Mtu];
    private readonly Aim _aim = new(configuration, dice);

    public Probe Next(int number)
    {
        byte[] tag = dice.Bytes(8);
        (int port, string kind, byte[] frame) = dice.Below(100) switch
        {
            < 52 => Sound(Family.Ipv4, tag),
            < 90 => Sound(Family.Ipv6, tag),
            < 96 => LinkLayer.Next(dice, tag),
            _ => Neighbours.Next(dice, tag),
        };
        if (kind.StartsWith("ipv", StringComparison.Ordinal) && dice.OneIn(7))
        {
            (frame, string how) = Damage.Apply(frame, dice);
            kind += how;
        }

        return new Probe(number, port, kind, Fit(frame), BinaryPrimitives.ReadUInt64BigEndian(tag));
    }

    /// <summary>A packet with the given addresses that any router forwards, of which only the ports differ; as long as the tag asks for, or longer.</summary>
    public static byte[] Plain(int port, Family family, IPAddress source, IPAddress destination, int sourcePort, int destinationPort, byte[] tag, int length = 0, int flags = 0)
    {
        FrameBuilder b = Ether(port, family);
        int network = b.Length;
        _ = family.Bits == 32 ? b.Ipv4(source, destination, 64, 17, flagsAndOffset: flags) : b.Ipv6(source, destination, 64, 17);
        byte[] padding = new byte[Math.Max(0, length - (b.Length - network) - 8 - tag.Length)];
        return b.Udp(sourcePort, destinationPort, [.. tag, .. padding]).Build();
    }

    /// <summary>Packet sockets send from 14 bytes to the far end's MTU.</summary>
    private static byte[] Fit(byte[] frame)
    {
        if (frame.Length < 14)
        {
            Array.Resize(ref frame, 14);
        }

        return frame.Length > 14 + Baseline.FarMtu ? frame[..(14 + Baseline.FarMtu)] : frame;
    }

    private static FrameBuilder Ether(int port, Family family) =>
        new FrameBuilder().Ether(RouterPair.MacOf(port), $"02:ee:00:00:00:{port:x2}", family.Bits == 32 ? 0x0800 : 0x86dd);

    private (int Port, string Kind, byte[] Frame) Sound(Family family, byte[] tag)
    {
        (int port, IPAddress source, IPAddress destination, int sourcePort, int destinationPort, int label) = _aim.Flow(family);
        FrameBuilder b = Ether(port, family);
        int hops = dice.Pick(64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 128, 255, 2, 3, 1, 0), tos = dice.OneIn(3) ? dice.Pick(0x10, 0x04, 0x08, 0xb8, 1, 3, dice.Below(256)) : 0;
        string kind = family.Bits == 32 ? "ipv4" : "ipv6";
        int network = b.Length, protocol = Protocol(family);
        if (family.Bits == 32)
        {
            int flags = dice.Below(10) switch { < 4 => 0x4000, < 8 => 0, 8 => 0x2000 | dice.Pick(0, 0, dice.Below(0x2000)), _ => dice.Pick(1, 185, dice.Below(0x2000)) };
            byte[]? options = dice.OneIn(12) ? Options.Ipv4(dice) : null;
            kind += (options is null ? "" : " options") + ((flags & 0x3fff) != 0 ? " fragment" : "");
            b.Ipv4(source, destination, hops, protocol, tos, dice.Below(65536), flags, options);
        }
        else
        {
            (int first, Action<FrameBuilder>? headers) = dice.OneIn(6) ? Options.Ipv6(dice, protocol) : (protocol, null);
            kind += headers is null ? "" : " extensions";
            b.Ipv6(source, destination, hops, first, tos, label);
            headers?.Invoke(b);
        }

        Transport(b, family, protocol, sourcePort, destinationPort, Payload(b.Length - network + (protocol switch { 17 or 1 or 58 => 8, 6 => 20, _ => 0 }), tag));
        byte[] padding = dice.OneIn(8) ? dice.Bytes(dice.Between(1, 40)) : [];
        return (port, kind, b.Build(padding));
    }

    private int Protocol(Family family) => dice.Below(10) switch { < 6 => 17, 6 or 7 => 6, 8 => family.Bits == 32 ? 1 : 58, _ => dice.Pick(47, 50, 132, 89, 59, 253, 4, 41) };

    private void Transport(FrameBuilder b, Family family, int protocol, int source, int destination, byte[] payload)
    {
        // 0 means "none" in UDP; a wrong one is the receiver's business, not the router's.
        int? checksum = dice.OneIn(8) ? dice.Pick(0, dice.Below(65536), 0xffff) : null;
        switch (protocol)
        {
            case 17:
                b.Udp(source, destination, payload, checksum);
                break;
            case 6:
                b.Tcp(source, destination, dice.Seed(), dice.Pick(0x02, 0x10, 0x18, 0x04, 0x11, dice.Below(256)), payload, checksum);
                break;
            case 1:
                // No timestamp requests (13): the answer is the time.
                b.Icmp(dice.Pick(8, 8, 8, 0, 3, 11, 12, 5, 15, 17, 42), dice.OneIn(3) ? dice.Below(16) : 0, dice.Seed(), payload);
                break;
            case 58:
                b.Icmpv6(dice.Pick(128, 128, 128, 129, 1, 2, 3, 4, 100, 144, 200), dice.OneIn(3) ? dice.Below(8) : 0, dice.Seed(), payload);
                break;
            default:
                b.Raw(payload);
                break;
        }
    }

    /// <summary>
    /// The tag and more, so that the packet is nothing, short, near one of the MTUs in use (mostly exactly as long, or one byte
    /// longer), or of any length.
    /// </summary>
    private byte[] Payload(int headers, byte[] tag)
    {
        if (dice.OneIn(12))
        {
            return dice.Bytes(dice.Below(8));
        }

        int total = dice.Below(10) switch
        {
            < 5 => dice.Between(headers + 20, headers + 92),
            < 8 => dice.PickFrom(dice.OneIn(2) ? s_portMtu : configuration.Mtus) + dice.Pick(-1, 0, 0, 0, 1, 1, 1, 2, 4, 5),
            _ => dice.Between(headers + 20, RouterPair.Mtu),
        };
        return [.. tag, .. dice.Bytes(Math.Max(0, total - headers - tag.Length))];
    }
}
