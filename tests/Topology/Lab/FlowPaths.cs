using System.Buffers.Binary;
using System.Net;

namespace FastPathSync.Topology;

/// <summary>
/// By which way each of many flows leaves the router: one packet of each is sent, and found again behind it by the number in
/// its last four bytes. A way is "LINK MAC": the server's end of the link, and the neighbour that the frame is addressed to.
/// </summary>
public static class FlowPaths
{
    private const int PacketsPerSecond = 20_000;

    /// <summary>As many ways as expected, and of the product each flow's the one that Linux alone, which was asked first, chose.</summary>
    public static void AssertLinuxs(Dictionary<string, Dictionary<int, string>> linuxs, string what, Dictionary<int, string> ways, int flows, int expected, bool ours)
    {
        Assert.Equal(flows, ways.Count);
        Assert.True(expected == Shares(ways).Count, $"{(ours ? "product" : "Linux")}, {what}: {Describe(ways)}, expected {expected} ways");
        int others = linuxs.TryAdd(what, ways) ? 0 : linuxs[what].Count(l => ways[l.Key] != l.Value);
        Assert.True(others == 0, $"{what}: {others} flows take another way than through Linux");
    }

    /// <summary>UDP from the client, flow n to PREFIX.n.</summary>
    public static byte[] ByDestination(RouterLab lab, int flow, string prefix = "10.72") =>
        Frame(lab, flow, "10.1.0.2", $"{prefix}.{flow >> 8}.{flow & 255}", 1000, 2000);

    /// <summary>UDP from the client to one host, told apart by the source port.</summary>
    public static byte[] BySourcePort(RouterLab lab, int flow, string destination = "10.72.0.1") =>
        Frame(lab, flow, "10.1.0.2", destination, (ushort)(1024 + flow), 2000);

    public static byte[] Frame(RouterLab lab, int flow, string source, string destination, ushort sourcePort, ushort destinationPort) =>
        lab.FromClient().Ipv4(source, destination).Udp(sourcePort, destinationPort, Number(flow)).Build();

    public static byte[] Number(int flow)
    {
        byte[] number = new byte[4];
        BinaryPrimitives.WriteInt32BigEndian(number, flow);
        return number;
    }

    /// <summary>Flow to way; what doesn't come out is missing.</summary>
    public static Dictionary<int, string> Of(RouterLab lab, IEnumerable<byte[]> frames)
    {
        using PacketSocket client = lab.Client.OpenPacketSocket("c0");
        using PacketSocket s0 = lab.Server.OpenPacketSocket("s0"), s1 = lab.Server.OpenPacketSocket("s1");
        byte[][] all = [.. frames];
        client.Send(all, PacketsPerSecond);
        PacketSocket.WaitQuiet([s0, s1], all.Length);
        Dictionary<int, string> ways = [];
        foreach ((string link, PacketSocket socket) in new[] { ("s0", s0), ("s1", s1) })
        {
            foreach (CapturedFrame f in socket.Take())
            {
                int end = PacketBuilder.EtherLength + BinaryPrimitives.ReadUInt16BigEndian(f.Bytes.AsSpan(PacketBuilder.EtherLength + 2));
                if (f.Bytes[PacketBuilder.EtherLength + 12] == 10 && f.Bytes[PacketBuilder.EtherLength + 8] == 63) // of a client in 10/8, one hop on
                {
                    ways[BinaryPrimitives.ReadInt32BigEndian(f.Bytes.AsSpan(end - 4))] = $"{link} {Convert.ToHexString(f.Bytes.AsSpan(0, 6))}";
                }
            }
        }

        return ways;
    }

    /// <summary>The same of IPv6 packets.</summary>
    public static Dictionary<int, string> Of6(RouterLab lab, IEnumerable<byte[]> frames)
    {
        const ushort Ipv6 = 0x86dd;
        const int HeaderLength = 40, NeighbourSolicitation = 135;
        using PacketSocket client = lab.Client.OpenPacketSocket("c0", Ipv6);
        using PacketSocket s0 = lab.Server.OpenPacketSocket("s0", Ipv6), s1 = lab.Server.OpenPacketSocket("s1", Ipv6);
        byte[][] all = [.. frames];
        client.Send(all, PacketsPerSecond);
        PacketSocket.WaitQuiet([s0, s1], all.Length);
        Dictionary<int, string> ways = [];
        foreach ((string link, PacketSocket socket) in new[] { ("s0", s0), ("s1", s1) })
        {
            foreach (CapturedFrame f in socket.Take())
            {
                ReadOnlySpan<byte> ip = f.Bytes.AsSpan(PacketBuilder.EtherLength);
                int end = HeaderLength + BinaryPrimitives.ReadUInt16BigEndian(ip[4..]);
                if (ip[7] == 63 && (ip[6] != 58 || ip[HeaderLength] < NeighbourSolicitation - 2)) // one hop on
                {
                    ways[BinaryPrimitives.ReadInt32BigEndian(ip[(end - 4)..])] = $"{link} {Convert.ToHexString(f.Bytes.AsSpan(0, 6))}";
                }
            }
        }

        return ways;
    }

    /// <summary>How many flows take each way.</summary>
    public static Dictionary<string, int> Shares(Dictionary<int, string> ways) => ways.Values.CountBy(w => w).ToDictionary();

    public static string Describe(Dictionary<int, string> ways) => string.Join(", ", Shares(ways).OrderBy(s => s.Key).Select(s => $"{s.Key}: {s.Value}"));

    public static IPAddress SourceOf(CapturedFrame f) => new(f.Bytes.AsSpan(PacketBuilder.EtherLength + 12, 4));

    public static IPAddress DestinationOf(CapturedFrame f) => new(f.Bytes.AsSpan(PacketBuilder.EtherLength + 16, 4));
}
