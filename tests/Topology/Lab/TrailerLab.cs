using System.Text;

namespace FastPathSync.Topology;

/// <summary>What came to each host of the lab, and how many packets each router's stack took for itself.</summary>
public sealed record Delivery(SortedDictionary<string, List<string>> Arrived, SortedDictionary<string, ulong> Delivered)
{
    /// <summary>The first thing that isn't as expected, or null.</summary>
    public static string? Difference(Delivery expected, Delivery actual)
    {
        foreach ((string where, List<string> frames) in expected.Arrived)
        {
            List<string> missing = [.. frames], more = [];
            foreach (string f in actual.Arrived[where])
            {
                if (!missing.Remove(f))
                {
                    more.Add(f);
                }
            }

            if (missing.Count + more.Count > 0)
            {
                return $"{where}: {missing.Count} of {frames.Count} are missing, {more.Count} are more; missing {missing.FirstOrDefault()}, more {more.FirstOrDefault()}";
            }
        }

        return expected.Delivered.SequenceEqual(actual.Delivered) ? null : $"delivered {string.Join(' ', actual.Delivered)} instead of {string.Join(' ', expected.Delivered)}";
    }
}

/// <summary>
/// Two VRFs (VrfLab), and packets from blue's client that end in something like an FPTUN trailer: forwarded ones, exceptions, such as
/// are for the router. Knows what the kernel alone makes of them. IPv6 in blue only.
/// </summary>
public sealed class TrailerLab : IDisposable
{
    /// <summary>Ours among what else passes have this in them, also those that an ICMP error quotes.</summary>
    private static readonly byte[] s_marker = "FastPathSync"u8.ToArray();

    /// <summary>Of packets, for each trailer.</summary>
    public const int Kinds = 12;

    private const int RedIfIndex = 90;

    private static readonly (string Name, ushort EtherType)[] s_families = [("IPv4", 0x0800), ("IPv6", 0x86dd)];

    public TrailerLab()
    {
        Vrfs = new VrfLab();
        try
        {
            foreach (LabNamespace ns in (LabNamespace[])[Blue.Client, Blue.Router, Blue.Server])
            {
                RouterLab.EnableIpv6WithoutRationing(ns);
            }

            // Who doesn't answer is given up quickly.
            Blue.Router.Sysctl(("net.ipv6.conf.all.forwarding", "1"), ("net.ipv4.neigh.r2.retrans_time_ms", "100"), ("net.ipv6.neigh.r2.retrans_time_ms", "100"));
            Blue.Client.Run("ip address add fd01::2/64 dev c0 nodad");
            Blue.Router.Run("ip address add fd01::1/64 dev r0 nodad");
            Blue.Router.Run("ip address add fd02::1/64 dev r1 nodad");
            Blue.Router.Run("ip address add fd03::1/64 dev r2 nodad");
            Blue.Server.Run("ip address add fd02::2/64 dev s0 nodad");
            Blue.Client.Run("ip route add default via fd01::1");
            Blue.Server.Run("ip route add default via fd02::1");
            Blue.Server.Run("ip route add blackhole fd09::/16"); // it listens, and answers nothing
            Blue.Router.Run("ip route add fd09::/16 via fd02::2");
            Blue.Router.Run("ip route add local 10.66.0.0/16 dev lo");

            // Of a port that both VRFs have under the same index no test could tell where a frame went.
            Red.Router.Run($"ip link add r3 index {RedIfIndex} type veth peer name c3 netns {Red.Client.Name}");
            Red.Router.Run("ip link set r3 up");
            Red.Client.Run("ip link set c3 up");
            Packets = MakePackets();
            WarmUp();
            Kernel = Exchange();
            for (int i = 0; i < 4 && Kernel.Arrived["blue c0 IPv6"].Count < 2 * (Packets.Count / Kinds); i++)
            {
                Kernel = Exchange();
            }
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public VrfLab Vrfs { get; }

    public RouterLab Blue => Vrfs.Blue;

    public RouterLab Red => Vrfs.Red;

    public string Ports => $"--port {VrfLab.Port(Blue, "r0")} --port {VrfLab.Port(Blue, "r1")} --port {VrfLab.Port(Blue, "r2")} --port {VrfLab.Port(Red, "r0")} --port {VrfLab.Port(Red, "r1")} --port {VrfLab.Port(Red, "r3")}";

    public List<byte[]> Packets { get; }

    /// <summary>Without the product.</summary>
    public Delivery Kernel { get; }

    /// <summary>What a trailer may name: the interface it comes in by, others, lo, one of the other VRF, none.</summary>
    public int[] Targets => [.. ((string[])["r0", "r1", "r2", "lo"]).Select(Blue.Router.IfIndex), RedIfIndex, 0, 4711];

    public void WarmUp()
    {
        Blue.WarmUp();
        Red.WarmUp();
        Blue.Client.Run("ping -6 -q -c 1 -W 2 fd01::1");
        Blue.Router.Run("ping -6 -q -c 1 -W 2 fd02::2");
    }

    /// <summary>
    /// Sends all packets. Of those that wait for one neighbour which doesn't answer, Linux throws some away silently if another packet
    /// comes while it answers them (neigh_invalidate lets go of its lock): who finds packets missing has to try again.
    /// </summary>
    public Delivery Exchange() => Watch(() =>
    {
        using PacketSocket client = Blue.Client.OpenPacketSocket("c0");
        client.Send(Packets, packetsPerSecond: 2_000);
    });

    /// <summary>What comes of something.</summary>
    public Delivery Watch(Action work)
    {
        (string Name, PacketSocket Socket)[] hosts =
        [
            .. from net in ((string Name, RouterLab Lab)[])[("blue", Blue), ("red", Red)]
               from host in ((LabNamespace Ns, string Device)[])[(net.Lab.Client, "c0"), .. net.Name == "red" ? [(net.Lab.Client, "c3")] : ((LabNamespace, string)[])[], (net.Lab.Server, "s0"), (net.Lab.Server, "s1")]
               from family in s_families
               select ($"{net.Name} {host.Device} {family.Name}", host.Ns.OpenPacketSocket(host.Device, family.EtherType)),
        ];
        try
        {
            SortedDictionary<string, ulong> before = Taken();
            work();
            PacketSocket.WaitQuiet([.. hosts.Select(h => h.Socket)], quietSeconds: 0.6);
            SortedDictionary<string, ulong> after = Taken();
            return new Delivery(
                new(hosts.ToDictionary(h => h.Name, h => h.Socket.Take().Where(f => f.Bytes.AsSpan().IndexOf(s_marker) >= 0).Select(f => Text(f.Bytes)).ToList()), StringComparer.Ordinal),
                new(after.ToDictionary(a => a.Key, a => a.Value - before[a.Key]), StringComparer.Ordinal));
        }
        finally
        {
            Array.ForEach(hosts, h => h.Socket.Dispose());
        }
    }

    public void Dispose() => Vrfs.Dispose();

    /// <summary>A packet whose payload can be told from what else passes.</summary>
    public static byte[] Payload(int number, ReadOnlySpan<byte> end) => [.. s_marker, .. Encoding.ASCII.GetBytes($" {number:0000}"), .. end];

    /// <summary>Every byte, but for what ICMP's sender chooses at random.</summary>
    public static string Text(byte[] frame)
    {
        const int Ip = PacketBuilder.EtherLength;
        bool icmp = frame[Ip] >> 4 == 4 ? frame[Ip + 9] == 1 : frame[Ip + 6] == 58;
        return icmp ? TcpdumpFrame.Normal(frame, Ip) : Convert.ToHexStringLower(frame);
    }

    /// <summary>What the stack of each router took for itself.</summary>
    private SortedDictionary<string, ulong> Taken() => new(StringComparer.Ordinal)
    {
        ["blue"] = Blue.Router.Snmp("Ip", "InDelivers"),
        ["blue UDP"] = Blue.Router.Snmp("Udp", "NoPorts"),
        ["red"] = Red.Router.Snmp("Ip", "InDelivers"),
        ["red forwarded"] = Red.Router.Snmp("Ip", "ForwDatagrams"),
    };

    private List<byte[]> Trailers()
    {
        List<byte[]> all = [];
        foreach (int target in Targets)
        {
            for (byte command = 0; command <= 7; command++)
            {
                all.Add(CarrierSender.Trailer(command, target));
            }

            all.Add(CarrierSender.Trailer(CarrierSender.Basic, target, flags: 1)); // FPTUN_F_COOKIE
            all.Add(CarrierSender.Trailer(CarrierSender.Basic, target, version: 0));
            all.Add(CarrierSender.Trailer(CarrierSender.Tap, target, version: 2, mark: 77));
            all.Add(CarrierSender.Trailer(CarrierSender.Basic, target, magic: 0x31545046));
        }

        byte[] whole = CarrierSender.Trailer(CarrierSender.Basic, Blue.Router.IfIndex("r1"));
        for (int length = 1; length < whole.Length; length++)
        {
            all.Add(whole[..length]);
            all.Add(whole[^length..]);
        }

        all.Add([.. whole, .. CarrierSender.Trailer(CarrierSender.Output, Blue.Router.IfIndex("r0"))]); // two of them
        return all;
    }

    /// <summary>For each trailer a packet of each kind.</summary>
    private List<byte[]> MakePackets()
    {
        List<byte[]> all = [];
        byte[] noChecksum = [];
        foreach (byte[] t in Trailers())
        {
            byte[] payload = Payload(all.Count, t);
            Add("10.1.0.2", RouterLab.Target, 64);  // forwarded
            Add("10.1.0.2", RouterLab.Target, 1);   // time exceeded
            Add("10.1.0.2", "10.66.1.1", 64);       // Linux's own, by a route: port unreachable
            Add("10.1.0.2", "10.1.0.1", 64);        // the router itself
            Add("10.1.0.2", "10.3.0.99", 64);       // nobody answers there
            Add("10.1.0.2", "172.31.0.1", 64);      // no route
            all.Add(Blue.FromClient().Ipv4("10.1.0.2", "10.1.0.1", protocol: 1).IcmpEcho(7, (ushort)all.Count, payload).Build());
            Add6("fd09::1", 64);
            Add6("fd09::1", 1);
            Add6("fd03::99", 64);

            // As Ethernet padding behind the packet, which Linux takes off.
            all.Add(Blue.FromClient().Ipv4("10.1.0.2", RouterLab.Target).Udp(9, RouterLab.SilentPort, Payload(all.Count, noChecksum)).Build(padding: t));
            all.Add(Blue.FromClient().Ipv4("10.1.0.2", RouterLab.Target, ttl: 1).Udp(9, RouterLab.SilentPort, Payload(all.Count, noChecksum)).Build(padding: t));

            void Add(string source, string destination, byte ttl) => all.Add(Blue.FromClient().Ipv4(source, destination, ttl).Udp(9, RouterLab.SilentPort, payload).Build());
            void Add6(string destination, byte hopLimit) => all.Add(Blue.FromClient().Ipv6("fd01::2", destination, hopLimit).Udp(9, RouterLab.SilentPort, payload).Build());
        }

        return all;
    }
}
