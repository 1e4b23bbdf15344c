using FastPathSync.SharedMemory.Tables;
using static FastPathSync.FastPath.Tests.LabTables;

namespace FastPathSync.FastPath.Tests;

/// <summary>What became of one packet. Bytes: what is sent, or what Linux is given.</summary>
public sealed record Outcome(Verdict Verdict, PuntReason? Reason, int? TxPort, byte[] Bytes)
{
    public bool Same(Outcome other) =>
        Verdict == other.Verdict && Reason == other.Reason && TxPort == other.TxPort && Bytes.AsSpan().SequenceEqual(other.Bytes);

    public override string ToString() => $"{Verdict} {Reason} {TxPort} {Convert.ToHexString(Bytes)}";
}

/// <summary>
/// A router of three ports with something of everything in its tables, on which the tests of all nodes run. Packets come
/// in on port 0 (10.0.0.0/24) unless a test says otherwise.
/// </summary>
public sealed unsafe class LabRouter : IDisposable
{
    public const string MacA = "02:aa:00:00:00:01", MacB = "02:bb:00:00:00:01", MacC = "02:cc:00:00:00:01";
    private readonly GuardedFrames _frames = new();
    private PacketVector _vector = PacketVector.Allocate();

    public LabRouter()
    {
        // 100 adjacencies nobody uses: a node that forgets which one was meant is found out.
        for (int i = 0; i < 100; i++)
        {
            Lab.AddAdjacency(7, "02:de:ad:00:00:00", "02:de:ad:00:00:00");
        }

        A = Lab.AddAdjacency(1, MacA, "02:00:00:00:01:01");
        B = Lab.AddAdjacency(2, MacB, "02:00:00:00:01:02");
        C = Lab.AddAdjacency(0, MacC, "02:00:00:00:01:00");
        uint a = Lab.AddNexthop(NexthopWord.Forward(A, 1500)), b = Lab.AddNexthop(NexthopWord.Forward(B, 576));
        Route("10.1.0.0", 16, a);
        Route("10.1.2.0", 24, b);
        Route("10.1.2.128", 25, Lab.AddNexthop(NexthopWord.Punt(PuntReason.Blackhole)));
        Route("10.1.2.200", 32, a);
        Route("10.2.0.0", 16, Lab.AddGroup((0x7fff_ffffu, a), (uint.MaxValue, b)));
        Route("10.3.0.0", 24, Lab.AddNexthop(NexthopWord.OnLink(11, 1400)));
        Lab.AddNeighbour(11, Ip("10.3.0.5"), A);
        Lab.AddNeighbour(12, Ip("10.3.0.6"), B); // the right address on the wrong interface
        Route("10.0.0.0", 24, Lab.AddNexthop(NexthopWord.OnLink(10, 1500)));
        Lab.AddNeighbour(10, Ip("10.0.0.1"), C);
        Route("10.0.9.0", 24, Lab.AddNexthop(NexthopWord.Forward(C, 1500)));
        Route("10.4.0.0", 16, Lab.AddNexthop(NexthopWord.Punt(PuntReason.Unreachable)));
        Route("10.5.0.0", 16, Lab.AddGroup((uint.MaxValue, Lab.AddNexthop(NexthopWord.Punt(PuntReason.LinkDown)))));
        Route("10.6.0.0", 16, Lab.AddGroup((uint.MaxValue, Lab.AddNexthop(NexthopWord.OnLink(11, 1500)))));
        Lab.AddNeighbour(11, Ip("10.6.0.1"), A);
        Route("10.7.0.0", 16, Lab.AddNexthop(NexthopWord.Forward(A, 0xffff)));
        Route("10.8.0.0", 16, Lab.AddNexthop(NexthopWord.Punt(PuntReason.TosRoute)));
        Route("0.5.0.0", 16, a);
        Route("240.0.0.0", 8, a);
        Route("255.0.0.0", 8, a);
        Lab.AddLocalAddress(Ip("10.0.0.254"));
        Lab.AddLocalAddress(Ip("10.3.0.254"));
        Punt("10.3.0.255", 32, PuntReason.Broadcast);
    }

    public LabTables Lab { get; } = new();

    public int A { get; }

    public int B { get; }

    public int C { get; }

    public WorkerTables Tables => Lab.Tables;

    public void Route(string prefix, int length, uint nexthop) => Lab.AddRoute(Ip(prefix), length, nexthop);

    public void Punt(string prefix, int length, PuntReason reason) => Route(prefix, length, Lab.AddNexthop(NexthopWord.Punt(reason)));

    /// <summary>One packet alone.</summary>
    public Outcome Run(byte[] packet, int rxPort = 0, bool partialChecksums = false) =>
        Run([packet], rxPort, partialChecksums)[0];

    /// <summary>Up to a vector of packets, between guard pages; at the ends of the pages, or at their beginnings.</summary>
    public Outcome[] Run(IReadOnlyList<byte[]> packets, int rxPort = 0, bool partialChecksums = false, bool atEnd = true)
    {
        ref PacketVector v = ref _vector;
        v.Count = packets.Count;
        for (int i = 0; i < packets.Count; i++)
        {
            v.Data[i] = _frames.Place(i, packets[i], atEnd);
            v.Length[i] = (uint)packets[i].Length;
            v.Verdict[i] = (byte)Verdict.Drop; // left over from the last burst
        }

        FastPath.Pipeline.Run(ref v, Tables, rxPort, partialChecksums);
        Outcome[] result = new Outcome[packets.Count];
        for (int i = 0; i < packets.Count; i++)
        {
            Assert.True(_frames.SlackIsIntact(i, v.Data[i], packets[i].Length), $"packet {i}: written outside of it");
            bool forward = v.Verdict[i] == (byte)Verdict.Forward;
            Assert.True(!forward || v.TxLength[i] <= v.Length[i], $"packet {i}: more to send than was received");
            int length = forward ? (int)v.TxLength[i] : packets[i].Length;
            result[i] = new Outcome(
                (Verdict)v.Verdict[i],
                forward ? null : (PuntReason)v.Reason[i],
                forward ? v.TxPort[i] : null,
                new ReadOnlySpan<byte>(v.Data[i], length).ToArray());
        }

        return result;
    }

    public void AssertForwards(byte[] packet, int port, int rxPort = 0)
    {
        Outcome o = Run(packet, rxPort);
        Assert.True(o.Verdict == Verdict.Forward, $"{o.Verdict} {o.Reason}");
        Assert.Equal(port, o.TxPort);
    }

    /// <summary>It leaves by this reason, and not a byte of it has changed.</summary>
    public void AssertPunts(PuntReason reason, byte[] packet, int rxPort = 0)
    {
        Outcome o = Run(packet, rxPort);
        Assert.Equal((Verdict.Punt, reason), (o.Verdict, o.Reason));
        Assert.Equal(packet, o.Bytes);
    }

    public void Dispose()
    {
        _vector.Free();
        _frames.Dispose();
        Lab.Dispose();
    }
}
