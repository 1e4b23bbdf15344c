using System.Buffers.Binary;
using FastPathSync.Packets;
using FastPathSync.Packets.Building;
using static FastPathSync.Packets.Building.Packet;

namespace FastPathSync.FastPath.Tests;

/// <summary>
/// Packets that come close to every edge: sound ones of every kind, and each of them now and then cut, lengthened, or with
/// bytes changed; half of the changed ones get a right header checksum again, so that the checks behind it are reached.
/// </summary>
public sealed class RandomPackets(int seed)
{
    private static readonly string[] s_addresses =
    [
        "10.0.0.1", "10.0.0.254", "10.3.0.254", "10.3.0.255", "10.1.0.1", "10.1.2.1", "10.1.2.130", "10.1.2.200", "10.3.0.5",
        "10.3.0.6", "10.0.9.1", "10.4.0.1", "10.5.0.1", "10.6.0.1", "10.6.0.2", "10.7.0.1", "10.8.0.1", "11.0.0.1", "0.0.0.0",
        "0.5.0.1", "127.0.0.1", "224.0.0.5", "239.1.2.3", "240.0.0.1", "255.255.255.255", "255.255.255.254", "172.16.1.1",
    ];

    private static readonly int[] s_ttls = [0, 1, 2, 3, 64, 128, 255];
    private readonly Random _random = new(seed);

    public byte[] Next()
    {
        byte[] p = Sound();
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
                        int at = _random.Next(3) == 0 ? _random.Next(p.Length) : Math.Min(p.Length - 1, 12 + _random.Next(30));
                        p[at] = (byte)_random.Next(256);
                    }

                    break;
            }

            if (_random.Next(2) == 0)
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
