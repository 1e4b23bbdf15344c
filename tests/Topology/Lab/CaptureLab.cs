using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace FastPathSync.Topology;

/// <summary>A frame as tcpdump -w wrote it.</summary>
/// <param name="Time">Microseconds.</param>
/// <param name="IfIndex">With -i any; 0 otherwise.</param>
/// <param name="PacketType">PACKET_HOST (0), PACKET_OTHERHOST (3), PACKET_OUTGOING (4); with -i any.</param>
/// <param name="Bytes">From the Ethernet header on, with -i any from the network header on.</param>
public sealed record TcpdumpFrame(long Time, uint IfIndex, byte PacketType, byte[] Bytes)
{
    private const int FileHeader = 24, RecordHeader = 16, CookedV2Header = 20;
    private const uint DLT_LINUX_SLL2 = 276;

    public string Text => $"{IfIndex} {Normal(Bytes, IfIndex == 0 ? 14 : 0)}";

    /// <summary>Without what whoever answers chooses at random: IPv4's identification (and so the checksum), IPv6's flow label.</summary>
    /// <param name="frame">Of an IP packet.</param>
    /// <param name="ip">Where that begins.</param>
    public static string Normal(byte[] frame, int ip)
    {
        byte[] f = [.. frame];
        (int Offset, int Length)[] random = f[ip] >> 4 == 4 ? [(4, 2), (10, 2)] : [(1, 3)];
        foreach ((int offset, int length) in random)
        {
            f.AsSpan(ip + offset, length).Clear();
        }

        return Convert.ToHexStringLower(f);
    }

    /// <summary>pcap-savefile(5), little-endian, microseconds.</summary>
    public static List<TcpdumpFrame> Read(string path)
    {
        ReadOnlySpan<byte> file = File.ReadAllBytes(path);
        bool cooked = BinaryPrimitives.ReadUInt32LittleEndian(file[20..]) == DLT_LINUX_SLL2;
        List<TcpdumpFrame> frames = [];
        for (file = file[FileHeader..]; file.Length >= RecordHeader;)
        {
            long time = (BinaryPrimitives.ReadUInt32LittleEndian(file) * 1_000_000L) + BinaryPrimitives.ReadUInt32LittleEndian(file[4..]);
            int length = (int)BinaryPrimitives.ReadUInt32LittleEndian(file[8..]);
            ReadOnlySpan<byte> frame = file.Slice(RecordHeader, length);
            frames.Add(cooked
                ? new TcpdumpFrame(time, BinaryPrimitives.ReadUInt32BigEndian(frame[4..]), frame[10], frame[CookedV2Header..].ToArray())
                : new TcpdumpFrame(time, 0, 0, frame.ToArray()));
            file = file[(RecordHeader + length)..];
        }

        return frames;
    }
}

/// <summary>
/// The lab with IPv6 and a mixed lot of packets, forwarded ones, exceptions and such as are for the router, in both directions; knows
/// what tcpdump sees of them where the kernel forwards.
/// </summary>
public class CaptureLab : RouterLab
{
    /// <summary>Ours among what else passes (ND, MLD) have this in them, also those that an ICMP error quotes.</summary>
    private static readonly byte[] s_marker = "FastPathSync"u8.ToArray();

    private readonly string _directory = Directory.CreateTempSubdirectory("fps-capture-").FullName;

    private readonly Socket? _silent;

    public CaptureLab()
    {
        try
        {
            foreach (LabNamespace ns in (LabNamespace[])[Client, Router, Server])
            {
                RouterLab.EnableIpv6WithoutRationing(ns);
            }

            Router.Sysctl(("net.ipv6.conf.all.forwarding", "1"));
            Client.Run("ip address add fd01::2/64 dev c0 nodad");
            Router.Run("ip address add fd01::1/64 dev r0 nodad");
            Router.Run("ip address add fd02::1/64 dev r1 nodad");
            Server.Run("ip address add fd02::2/64 dev s0 nodad");
            Client.Run("ip route add default via fd01::1");
            Server.Run("ip route add default via fd02::1");
            Server.Run("ip route add local fd09::/16 dev lo");
            Router.Run("ip route add fd09::/16 via fd02::2");
            _silent = Server.Inside(() =>
            {
                Socket s = new(AddressFamily.InterNetworkV6, SocketType.Dgram, ProtocolType.Udp) { DualMode = false };
                s.Bind(new IPEndPoint(IPAddress.IPv6Any, SilentPort));
                return s;
            });
            WarmUpBoth();
            (Seen, Arrived) = Exchange(productRuns: false);
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>What tcpdump is asked for: its arguments, and what it must at least see for the comparison to mean something.</summary>
    public static IReadOnlyList<(string Arguments, int AtLeast)> Questions { get; } =
    [
        ("-i r0", 100),
        ("-i r1", 90),
        ("-i r0 udp port 53", 10),
        ("-i r0 icmp6", 10),
        ("-i r1 tcp[tcpflags] & (tcp-syn|tcp-fin) != 0 and (dst port 22 or dst port 80 or dst portrange 1000-1999) and not net 10.1.0.128/25", 5),
        ("-i r0 (udp[4:2] > 100 and ip[8] > 1 and not port 53) or (ip6 and udp and ip6[7] = 64) or (icmp and icmp[icmptype] = icmp-echo)", 20),
        ("-i any ip or ip6", 200),
        ("-i any udp and less 100", 20),
    ];

    /// <summary>By question, without the product.</summary>
    public List<TcpdumpFrame>[] Seen { get; }

    /// <summary>What came to client and server, without the product.</summary>
    public List<string> Arrived { get; }

    public void WarmUpBoth()
    {
        WarmUp();
        Client.Run("ping -6 -q -c 1 -W 2 fd01::1");
        Router.Run("ping -6 -q -c 1 -W 2 fd02::2");
    }

    /// <summary>One tcpdump for each question, all at once; then the packets.</summary>
    public (List<TcpdumpFrame>[] Seen, List<string> Arrived) Exchange(bool productRuns)
    {
        List<BackgroundProcess> dumps = [];
        List<string> files = [];
        try
        {
            foreach ((string arguments, _) in Questions)
            {
                files.Add(Path.Combine(_directory, $"{Guid.NewGuid():N}.pcap"));
                string[] words = arguments.Split(' ');
                string filter = string.Join(' ', words[2..]);
                dumps.Add(Router.Start($"tcpdump -U -B 16384 --immediate-mode -Z root -w {files[^1]} {words[0]} {words[1]}{(filter.Length > 0 ? $" '{filter}'" : "")}"));
            }

            Wait.Until(() => dumps.TrueForAll(d => d.Output.Contains("listening on", StringComparison.Ordinal)), TimeSpan.FromSeconds(10), "tcpdump listens");
            if (productRuns)
            {
                Thread.Sleep(200); // in so long it is to be noticed
            }

            using PacketSocket client = Client.OpenPacketSocket("c0"), client6 = Client.OpenPacketSocket("c0", 0x86dd);
            using PacketSocket server = Server.OpenPacketSocket("s0"), server6 = Server.OpenPacketSocket("s0", 0x86dd);
            client.Send(FromClientPackets(), packetsPerSecond: 1000);
            server.Send(FromServerPackets(), packetsPerSecond: 1000);
            PacketSocket.WaitQuiet([client, client6, server, server6], quietSeconds: 0.5);
            List<string> arrived = [.. ((PacketSocket[])[client, client6, server, server6]).SelectMany(s => s.Take()).Where(f => IsOurs(f.Bytes)).Select(f => TcpdumpFrame.Normal(f.Bytes, 14)).Order(StringComparer.Ordinal)];
            dumps.ForEach(d => d.Signal(2));
            Wait.Until(() => dumps.TrueForAll(d => d.HasExited), TimeSpan.FromSeconds(5), "tcpdump ends");
            return ([.. files.Select(f => TcpdumpFrame.Read(f).Where(t => IsOurs(t.Bytes)).ToList())], arrived);
        }
        finally
        {
            dumps.ForEach(d => d.Dispose());
        }
    }

    public override void Dispose()
    {
        _silent?.Dispose();
        base.Dispose();
        Directory.Delete(_directory, recursive: true);
    }

    private static bool IsOurs(byte[] frame) => frame.AsSpan().IndexOf(s_marker) >= 0;

    private static byte[] Payload(int number, int length) => [.. s_marker, .. Encoding.ASCII.GetBytes($" {number:000}"), .. new byte[length]];

    private List<byte[]> FromClientPackets()
    {
        List<byte[]> all = [];
        for (int i = 0; i < 20; i++)
        {
            all.Add(FromClient().Ipv4("10.1.0.2", Target, id: (ushort)i).Udp((ushort)(3000 + i), SilentPort, Payload(i, i * 70)).Build());
            all.Add(FromClient().Ipv4("10.1.0.2", "10.9.0.7").Udp((ushort)(i % 2 == 0 ? 53 : 54), SilentPort, Payload(i, 4)).Build());
            all.Add(FromClient().Ipv4("10.1.0.2", Target, protocol: 6).Tcp(40000, (ushort)(i % 3 == 0 ? 22 : 900 + (i * 50)), 1, (byte)(1 << (i % 5)), Payload(i, 0)).Build());
            all.Add(FromClient().Ipv4(i % 2 == 0 ? "10.1.0.2" : "10.1.0.200", "10.9.0.1", ttl: (byte)(1 + (i % 3))).Udp(1, SilentPort, Payload(i, 120)).Build());
            all.Add(FromClient().Ipv6("fd01::2", "fd09::1", protocol: 58).Icmpv6Echo(1, (ushort)i, Payload(i, 8)).Build());
            all.Add(FromClient().Ipv6("fd01::2", "fd09::1", hopLimit: (byte)(i % 4 == 0 ? 1 : 64)).Udp(1000, SilentPort, Payload(i, i)).Build());
            all.Add(FromClient().Ipv4("10.1.0.2", i % 2 == 0 ? "10.1.0.1" : Target, protocol: 1).IcmpEcho(7, (ushort)i, Payload(i, 16)).Build());
        }

        return all;
    }

    private List<byte[]> FromServerPackets()
    {
        byte[] router = Router.MacOf("r1"), server = Server.MacOf("s0");
        return
        [
            .. Enumerable.Range(0, 20).Select(i => new PacketBuilder().Ether(router, server).Ipv4("10.9.0.1", "10.1.0.2", protocol: 6).Tcp(80, (ushort)(40000 + i), 9, 0x10, Payload(i, 500)).Build()),
            .. Enumerable.Range(0, 20).Select(i => new PacketBuilder().Ether(router, server).Ipv6("fd09::1", "fd01::2", protocol: 58).Icmpv6Echo(2, (ushort)i, Payload(i, 3)).Build()),
        ];
    }
}
