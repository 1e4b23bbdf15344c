using System.Buffers.Binary;
using System.Net;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FastPath.Tests;

/// <summary>The IPv6 half of <see cref="ReferenceModel"/>: packets with EtherType 0x86dd. Addresses are byte arrays and text here.</summary>
public static class ReferenceModel6
{
    private const int Ip = 14, NextHeader = Ip + 6, HopLimit = Ip + 7, Source = Ip + 8, Destination = Ip + 24, Payload = Ip + 40;

    private sealed record Route(string Prefix, int Length, params object[] Ways);

    private sealed record Via(int Port, string Mac, string Source, int Mtu);

    private sealed record OnLink(Dictionary<string, Via> Neighbours, int Mtu);

    private static readonly Via s_a = new(1, LabRouter.MacA, "02:00:00:00:01:01", 1500);
    private static readonly Via s_b = new(2, LabRouter.MacB, "02:00:00:00:01:02", 1280);
    private static readonly Via s_c = new(0, LabRouter.MacC, "02:00:00:00:01:00", 1500);

    private static readonly Route[] s_routes =
    [
        new("2001:db8:1::", 48, s_a),
        new("2001:db8:1:2::", 64, s_b),
        new("2001:db8:1:2:8000::", 65, PuntReason.Blackhole),
        new("2001:db8:1:2:c000::5", 128, s_a),
        new("2001:db8:2::", 48, s_a, s_b),
        new("2001:db8:3::", 64, new OnLink(new() { ["2001:db8:3::5"] = s_a }, 1400)),
        new("2001:db8::", 64, new OnLink(new() { ["2001:db8::1"] = s_c }, 1500)),
        new("2001:db8:9::", 48, s_c),
        new("2001:db8:4::", 48, PuntReason.Unreachable),
        new("2001:db8:5::", 48, PuntReason.LinkDown),
        new("2001:db8:6::", 48, new OnLink(new() { ["2001:db8:6::1"] = s_a }, 1500)),
        new("2001:db8:7::", 48, s_a with { Mtu = 65535 }),
        new("2001:db8:8::", 48, PuntReason.SourceRoute),
        new("64:ff9b::", 96, s_b),
        new("fec0::", 10, s_a),
        new("::2:0:0:0", 80, s_a),
        new("::ffff:10.1.0.0", 112, s_a),
        new("::ffff:10.3.0.0", 112, new OnLink([], 1500)),
        new("2001:db8::254", 128, PuntReason.Local),
        new("2001:db8:3::254", 128, PuntReason.Local),
        new("2001:db8:3::", 128, PuntReason.Local),
        new("::", 0, PuntReason.NoRoute),
    ];

    public static IEnumerable<Outcome> Outcomes(byte[] packet, int rxPort, bool virtualPort)
    {
        PuntReason? fault = Fault(packet);
        byte[] whole = virtualPort && fault is not PuntReason.HeaderError ? Completed(packet) : packet;
        return fault is PuntReason f
            ? [new Outcome(Verdict.Punt, f, null, whole)]
            : BestRoute(packet[Destination..Payload]).Ways.Select(way => Forward(whole, way, rxPort));
    }

    private static PuntReason? Fault(byte[] p)
    {
        if (p.Length < Payload)
        {
            return PuntReason.Truncated;
        }

        if (p[Ip] >> 4 != 6)
        {
            return PuntReason.HeaderError;
        }

        IPAddress source = new(p[Source..Destination]), destination = new(p[Destination..Payload]);
        if (source.Equals(IPAddress.IPv6Loopback))
        {
            return PuntReason.MartianSource;
        }

        if (destination.Equals(IPAddress.IPv6Loopback))
        {
            return PuntReason.MartianDestination;
        }

        if (destination.IsIPv6Multicast)
        {
            return PuntReason.Multicast;
        }

        if (source.IsIPv6Multicast)
        {
            return PuntReason.MartianSource;
        }

        if (p.Length < Payload + Word16(p, Ip + 4))
        {
            return PuntReason.Truncated;
        }

        if (p[NextHeader] == 0)
        {
            return PuntReason.ExtensionHeader;
        }

        if (source.Equals(IPAddress.IPv6Any))
        {
            return PuntReason.MartianSource;
        }

        if (destination.Equals(IPAddress.IPv6Any))
        {
            return PuntReason.MartianDestination;
        }

        return source.IsIPv6LinkLocal || destination.IsIPv6LinkLocal ? PuntReason.LinkLocal : null;
    }

    private static Outcome Forward(byte[] p, object way, int rxPort)
    {
        Via? via = way as Via;
        int mtu = via?.Mtu ?? 0;
        if (way is PuntReason reason)
        {
            return new Outcome(Verdict.Punt, reason, null, p);
        }

        if (way is OnLink link)
        {
            if (!link.Neighbours.TryGetValue(new IPAddress(p[Destination..Payload]).ToString(), out via))
            {
                return new Outcome(Verdict.Punt, PuntReason.NoNeighbour, null, p);
            }

            mtu = link.Mtu;
        }

        int length = 40 + Word16(p, Ip + 4);
        PuntReason? refusal =
            p[HopLimit] < 2 ? PuntReason.TtlExpired : via!.Port == rxPort ? PuntReason.RedirectNeeded
            : length > mtu ? PuntReason.FragmentationNeeded : null;
        if (refusal is not null)
        {
            return new Outcome(Verdict.Punt, refusal, null, p);
        }

        byte[] sent = p[..(Ip + length)];
        Convert.FromHexString(via!.Mac.Replace(":", "", StringComparison.Ordinal)).CopyTo(sent, 0);
        Convert.FromHexString(via.Source.Replace(":", "", StringComparison.Ordinal)).CopyTo(sent, 6);
        sent[HopLimit]--;
        return new Outcome(Verdict.Forward, null, via.Port, sent);
    }

    /// <summary>skb_checksum_help, for whatever carries the pseudo header's sum as its checksum and isn't right as it is.</summary>
    private static byte[] Completed(byte[] packet)
    {
        byte[] p = [.. packet];
        int end = p.Length < Payload ? 0 : Payload + Word16(p, Ip + 4), at = Payload;
        if (end == 0 || end > p.Length)
        {
            return p;
        }

        byte[] destination = p[Destination..Payload];
        int protocol = p[NextHeader];
        while (protocol is 0 or 43 or 60)
        {
            if (at + 8 > end || at + ((p[at + 1] + 1) * 8) > end)
            {
                return p;
            }

            int length = (p[at + 1] + 1) * 8;
            if (protocol == 43 && p[at + 3] > 0)
            {
                if (p[at + 2] != 2 && p[at + 2] != 4 || length < 24)
                {
                    return p;
                }

                destination = p[(at + 8)..(at + 24)];
            }

            protocol = p[at];
            at += length;
        }

        int field = protocol == 6 ? at + 16 : at + 6, size = end - at;
        if ((protocol != 6 && protocol != 17) || size < (protocol == 6 ? 20 : 8))
        {
            return p;
        }

        int pseudo = Fold(Sum(p, Source, 16) + Sum(destination, 0, 16) + protocol + size);
        if (Word16(p, field) != pseudo || Fold(Sum(p, at, size) + pseudo) == 0xffff)
        {
            return p;
        }

        int check = 0xffff - Sum(p, at, size);
        BinaryPrimitives.WriteUInt16BigEndian(p.AsSpan(field), (ushort)(check == 0 ? 0xffff : check));
        return p;
    }

    private static Route BestRoute(byte[] address) => s_routes.Where(r => Covers(r, address)).MaxBy(r => r.Length)!;

    private static bool Covers(Route r, byte[] address)
    {
        byte[] prefix = IPAddress.Parse(r.Prefix).GetAddressBytes();
        return Enumerable.Range(0, r.Length).All(bit => ((prefix[bit / 8] ^ address[bit / 8]) >> (7 - (bit % 8)) & 1) == 0);
    }

    private static int Sum(byte[] p, int at, int length)
    {
        int sum = 0;
        for (int i = 0; i < length; i++)
        {
            sum += i % 2 == 0 ? p[at + i] << 8 : p[at + i];
        }

        return Fold(sum);
    }

    private static int Fold(int sum)
    {
        while (sum > 0xffff)
        {
            sum = (sum & 0xffff) + (sum >> 16);
        }

        return sum;
    }

    private static int Word16(byte[] p, int at) => BinaryPrimitives.ReadUInt16BigEndian(p.AsSpan(at));
}
