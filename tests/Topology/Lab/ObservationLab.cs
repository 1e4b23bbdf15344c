using System.Buffers.Binary;

namespace FastPathSync.Topology;

/// <summary>
/// The lab with both families and something of everything in its tables: routes of all kinds, multipath, nexthop objects, neighbours
/// that nobody has, an egress that is no port; and rules, while a test wants them.
/// </summary>
public sealed class ObservationLab : RouterLab
{
    private static readonly string[] s_rules =
        ["from 10.1.0.64/26 lookup 100", "to 10.26.0.0/16 prohibit", "to 10.27.0.0/16 blackhole", "tos 0x10 lookup 100", "ipproto udp dport 2000 lookup 100"];

    private static readonly string[] s_rules6 = ["from fd01::4000/114 lookup 100", "to fd26::/16 prohibit", "ipproto tcp dport 2000 lookup 100"];

    private static readonly string[] s_destinations =
    [
        "10.9.0.1", "10.9.3.7", "10.20.1.1", "10.20.2.1", "10.20.3.1", "10.20.4.1", "10.20.5.1", "10.21.0.1", "10.21.7.9", "10.22.0.1", "10.23.0.1",
        "10.24.0.1", "10.25.0.1", "10.26.0.1", "10.27.0.1", "10.28.1.1", "10.2.0.2", "10.3.0.2", "10.2.0.99", "10.1.0.1", "10.2.0.255", "10.1.0.77", "172.31.1.1",
        "127.0.0.1", "224.0.0.5", "255.255.255.255", "0.0.0.0", "240.0.0.1", "169.254.1.1",
    ];

    private static readonly string[] s_destinations6 =
    [
        "fd09::1", "fd09:1::7", "fd20:1::1", "fd20:2::1", "fd20:3::1", "fd21::1", "fd21::2:3", "fd22::1", "fd23::1", "fd24::1", "fd26::1", "fd02::2", "fd03::2", "fd02::99",
        "fd01::1", "fd02::", "fd01::77", "2001:db8::1", "::1", "::", "ff02::1", "ff0e::5", "fe80::1", "fec0::1", "::ffff:10.9.0.1",
    ];

    private static readonly string[] s_sources = ["10.1.0.2", "10.1.0.70", "10.1.0.100", "10.9.9.9", "172.16.1.1", "10.2.0.1", "0.0.0.0", "127.0.0.1", "224.0.0.1", "240.0.0.9"];
    private static readonly string[] s_sources6 = ["fd01::2", "fd01::4001", "fd01::42", "fd09::9", "2001:db8::9", "fd02::1", "::", "::1", "fe80::2", "ff02::2"];

    public ObservationLab()
    {
        try
        {
            foreach (LabNamespace ns in (LabNamespace[])[Client, Router, Server])
            {
                ns.Sysctl(
                    ("net.ipv6.conf.default.accept_dad", "0"), ("net.ipv6.conf.all.accept_dad", "0"),
                    ("net.ipv6.conf.default.disable_ipv6", "0"), ("net.ipv6.conf.all.disable_ipv6", "0"));
            }

            Router.Sysctl(("net.ipv6.conf.all.forwarding", "1"));
            foreach ((LabNamespace ns, string address, string dev) in ((LabNamespace, string, string)[])
                [(Client, "fd01::2", "c0"), (Router, "fd01::1", "r0"), (Router, "fd02::1", "r1"), (Router, "fd03::1", "r2"), (Server, "fd02::2", "s0"), (Server, "fd03::2", "s1")])
            {
                ns.Run($"ip address add {address}/64 dev {dev} nodad");
            }

            Client.Run("ip route add default via fd01::1");
            Server.Run("ip route add default via fd02::1");
            Lab.Link(Router, "d0", Server, "s3"); // no port
            Router.Run("ip nexthop add id 7 via 10.3.0.2 dev r2");
            Router.Run("ip nexthop add id 8 via 10.2.0.2 dev r1");
            Router.Run("ip nexthop add id 9 group 7/8");
            foreach (string route in (string[])
                [
                    "blackhole 10.20.1.0/24", "unreachable 10.20.2.0/24", "prohibit 10.20.3.0/24", "10.20.4.0/24 via 10.2.0.2 mtu 1000", "throw 10.20.5.0/24",
                    "10.21.0.0/16 nexthop via 10.2.0.2 nexthop via 10.3.0.2", "10.22.0.0/16 via 10.2.0.77", "10.23.0.0/16 dev d0", "10.24.0.0/16 nhid 7",
                    "10.25.0.0/16 via 10.1.0.2", "10.28.0.0/16 nhid 9", "10.9.0.0/16 via 10.3.0.2 table 100", "fd09::/16 via fd02::2", "blackhole fd20:1::/32", "unreachable fd20:2::/32",
                    "prohibit fd20:3::/32", "fd21::/16 nexthop via fd02::2 nexthop via fd03::2", "fd22::/16 via fd02::77", "fd23::/16 dev d0", "fd24::/16 via fd01::2",
                    "fd09::/16 via fd03::2 table 100",
                ])
            {
                Router.Run($"ip route add {route}");
            }

            Router.Run("ping -6 -q -c 1 -W 2 fd01::2");
            Router.Run("ping -6 -q -c 1 -W 2 fd02::2");
            Router.Run("ping -6 -q -c 1 -W 2 fd03::2");
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public void SetRules(bool on)
    {
        foreach ((string rule, int n) in s_rules.Select((r, i) => (r, i)))
        {
            Router.Run($"ip rule {(on ? "add" : "del")} priority {1000 + n} {rule}");
        }

        foreach ((string rule, int n) in s_rules6.Select((r, i) => (r, i)))
        {
            Router.Run($"ip -6 rule {(on ? "add" : "del")} priority {1000 + n} {rule}");
        }
    }

    /// <summary>Valid, odd and broken packets of both families for r0, always the same for a seed; each is there once.</summary>
    public List<byte[]> OddPackets(int seed, int count)
    {
        Random random = new(seed);
        HashSet<string> seen = [];
        List<byte[]> packets = [];
        while (packets.Count < count)
        {
            byte[] p = random.Next(2) == 0 ? Ipv4(random) : Ipv6(random);
            p = random.Next(4) == 0 ? Damaged(p, random) : p;
            if (seen.Add(Convert.ToHexString(p)))
            {
                packets.Add(p);
            }
        }

        return packets;
    }

    private byte[] Ipv4(Random random)
    {
        string from = random.Next(3) == 0 ? Pick(random, s_sources) : $"10.1.0.{random.Next(2, 255)}";
        string to = random.Next(3) == 0 ? $"10.{random.Next(20, 30)}.{random.Next(4)}.{random.Next(1, 255)}" : Pick(random, s_destinations);
        ushort flags = random.Next(5) switch { 0 => 0x4000, 1 => (ushort)(random.Next(0, 0x4000)), _ => 0 };
        byte protocol = random.Next(8) switch { 0 => 6, 1 => 1, 2 => 47, _ => 17 };
        PacketBuilder b = FromClient().Ipv4(
            from, to, ttl: (byte)(random.Next(5) == 0 ? random.Next(3) : 64), tos: (byte)(random.Next(3) == 0 ? random.Next(256) : random.Next(8) == 0 ? 0x10 : 0), id: (ushort)random.Next(65536),
            flagsAndOffset: flags, protocol: protocol, options: random.Next(20) == 0 ? [1, 1, 1, 0] : null);
        return Transport(b, random, protocol, random.Next(4) == 0 ? random.Next(900, 1440) : random.Next(100));
    }

    private byte[] Ipv6(Random random)
    {
        string from = random.Next(3) == 0 ? Pick(random, s_sources6) : $"fd01::{random.Next(2, 0x8000):x}";
        string to = random.Next(4) == 0 ? $"fd2{random.Next(1, 7)}::{random.Next(1, 65536):x}" : Pick(random, s_destinations6);
        byte protocol = random.Next(6) switch { 0 => 6, 1 => 58, 2 => 47, _ => 17 };
        byte? first = random.Next(12) switch { 0 => 0, 1 => 60, _ => null };
        PacketBuilder b = FromClient().Ipv6(
            from, to, hopLimit: (byte)(random.Next(5) == 0 ? random.Next(3) : 64), trafficClass: random.Next(3) == 0 ? (byte)random.Next(256) : (byte)0, flowLabel: random.Next(1 << 20),
            protocol: protocol, firstHeader: first, extensions: first is null ? null : [protocol, 0, 1, 4, 0, 0, 0, 0]);
        return Transport(b, random, protocol, random.Next(100));
    }

    private static byte[] Transport(PacketBuilder b, Random random, byte protocol, int length)
    {
        byte[] payload = new byte[length];
        random.NextBytes(payload);
        ushort from = (ushort)random.Next(65536), to = (ushort)(random.Next(3) == 0 ? 2000 : random.Next(65536));
        return (protocol switch
        {
            17 => b.Udp(from, to, payload),
            6 => b.Tcp(from, to, (uint)random.Next(), 0x10, payload),
            1 => b.IcmpEcho(from, to, payload),
            58 => b.Icmpv6Echo(from, to, payload),
            _ => b.Raw(payload),
        }).Build(random.Next(6) == 0 ? new byte[random.Next(1, 20)] : null);
    }

    /// <summary>Cut, or with a byte changed; half of the IPv4 ones then get a right checksum, so that what is behind it is reached.</summary>
    private static byte[] Damaged(byte[] p, Random random)
    {
        if (random.Next(3) == 0)
        {
            return p[..random.Next(14, p.Length + 1)];
        }

        p[random.Next(3) == 0 ? random.Next(p.Length) : Math.Min(p.Length - 1, 12 + random.Next(30))] = (byte)random.Next(256);
        int header = p.Length < 34 ? 0 : (p[14] & 15) * 4;
        if (random.Next(2) == 0 && p[12] == 8 && header >= 20 && p.Length >= 14 + header)
        {
            p[24] = p[25] = 0;
            BinaryPrimitives.WriteUInt16BigEndian(p.AsSpan(24), PacketBuilder.Checksum(p.AsSpan(14, header), 0));
        }

        return p;
    }

    private static string Pick(Random random, string[] from) => from[random.Next(from.Length)];
}
