using System.Net;
using System.Net.Sockets;

namespace FastPathSync.Topology;

/// <summary>
/// The lab with IPv6: c0 fd01::2 ── r0 fd01::1 ROUTER r1 fd02::1 ── s0 fd02::2, r2 fd03::1 ── s1 fd03::2; the server owns
/// fd09::/16, which the router reaches via fd02::2. Sends random packets through the kernel alone before the product starts; what
/// is no forwarded packet is ExceptionLab's.
/// </summary>
public class Ipv6Lab : RouterLab
{
    public const string Target6 = "fd09::1";
    private const ushort Ipv6 = 0x86dd;
    private readonly Socket? _silent;

    public Ipv6Lab()
    {
        try
        {
            foreach (LabNamespace ns in (LabNamespace[])[Client, Router, Server])
            {
                // An address is of use at once; answers to errors are not rationed.
                ns.Sysctl(
                    ("net.ipv6.conf.default.accept_dad", "0"), ("net.ipv6.conf.all.accept_dad", "0"),
                    ("net.ipv6.conf.default.disable_ipv6", "0"), ("net.ipv6.conf.all.disable_ipv6", "0"), ("net.ipv6.icmp.ratelimit", "0"),
                    ("net.ipv4.icmp_msgs_per_sec", "1000000"), ("net.ipv4.icmp_msgs_burst", "1000000"));
            }

            Router.Sysctl(("net.ipv6.conf.all.forwarding", "1"));
            Client.Run("ip address add fd01::2/64 dev c0 nodad");
            Router.Run("ip address add fd01::1/64 dev r0 nodad");
            Router.Run("ip address add fd02::1/64 dev r1 nodad");
            Router.Run("ip address add fd03::1/64 dev r2 nodad");
            Server.Run("ip address add fd02::2/64 dev s0 nodad");
            Server.Run("ip address add fd03::2/64 dev s1 nodad");
            Client.Run("ip route add default via fd01::1");
            Server.Run("ip route add default via fd02::1");
            Server.Run("ip route add local fd09::/16 dev lo");
            Server.Run("ip route add local fd0a::/16 dev lo");
            Server.Run("ip route add local 10.50.0.0/16 dev lo");
            Router.Run("ip route add fd09::/16 via fd02::2");
            Router.Run("ip route add fd0a::/16 via fd02::2 mtu 1400");

            // As RouterLab's own: what goes to this port brings nothing back.
            _silent = Server.Inside(() =>
            {
                Socket s = new(AddressFamily.InterNetworkV6, SocketType.Dgram, ProtocolType.Udp) { DualMode = false };
                s.Bind(new IPEndPoint(IPAddress.IPv6Any, SilentPort));
                return s;
            });
            WarmUp6();
            Packets = Forwardable(seed: 20261121, count: 1500);
            KernelFrames = SendThrough(Packets);
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public byte[][] Packets { get; }

    public List<byte[]> KernelFrames { get; }

    public void WarmUp6()
    {
        WarmUp();
        Client.Run("ping -6 -q -c 1 -W 2 fd01::1");
        Router.Run("ping -6 -q -c 1 -W 2 fd02::2");
        Router.Run("ping -6 -q -c 1 -W 2 fd03::2");
    }

    /// <summary>Sends them from the client and gives what the server's first link receives of them.</summary>
    public List<byte[]> SendThrough(byte[][] packets)
    {
        using PacketSocket client = Client.OpenPacketSocket("c0");
        using PacketSocket server = Server.OpenPacketSocket("s0", Ipv6);
        client.Send(packets, packetsPerSecond: 5_000);
        return [.. server.TakeWhenQuiet(packets.Length).Select(f => f.Bytes).Where(f => f[38] == 0xfd && f[39] == 0x09)];
    }

    public PacketBuilder ToTarget(byte hopLimit = 64, string destination = Target6, string source = "fd01::2") =>
        FromClient().Ipv6(source, destination, hopLimit);

    public override void Dispose()
    {
        _silent?.Dispose();
        base.Dispose();
    }

    /// <summary>Packets that a router forwards without exception: sizes, hop limits, classes, labels, extension headers, padding, odd checksums.</summary>
    private byte[][] Forwardable(int seed, int count)
    {
        Random random = new(seed);
        return [.. Enumerable.Range(0, count).Select(_ => One(random))];
    }

    private byte[] One(Random random)
    {
        byte protocol = random.Next(6) switch { 0 => 6, 1 => 58, 2 => 59, 3 => (byte)random.Next(100, 130), _ => 17 };
        (byte? first, byte[] extensions) = Extensions(random, protocol);
        PacketBuilder packet = FromClient().Ipv6(
            random.Next(20) == 0 ? "fd02::1" : $"fd01::{random.Next(10, 14):x}",
            $"fd09:{random.Next(0, 4)}::{random.Next(1, 255):x}",
            hopLimit: (byte)random.Next(2, 256),
            trafficClass: (byte)random.Next(256),
            flowLabel: random.Next(1 << 20),
            protocol: protocol,
            firstHeader: first,
            extensions: extensions);
        byte[] payload = new byte[random.Next(3) == 0 ? random.Next(1400, 1441 - extensions.Length) : random.Next(0, 400)];
        random.NextBytes(payload);
        packet = protocol switch
        {
            17 => packet.Udp((ushort)random.Next(65536), (ushort)random.Next(65536), payload, random.Next(4) switch { 0 => 0, 1 => (ushort)random.Next(65536), _ => null }),
            6 => packet.Tcp((ushort)random.Next(65536), (ushort)random.Next(65536), (uint)random.Next(), (byte)random.Next(64), payload),
            58 => packet.Icmpv6Echo((ushort)random.Next(65536), (ushort)random.Next(65536), payload),
            _ => packet.Raw(payload),
        };
        byte[] padding = new byte[payload.Length < 1300 && random.Next(3) == 0 ? random.Next(1, 30) : 0];
        random.NextBytes(padding);
        return packet.Build(padding);
    }

    /// <summary>None, destination options, a routing header on its way, a fragment header, or options behind which hop-by-hop options stand.</summary>
    private static (byte? First, byte[] Bytes) Extensions(Random random, byte protocol) => random.Next(10) switch
    {
        0 => (60, [protocol, 0, 1, 4, 0, 0, 0, 0]),
        1 => (43, [protocol, 2, 4, 1, 0, 0, 0, 0, 0xfd, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x77]),
        2 => (44, [protocol, 0, 0, (byte)(random.Next(2) | (random.Next(16) << 3)), 1, 2, 3, 4]),
        3 => (60, [0, 0, 1, 4, 0, 0, 0, 0, protocol, 0, 1, 4, 0, 0, 0, 0]),
        _ => (null, []),
    };
}
