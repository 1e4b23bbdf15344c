using System.Net;
using System.Net.Sockets;

namespace FastPathSync.Topology;

/// <summary>A packet, how it leaves the fast path ("punted no-route", "passed link-local"), and what the kernel alone answers to it.</summary>
public sealed record Ipv6Case(string Name, string Way, byte[] Frame)
{
    public List<string> AtClient { get; set; } = [];

    public List<string> AtServer { get; set; } = [];
}

/// <summary>
/// The lab with IPv6: c0 fd01::2 ── r0 fd01::1 ROUTER r1 fd02::1 ── s0 fd02::2, r2 fd03::1 ── s1 fd03::2; the server owns
/// fd09::/16, which the router reaches via fd02::2, and other prefixes have routes of every kind. Sends random packets and
/// exceptions through the kernel alone before the product starts.
/// </summary>
public class Ipv6Lab : RouterLab
{
    public const string Target6 = "fd09::1";
    private const ushort Ipv6 = 0x86dd;
    private static readonly byte[] s_small = [1, 2, 3, 4];
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
            Router.Run("ip route add fd0b::/16 via fd02::2 mtu lock 1300");
            Router.Run("ip route add blackhole fd20:1::/32");
            Router.Run("ip route add unreachable fd20:2::/32");
            Router.Run("ip route add prohibit fd20:3::/32");
            Router.Run("ip neigh add fd01::9 lladdr 02:00:00:00:00:99 dev r0 nud permanent");
            Neighbour("fd01::20");
            Neighbour("fd01::21");
            Router.Run("ip neigh add fe80::1234 lladdr 02:00:00:00:00:99 dev r0 nud permanent");

            // As RouterLab's own: what goes to this port brings nothing back.
            _silent = Server.Inside(() =>
            {
                Socket s = new(AddressFamily.InterNetworkV6, SocketType.Dgram, ProtocolType.Udp) { DualMode = false };
                s.Bind(new IPEndPoint(IPAddress.IPv6Any, SilentPort));
                return s;
            });
            WarmUp6();
            Wait.Until(
                () => Router.Run("ip -6 address show tentative").Output.Length == 0, TimeSpan.FromSeconds(5), "link-local addresses, from which redirects are sent, are in use");
            Cases = MakeCases();
            foreach (Ipv6Case c in Cases)
            {
                (c.AtClient, c.AtServer) = Exchange(c.Frame);
            }

            Packets = Forwardable(seed: 20261121, count: 1500);
            KernelFrames = SendThrough(Packets);
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public Ipv6Case[] Cases { get; }

    public byte[][] Packets { get; }

    public List<byte[]> KernelFrames { get; }

    public void WarmUp6()
    {
        WarmUp();
        Client.Run("ping -6 -q -c 1 -W 2 fd01::1");
        Router.Run("ping -6 -q -c 1 -W 2 fd02::2");
        Router.Run("ping -6 -q -c 1 -W 2 fd03::2");
    }

    /// <summary>Sends one frame from the client; gives what comes back and what comes through, of what is about this packet.</summary>
    public (List<string> AtClient, List<string> AtServer) Exchange(byte[] frame)
    {
        using PacketSocket client = Client.OpenPacketSocket("c0", Ipv6);
        using PacketSocket server = Server.OpenPacketSocket("s0", Ipv6);
        client.TakeWhenQuiet(quietSeconds: 0.03); // answers to what was sent before may still be on their way
        client.Send(frame);
        List<string> through = [.. server.TakeWhenQuiet(quietSeconds: 0.2).Where(f => !IsNeighbourDiscovery(f.Bytes) && !IsLateUnreachable(f.Bytes)).Select(f => Normal(f.Bytes))];
        return ([.. client.Take().Where(f => !IsNeighbourDiscovery(f.Bytes) && !IsServers(f.Bytes)).Select(f => Normal(f.Bytes))], through);
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

    /// <summary>One more host behind c0.</summary>
    private void Neighbour(string address) => Router.Run($"ip neigh add {address} lladdr {string.Join(':', Client.MacOf("c0").Select(b => $"{b:x2}"))} dev r0 nud permanent");

    private Ipv6Case[] MakeCases()
    {
        // Redirects are rationed by whom they are for (inet_peer_xrlim_allow), errors to the same host count: hosts of their own.
        byte[] large = new byte[1342];
        byte[] padN = [17, 0, 1, 4, 0, 0, 0, 0], unknownOption = [17, 0, 0xbe, 4, 0, 0, 0, 0];
        return
        [
            new("hop-limit-1", "punted ttl-expired", ToTarget(1).Udp(1, 2, s_small).Build()),
            new("hop-limit-0", "punted ttl-expired", ToTarget(0).Udp(1, 2, s_small).Build()),
            new("too-big", "punted fragmentation-needed", ToTarget(destination: "fd0b::1").Udp(1, 2, large).Build()),
            new("too-big-unlocked", "punted fragmentation-needed", ToTarget(destination: "fd0a::1").Udp(1, 2, [.. large, .. new byte[50]]).Build()),
            new("no-route", "punted no-route", ToTarget(destination: "2001:db8::1").Udp(1, 2, s_small).Build()),
            new("blackhole", "punted blackhole", ToTarget(destination: "fd20:1::1").Udp(1, 2, s_small).Build()),
            new("unreachable", "punted unreachable", ToTarget(destination: "fd20:2::1").Udp(1, 2, s_small).Build()),
            new("prohibit", "punted prohibit", ToTarget(destination: "fd20:3::1").Udp(1, 2, s_small).Build()),
            new("hop-by-hop", "punted extension-header", FromClient().Ipv6("fd01::2", Target6, firstHeader: 0, extensions: padN).Udp(1, 2, s_small).Build()),
            new("unknown-option", "punted extension-header", FromClient().Ipv6("fd01::2", Target6, firstHeader: 0, extensions: unknownOption).Udp(1, 2, s_small).Build()),
            new("redirect", "punted redirect-needed", ToTarget(destination: "fd01::9", source: "fd01::20").Udp(1, 2, s_small).Build()),
            new("anycast", "punted local", ToTarget(destination: "fd02::").Udp(1, 2, s_small).Build()),
            new("unspecified-source", "punted martian-source", ToTarget(source: "::").Udp(1, 2, s_small).Build()),
            new("loopback-source", "punted martian-source", ToTarget(source: "::1").Udp(1, 2, s_small).Build()),
            new("truncated", "punted truncated", ToTarget().Udp(1, 2, s_small).Build()[..^2]),
            new("own-source", "forwarded", ToTarget(source: "fd02::1").Udp(1, SilentPort, s_small).Build()),
            new("link-local-source", "passed link-local", ToTarget(source: "fe80::99").Udp(1, 2, s_small).Build()),
            new("link-local-destination", "passed link-local", ToTarget(destination: "fe80::1234", source: "fd01::21").Udp(1, 2, s_small).Build()),
            new("multicast-destination", "passed multicast", ToTarget(destination: "ff0e::1234").Udp(1, 2, s_small).Build()),
            new("ours", "passed local-address", ToTarget(destination: "fd02::1").Udp(1, 2, s_small).Build()),
        ];
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

    private static bool IsNeighbourDiscovery(byte[] f) => f[20] == 58 && f[54] is >= 133 and <= 136 || f[38] == 0xff && f[20] == 0;

    /// <summary>What the server answered to hosts that don't exist comes back when the router has given up on them: seconds later.</summary>
    private static bool IsLateUnreachable(byte[] f) => f[20] == 58 && f[54] == 1 && f[55] == 3;

    /// <summary>ICMPv6 of the server's own, about a port nobody listens on.</summary>
    private static bool IsServers(byte[] f) => f[20] == 58 && f[54] == 1 && f[55] == 4 && f[22] == 0xfd && f[23] == 9;

    /// <summary>The flow label of ICMPv6 depends on a secret of the boot: blanked.</summary>
    private static string Normal(byte[] frame)
    {
        if (frame[20] == 58)
        {
            frame[15] &= 0xf0;
            frame.AsSpan(16, 2).Clear();
        }

        return Convert.ToHexString(frame);
    }
}
