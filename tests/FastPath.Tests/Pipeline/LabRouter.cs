using FastPathSync.SharedMemory;
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
/// in on port 0 (10.0.0.0/24, 2001:db8::/64) unless a test says otherwise.
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
        Ipv6(a);
        for (int port = 0; port < Capacities.Ports; port++)
        {
            Tables.Vrf->SendRedirects[port] = (byte)Families.Both;
        }
    }

    public LabTables Lab { get; } = new();

    public int A { get; }

    public int B { get; }

    public int C { get; }

    public WorkerTables Tables => WithoutIpv6 ? Lab.Tables with { Ipv6Main = -1, Ipv6Local = -1 } : Lab.Tables;

    /// <summary>As if fpmd kept no IPv6 routes.</summary>
    public bool WithoutIpv6 { get; set; }

    /// <summary>As the last Run left it.</summary>
    public ref PacketVector Vector => ref _vector;

    public void Route(string prefix, int length, uint nexthop)
    {
        if (prefix.Contains(':', StringComparison.Ordinal))
        {
            Lab.AddRoute(Ip6(prefix), length, nexthop);
        }
        else
        {
            Lab.AddRoute(Ip(prefix), length, nexthop);
        }
    }

    public void Punt(string prefix, int length, PuntReason reason) => Route(prefix, length, Lab.AddNexthop(NexthopWord.Punt(reason)));

    /// <summary>
    /// One packet, the last in a burst of eight alike, and then alone, for the nodes look at eight at once where they can: the outcome must
    /// be the same. The vector and the counters are those of the packet alone.
    /// </summary>
    public Outcome Run(byte[] packet, int rxPort = 0, bool partialChecksums = false)
    {
        PortCounters before = Tables.Counters[rxPort];
        Outcome amongOthers = Run([.. Enumerable.Repeat(packet, 8)], rxPort, partialChecksums)[^1];
        Tables.Counters[rxPort] = before;
        Outcome alone = Run([packet], rxPort, partialChecksums)[0];
        Assert.True(amongOthers.Same(alone), $"among others: {amongOthers}, alone: {alone}");
        return alone;
    }

    /// <summary>Up to a vector of packets, between guard pages; at the ends of the pages, or at their beginnings.</summary>
    public Outcome[] Run(IReadOnlyList<byte[]> packets, int rxPort = 0, bool partialChecksums = false, bool atEnd = true) =>
        Run(packets, rxPort, partialChecksums, atEnd, default(NoObserver));

    /// <summary>The same, with somebody who looks on.</summary>
    public Outcome[] Run<TObserver>(IReadOnlyList<byte[]> packets, bool partialChecksums, TObserver observer)
        where TObserver : struct, IPipelineObserver => Run(packets, rxPort: 0, partialChecksums, atEnd: true, observer);

    private Outcome[] Run<TObserver>(IReadOnlyList<byte[]> packets, int rxPort, bool partialChecksums, bool atEnd, TObserver observer)
        where TObserver : struct, IPipelineObserver
    {
        ref PacketVector v = ref _vector;
        v.Count = packets.Count;
        for (int i = 0; i < packets.Count; i++)
        {
            v.Data[i] = _frames.Place(i, packets[i], atEnd);
            v.Length[i] = (uint)packets[i].Length;
            v.Frame[i] = (ulong)i;
            v.Verdict[i] = (byte)Verdict.Drop; // left over from the last burst
        }

        FastPath.Pipeline.Run(ref v, Tables, rxPort, partialChecksums, observer);
        Outcome[] result = new Outcome[packets.Count];
        for (int slot = 0; slot < packets.Count; slot++)
        {
            int i = (int)v.Frame[slot]; // the packets may be in another order
            Assert.True(v.Length[slot] == packets[i].Length && result[i] is null, $"slot {slot}: not one of the packets that were put in, or twice");
            Assert.True(_frames.SlackIsIntact(i, v.Data[slot], packets[i].Length), $"packet {i}: written outside of it");
            bool forward = v.Verdict[slot] == (byte)Verdict.Forward;
            Assert.True(!forward || v.TxLength[slot] <= v.Length[slot], $"packet {i}: more to send than was received");
            int length = forward ? (int)v.TxLength[slot] : packets[i].Length;
            result[i] = new Outcome(
                (Verdict)v.Verdict[slot],
                forward ? null : (PuntReason)v.Reason[slot],
                forward ? v.TxPort[slot] : null,
                new ReadOnlySpan<byte>(v.Data[slot], length).ToArray());
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

    /// <summary>The same again for IPv6.</summary>
    private void Ipv6(uint a)
    {
        uint b = Lab.AddNexthop(NexthopWord.Forward(B, 1280)), c = Lab.AddNexthop(NexthopWord.Forward(C, 1500));
        Route("2001:db8:1::", 48, a);
        Route("2001:db8:1:2::", 64, b);
        Route("2001:db8:1:2:8000::", 65, Lab.AddNexthop(NexthopWord.Punt(PuntReason.Blackhole)));
        Route("2001:db8:1:2:c000::5", 128, a);
        Route("2001:db8:2::", 48, Lab.AddGroup((0x7fff_ffffu, a), (uint.MaxValue, b)));
        Route("2001:db8:3::", 64, Lab.AddNexthop(NexthopWord.OnLink(11, 1400)));
        Lab.AddNeighbour(11, Ip6("2001:db8:3::5"), A);
        Lab.AddNeighbour(12, Ip6("2001:db8:3::6"), B); // the right address on the wrong interface
        Route("2001:db8::", 64, Lab.AddNexthop(NexthopWord.OnLink(10, 1500)));
        Lab.AddNeighbour(10, Ip6("2001:db8::1"), C);
        Route("2001:db8:9::", 48, c);
        Punt("2001:db8:4::", 48, PuntReason.Unreachable);
        Route("2001:db8:5::", 48, Lab.AddGroup((uint.MaxValue, Lab.AddNexthop(NexthopWord.Punt(PuntReason.LinkDown)))));
        Route("2001:db8:6::", 48, Lab.AddGroup((uint.MaxValue, Lab.AddNexthop(NexthopWord.OnLink(11, 1500)))));
        Lab.AddNeighbour(11, Ip6("2001:db8:6::1"), A);
        Route("2001:db8:7::", 48, Lab.AddNexthop(NexthopWord.Forward(A, 0xffff)));
        Punt("2001:db8:8::", 48, PuntReason.SourceRoute);
        Route("64:ff9b::", 96, b);
        Route("fec0::", 10, a); // site-local: no longer special (RFC 3879)
        Route("::2:0:0:0", 80, a);
        Route("::ffff:10.1.0.0", 112, a);
        Route("::ffff:10.3.0.0", 112, Lab.AddNexthop(NexthopWord.OnLink(11, 1500)));
        Punt("2001:db8::254", 128, PuntReason.Local);
        Punt("2001:db8:3::254", 128, PuntReason.Local);
        Punt("2001:db8:3::", 128, PuntReason.Local); // subnet-router anycast
    }

    public void Dispose()
    {
        _vector.Free();
        _frames.Dispose();
        Lab.Dispose();
    }
}
