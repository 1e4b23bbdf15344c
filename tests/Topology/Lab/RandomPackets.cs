namespace FastPathSync.Topology;

/// <summary>Random valid packets, always the same for a seed, and the comparison of what became of them.</summary>
public static class RandomPackets
{
    /// <summary>Of the router, on the server's first link.</summary>
    private static readonly byte[] s_router = [10, 2, 0, 1];

    /// <summary>Packets that a router forwards without exception: sizes, TTL, TOS and ECN, DF, fragments, padding, odd checksums.</summary>
    public static byte[][] Forwardable(RouterLab lab, int seed, int count)
    {
        Random random = new(seed);
        byte[][] packets = new byte[count][];
        for (int i = 0; i < count; i++)
        {
            packets[i] = One(lab, random, (ushort)i);
        }

        return packets;
    }

    /// <summary>
    /// Sends them from the client and gives what the server's first link receives of them; not what the router itself says about earlier
    /// ones (that nobody answers at the addresses they came from, seconds later).
    /// </summary>
    public static List<byte[]> SendThrough(RouterLab lab, byte[][] packets)
    {
        using PacketSocket client = lab.Client.OpenPacketSocket("c0");
        using PacketSocket server = lab.Server.OpenPacketSocket("s0");
        client.Send(packets, packetsPerSecond: 5_000);
        return [.. server.TakeWhenQuiet(packets.Length).Select(f => f.Bytes).Where(f => !f.AsSpan(PacketBuilder.EtherLength + 12, 4).SequenceEqual(s_router))];
    }

    /// <summary>The same multiset, and within each flow (addresses and protocol) the same order.</summary>
    public static void AssertSame(List<byte[]> expected, List<byte[]> actual)
    {
        ILookup<string, string> ours = actual.ToLookup(Flow, Convert.ToHexString);
        foreach (IGrouping<string, string> kernel in expected.ToLookup(Flow, Convert.ToHexString))
        {
            string[] a = [.. kernel], b = [.. ours[kernel.Key]];
            for (int i = 0; i < Math.Max(a.Length, b.Length); i++)
            {
                string x = i < a.Length ? a[i] : "(nothing)", y = i < b.Length ? b[i] : "(nothing)";
                Assert.True(x == y, $"flow {kernel.Key}, packet {i} of {a.Length} (we delivered {b.Length}):\n  kernel {x}\n  ours   {y}");
            }
        }

        HashSet<string> flows = [.. expected.Select(Flow)];
        string[] strangers = [.. actual.Where(f => !flows.Contains(Flow(f))).Select(Convert.ToHexString)];
        Assert.True(strangers.Length == 0, $"{strangers.Length} frames of flows that the kernel did not deliver, the first: {strangers.FirstOrDefault()}");
    }

    /// <summary>Addresses and protocol.</summary>
    private static string Flow(byte[] frame) => frame[12] == 0x86
        ? Convert.ToHexString(frame.AsSpan(PacketBuilder.EtherLength + 8, 32)) + "/" + frame[PacketBuilder.EtherLength + 6]
        : Convert.ToHexString(frame.AsSpan(PacketBuilder.EtherLength + 12, 8)) + "/" + frame[PacketBuilder.EtherLength + 9];

    private static byte[] One(RouterLab lab, Random random, ushort id)
    {
        ushort flags = random.Next(4) switch { 0 => 0x4000, 1 => 0, 2 => (ushort)(0x2000 | random.Next(1, 100)), _ => (ushort)random.Next(0, 100) };
        byte protocol = random.Next(6) switch { 0 => 6, 1 => 1, 2 => 47, 3 => (byte)random.Next(100, 255), _ => 17 };
        PacketBuilder packet = lab.FromClient().Ipv4(
            $"10.1.0.{random.Next(10, 14)}",
            $"10.9.{random.Next(0, 4)}.{random.Next(1, 255)}",
            ttl: (byte)random.Next(2, 256),
            tos: (byte)random.Next(256),
            id: id,
            flagsAndOffset: flags,
            protocol: protocol);
        byte[] payload = new byte[random.Next(3) == 0 ? random.Next(1440, 1453) : random.Next(0, 400)];
        random.NextBytes(payload);
        packet = protocol switch
        {
            17 => packet.Udp((ushort)random.Next(65536), (ushort)random.Next(65536), payload, random.Next(4) switch { 0 => 0, 1 => (ushort)random.Next(65536), _ => null }),
            6 => packet.Tcp((ushort)random.Next(65536), (ushort)random.Next(65536), (uint)random.Next(), (byte)random.Next(64), payload),
            1 => packet.IcmpEcho((ushort)random.Next(65536), id, payload),
            _ => packet.Raw(payload),
        };
        // A packet socket sends no frame longer than the MTU allows, padding included.
        byte[] padding = new byte[payload.Length < 1400 && random.Next(3) == 0 ? random.Next(1, 30) : 0];
        random.NextBytes(padding);
        return packet.Build(padding);
    }
}
