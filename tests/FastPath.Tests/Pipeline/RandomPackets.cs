using System.Buffers.Binary;
using FastPathSync.Packets;
using FastPathSync.Packets.Building;
using FastPathSync.SharedMemory.Tables;
using static FastPathSync.Packets.Building.Packet;

namespace FastPathSync.FastPath.Tests;

/// <summary>
/// Packets that come close to every edge: sound ones of every kind, and each of them now and then cut, lengthened, or with
/// bytes changed; half of the changed ones get a right header checksum again, so that the checks behind it are reached.
/// </summary>
public sealed class RandomPackets(int seed, Families families = Families.Ipv4)
{
    private static readonly string[] s_addresses =
    [
        "10.0.0.1", "10.0.0.254", "10.3.0.254", "10.3.0.255", "10.1.0.1", "10.1.2.1", "10.1.2.130", "10.1.2.200", "10.3.0.5",
        "10.3.0.6", "10.0.9.1", "10.4.0.1", "10.5.0.1", "10.6.0.1", "10.6.0.2", "10.7.0.1", "10.8.0.1", "11.0.0.1", "0.0.0.0",
        "0.5.0.1", "127.0.0.1", "224.0.0.5", "239.1.2.3", "240.0.0.1", "255.255.255.255", "255.255.255.254", "172.16.1.1",
    ];

    private static readonly string[] s_addresses6 =
    [
        "2001:db8::1", "2001:db8::254", "2001:db8:3::254", "2001:db8:3::", "2001:db8:1::1", "2001:db8:1:2::1", "2001:db8:1:2:8000::1",
        "2001:db8:1:2:c000::5", "2001:db8:1:2:c000::6", "2001:db8:3::5", "2001:db8:3::6", "2001:db8:9::1", "2001:db8:4::1", "2001:db8:5::1",
        "2001:db8:6::1", "2001:db8:6::2", "2001:db8:7::1", "2001:db8:8::1", "64:ff9b::a01:1", "3ffe::1", "::", "::1", "::2", "::2:0:0:1",
        "::ffff:10.1.0.1", "::ffff:10.3.0.5", "::ffff:127.0.0.1", "fe80::1", "febf:ffff::1", "fec0::1", "fe7f::1", "fdff::1", "ff02::1", "ff0e::5",
        "ff01::1", "ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    ];

    private static readonly int[] s_ttls = [0, 1, 2, 3, 64, 128, 255];
    private readonly Random _random = new(seed);

    public byte[] Next()
    {
        bool ipv6 = families == Families.Ipv6 || (families == Families.Both && _random.Next(2) == 0);
        byte[] p = ipv6 ? Sound6() : Sound();
        while (_random.Next(4) == 0)
        {
            switch (_random.Next(4))
            {
                case 0:
                    p = p[.._random.Next(p.Length + 1)];
                    break;
                case 1:
                    p = [.. p, .. Bytes(_random.Next(50))];
                    break;
                default:
                    if (p.Length > 0)
                    {
                        int at = _random.Next(3) == 0 ? _random.Next(p.Length) : Math.Min(p.Length - 1, 12 + _random.Next(ipv6 ? 50 : 30));
                        p[at] = (byte)_random.Next(256);
                    }

                    break;
            }

            if (!ipv6 && _random.Next(2) == 0)
            {
                MendHeaderChecksum(p);
            }
        }

        return p;
    }

    private static void MendHeaderChecksum(byte[] p)
    {
        int header = p.Length < 34 ? 0 : (p[14] & 15) * 4;
        if (header < 20 || p.Length < 14 + header)
        {
            return;
        }

        uint sum = 0;
        for (int i = 0; i < header; i += 2)
        {
            sum += i == 10 ? 0u : BinaryPrimitives.ReadUInt16BigEndian(p.AsSpan(14 + i));
        }

        BinaryPrimitives.WriteUInt16BigEndian(p.AsSpan(24), (ushort)~InternetChecksum.Fold(sum));
    }

    private byte[] Sound()
    {
        PacketBuilder b = Ether(type: _random.Next(40) == 0 ? EtherType.Arp : EtherType.Ipv4).Ipv4(
            source: _random.Next(3) == 0 ? Address() : "10.0.0.1",
            destination: Address(),
            ttl: s_ttls[_random.Next(s_ttls.Length)],
            id: _random.Next(65536),
            tos: _random.Next(256),
            flagsAndOffset: _random.Next(5) == 0 ? _random.Next(65536) : 0,
            options: _random.Next(20) == 0 ? [1, 1, 1, 0] : null);
        int size = _random.Next(5) switch { 0 => 0, 1 => 1480 + _random.Next(-40, 40), 2 => 556 + _random.Next(-20, 20), _ => _random.Next(100) };
        bool partial = _random.Next(2) == 0;
        b = _random.Next(4) switch
        {
            0 => b.Tcp(partialChecksum: partial),
            1 => b.Icmp(),
            2 => b.Udp(partialChecksum: partial),
            _ => b,
        };
        return b.Payload(Bytes(size)).PadTo(_random.Next(2) * 60).Build();
    }

    private byte[] Sound6()
    {
        PacketBuilder b = Ether(type: _random.Next(40) == 0 ? EtherType.Arp : EtherType.Ipv6).Ipv6(
            source: _random.Next(3) == 0 ? Address6() : "2001:db8::1",
            destination: Address6(),
            hopLimit: s_ttls[_random.Next(s_ttls.Length)],
            trafficClass: _random.Next(256),
            flowLabel: _random.Next(1 << 20),
            payloadLength: _random.Next(20) == 0 ? _random.Next(100) : null);
        while (_random.Next(4) == 0)
        {
            b = _random.Next(12) switch
            {
                0 => b.Extension(IpProtocol.HopByHop),
                1 => b.Extension(IpProtocol.Fragment, [(byte)_random.Next(2), (byte)_random.Next(2), 1, 2, 3, 4]),
                2 => b.Extension(IpProtocol.Ah, Bytes(14)),
                3 or 4 => b.Routing(_random.Next(6), _random.Next(3), [.. Enumerable.Range(0, _random.Next(3)).Select(_ => Address6())]),
                5 => b.Extension(IpProtocol.DestinationOptions, length: _random.Next(256)),
                _ => b.Extension(IpProtocol.DestinationOptions, Bytes(6 + (8 * _random.Next(3)))),
            };
        }

        int size = _random.Next(5) switch { 0 => 0, 1 => 1460 + _random.Next(-60, 40), 2 => 1240 + _random.Next(-60, 20), _ => _random.Next(100) };
        bool partial = _random.Next(2) == 0;
        b = _random.Next(5) switch
        {
            0 or 1 => b.Tcp(partialChecksum: partial),
            2 => b.Icmpv6(),
            3 => b.Udp(partialChecksum: partial),
            _ => b,
        };
        return b.Payload(Bytes(size)).PadTo(_random.Next(2) * 80).Build();
    }

    private string Address6() => _random.Next(6) == 0
        ? $"2001:db8:{_random.Next(10)}::{_random.Next(65536):x}"
        : s_addresses6[_random.Next(s_addresses6.Length)];

    private string Address() => _random.Next(6) == 0
        ? $"10.{_random.Next(10)}.{_random.Next(4)}.{_random.Next(256)}"
        : _random.Next(6) == 0 ? $"10.2.{_random.Next(256)}.{_random.Next(256)}" : s_addresses[_random.Next(s_addresses.Length)];

    private byte[] Bytes(int length)
    {
        byte[] b = new byte[length];
        _random.NextBytes(b);
        return b;
    }
}
