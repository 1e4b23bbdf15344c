using System.Buffers.Binary;
using FastPathSync.SharedMemory.Tables;
using static FastPathSync.FastPath.Tests.LabTables;

namespace FastPathSync.FastPath.Tests;

/// <summary>What of the settings makes a difference to the lab router.</summary>
public sealed record LabSettings(bool CheckSource = false, byte RpFilter = 0, bool Redirects = true);

/// <summary>
/// What <see cref="LabRouter"/> should do with a packet, written as plainly as can be, from the text of the kernel's
/// functions, one packet and one byte at a time; it shares no code with the pipeline. Legal outcomes are several where a
/// multipath route leaves the choice free.
/// </summary>
public sealed class ReferenceModel
{
    private sealed record Route(uint Prefix, int Length, params object[] Ways);

    private sealed record Via(int Port, string Mac, string Source, int Mtu);

    private sealed record OnLink(int Port, Dictionary<uint, Via> Neighbours, int Mtu);

    private static readonly Via s_a = new(1, LabRouter.MacA, "02:00:00:00:01:01", 1500);
    private static readonly Via s_b = new(2, LabRouter.MacB, "02:00:00:00:01:02", 576);
    private static readonly Via s_c = new(0, LabRouter.MacC, "02:00:00:00:01:00", 1500);

    private static readonly Route[] s_routes =
    [
        new(Ip("10.1.0.0"), 16, s_a),
        new(Ip("10.1.2.0"), 24, s_b),
        new(Ip("10.1.2.128"), 25, PuntReason.Blackhole),
        new(Ip("10.1.2.200"), 32, s_a),
        new(Ip("10.2.0.0"), 16, s_a, s_b),
        new(Ip("10.3.0.0"), 24, new OnLink(1, new() { [Ip("10.3.0.5")] = s_a }, 1400)),
        new(Ip("10.0.0.0"), 24, new OnLink(0, new() { [Ip("10.0.0.1")] = s_c }, 1500)),
        new(Ip("10.0.9.0"), 24, s_c),
        new(Ip("10.4.0.0"), 16, PuntReason.Unreachable),
        new(Ip("10.5.0.0"), 16, PuntReason.LinkDown),
        new(Ip("10.6.0.0"), 16, new OnLink(1, new() { [Ip("10.6.0.1")] = s_a }, 1500)),
        new(Ip("10.7.0.0"), 16, s_a with { Mtu = 65535 }),
        new(Ip("10.8.0.0"), 16, PuntReason.TosRoute),
        new(Ip("0.5.0.0"), 16, s_a),
        new(Ip("240.0.0.0"), 8, s_a),
        new(Ip("255.0.0.0"), 8, s_a),
        new(Ip("10.0.0.254"), 32, PuntReason.Local),
        new(Ip("10.3.0.254"), 32, PuntReason.Local),
        new(Ip("10.3.0.255"), 32, PuntReason.Broadcast),
        new(0, 0, PuntReason.NoRoute),
    ];

    public static IEnumerable<Outcome> Outcomes(byte[] packet, int rxPort, bool virtualPort, LabSettings settings)
    {
        if (packet is [_, _, _, _, _, _, _, _, _, _, _, _, 0x86, 0xdd, ..])
        {
            return ReferenceModel6.Outcomes(packet, rxPort, virtualPort);
        }

        PuntReason? fault = Fault(packet, rxPort, settings);
        if (fault is PuntReason f)
        {
            bool broken = f is PuntReason.Truncated or PuntReason.NotIp or PuntReason.HeaderError or PuntReason.ChecksumError;
            return [new Outcome(Verdict.Punt, f, null, virtualPort && !broken ? Completed(packet) : packet)];
        }

        byte[] whole = virtualPort ? Completed(packet) : packet;
        return BestRoute(Word32(packet, 30)).Ways.Select(way => Forward(whole, way, settings.Redirects ? rxPort : null));
    }

    private static PuntReason? Fault(byte[] p, int rxPort, LabSettings settings)
    {
        if (p.Length < 14)
        {
            return PuntReason.Truncated;
        }

        if (p[12] != 8 || p[13] != 0)
        {
            return PuntReason.NotIp;
        }

        if (p.Length < 34)
        {
            return PuntReason.Truncated;
        }

        int header = (p[14] & 15) * 4, total = Word16(p, 16);
        if (p[14] >> 4 != 4 || header < 20)
        {
            return PuntReason.HeaderError;
        }

        if (p.Length < 14 + header)
        {
            return PuntReason.Truncated;
        }

        if (Sum(p, 14, header) != 0xffff)
        {
            return PuntReason.ChecksumError;
        }

        if (p.Length - 14 < total)
        {
            return PuntReason.Truncated;
        }

        if (total < header)
        {
            return PuntReason.HeaderError;
        }

        if (header > 20)
        {
            return PuntReason.IpOptions;
        }

        byte[] source = p[26..30], destination = p[30..34];
        uint from = Word32(p, 26), to = Word32(p, 30);
        if (destination[0] is >= 224 and < 240)
        {
            return PuntReason.Multicast;
        }

        if (source[0] is >= 224 and < 240 || from == uint.MaxValue)
        {
            return PuntReason.MartianSource;
        }

        if (to == uint.MaxValue)
        {
            return PuntReason.Broadcast;
        }

        if (from == 0)
        {
            return PuntReason.MartianSource;
        }

        if (to == 0 || destination[0] == 127)
        {
            return PuntReason.MartianDestination;
        }

        if (source[0] == 127 || from == Ip("10.0.0.254") || from == Ip("10.3.0.254"))
        {
            return PuntReason.MartianSource;
        }

        return settings.CheckSource || settings.RpFilter != 0 ? ReverseFault(BestRoute(from).Ways, rxPort, settings.RpFilter) : null;
    }

    /// <summary>__fib_validate_source</summary>
    private static PuntReason? ReverseFault(object[] ways, int rxPort, byte filter)
    {
        switch (ways[0])
        {
            case PuntReason.Broadcast:
                return PuntReason.MartianSource;
            case PuntReason.TosRoute:
                return PuntReason.TosRoute;
            case PuntReason.NoRoute or PuntReason.Blackhole or PuntReason.Unreachable:
                return filter != 0 ? PuntReason.ReversePath : null;
        }

        bool match = ways.Any(w => w switch
        {
            Via v => v.Port == rxPort,
            OnLink l => l.Port == rxPort,
            _ => false,
        });
        return filter == 1 && !match ? PuntReason.ReversePath : null;
    }

    private static Outcome Forward(byte[] p, object way, int? redirecting)
    {
        Via? via = way as Via;
        if (way is PuntReason reason)
        {
            return new Outcome(Verdict.Punt, reason, null, p);
        }

        int mtu = via?.Mtu ?? 0;
        if (way is OnLink link)
        {
            if (!link.Neighbours.TryGetValue(Word32(p, 30), out via))
            {
                return new Outcome(Verdict.Punt, PuntReason.NoNeighbour, null, p);
            }

            mtu = link.Mtu;
        }

        int total = Word16(p, 16);
        PuntReason? refusal =
            p[22] < 2 ? PuntReason.TtlExpired : total > mtu ? PuntReason.FragmentationNeeded
            : via!.Port == redirecting ? PuntReason.RedirectNeeded : null;
        if (refusal is not null)
        {
            return new Outcome(Verdict.Punt, refusal, null, p);
        }

        byte[] sent = p[..(14 + total)];
        Convert.FromHexString(via!.Mac.Replace(":", "", StringComparison.Ordinal)).CopyTo(sent, 0);
        Convert.FromHexString(via.Source.Replace(":", "", StringComparison.Ordinal)).CopyTo(sent, 6);
        sent[22]--;

        // ip_decrease_ttl, in the order of the wire: check += 0x0100, plus one if that is 0xffff or more.
        uint check = (uint)(sent[24] | (sent[25] << 8)) + 1;
        check += check >= 0xffff ? 1u : 0;
        (sent[24], sent[25]) = ((byte)check, (byte)(check >> 8));
        return new Outcome(Verdict.Forward, null, via.Port, sent);
    }

    /// <summary>skb_checksum_help, for whatever carries the pseudo header's sum as its checksum and isn't right as it is.</summary>
    private static byte[] Completed(byte[] packet)
    {
        byte[] p = [.. packet];
        int header = (p[14] & 15) * 4, length = Word16(p, 16) - header, start = 14 + header;
        int field = p[23] == 6 ? start + 16 : start + 6;
        if ((p[23] != 6 && p[23] != 17) || length < (p[23] == 6 ? 20 : 8) || (Word16(p, 20) & 0x3fff) != 0)
        {
            return p;
        }

        int pseudo = Fold(Sum(p, 26, 8) + p[23] + length);
        if (Word16(p, field) != pseudo || Fold(Sum(p, start, length) + pseudo) == 0xffff)
        {
            return p;
        }

        int check = 0xffff - Sum(p, start, length);
        BinaryPrimitives.WriteUInt16BigEndian(p.AsSpan(field), (ushort)(check == 0 ? 0xffff : check));
        return p;
    }

    private static Route BestRoute(uint address) =>
        s_routes.Where(r => r.Length == 0 || (address ^ r.Prefix) >> (32 - r.Length) == 0).MaxBy(r => r.Length)!;

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

    private static uint Word32(byte[] p, int at) => BinaryPrimitives.ReadUInt32BigEndian(p.AsSpan(at));
}
