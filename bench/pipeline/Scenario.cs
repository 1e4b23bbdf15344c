using System.Buffers.Binary;
using System.Runtime.Intrinsics.X86;
using FastPathSync.FastPath;
using FastPathSync.FastPath.Tests;
using FastPathSync.FastPath.Xsk;
using FastPathSync.Linux;
using FastPathSync.Packets;
using FastPathSync.SharedMemory.Tables;
using static FastPathSync.Packets.Building.Packet;

namespace FastPathSync.PipelineBench;

/// <summary>
/// Tables, and a pool of frames as a UMEM has it: 2,048 frames, of which each burst takes the next 64, so that
/// the headers come from L2 and L3, as from a NIC that writes into the cache.
/// </summary>
internal sealed unsafe class Scenario : IDisposable
{
    public const int Frames = 2048;
    private const int FrameSize = 2048, Stride = FrameSize + (int)Umem.Gap, Headroom = 256, Nexthops = 64, DestinationOffset = 16;
    private readonly LabTables _lab = new();
    private readonly MemoryMapping _pool = MemoryMapping.Anonymous(Frames * Stride, Libc.MAP_POPULATE, "frames");
    private readonly byte[][] _packets = new byte[Frames][];
    private readonly uint[] _lengths = new uint[Frames];
    private readonly MemoryMapping? _fresh;
    private readonly int _destinations;
    private PacketVector _vector = PacketVector.Allocate();
    private int _next;

    /// <param name="families">Both: packets of the one and of the other in turn.</param>
    /// <param name="destinations">
    /// More than there are frames: each time a frame is used it gets the next one of so many destinations (IPv4), and so many
    /// addresses find nothing in the caches. A power of two; 0: each frame keeps its own.
    /// </param>
    public Scenario(string name, int routes, Families families = Families.Ipv4, bool partialChecksums = false, int destinations = 0)
    {
        Name = name;
        PartialChecksums = partialChecksums;
        _pool.AdviseHugePages();
        Random random = new(1);
        uint[] nexthops = new uint[Nexthops];
        for (int i = 0; i < Nexthops; i++)
        {
            int adjacency = _lab.AddAdjacency(1 + (i % 3), $"02:00:00:00:00:{i:x2}", "02:00:00:00:01:00");
            nexthops[i] = _lab.AddNexthop(NexthopWord.Forward(adjacency, 1500));
        }

        _lab.Tables.LocalAddresses.Set(IpAddress.FromV4(LabTables.Ip("10.0.0.254")));
        if ((families & Families.Ipv4) != Families.None)
        {
            (uint Prefix, int Length)[] prefixes = MakeIpv4(random, routes, nexthops, every: families == Families.Both ? 2 : 1);
            if (destinations > 0)
            {
                _destinations = destinations;
                _fresh = MemoryMapping.Anonymous((nuint)destinations * sizeof(ulong), 0, "destinations");
                _fresh.AdviseHugePages();
                for (int i = 0; i < destinations; i++)
                {
                    ((ulong*)_fresh.Address)[i] = Fresh(DestinationIn(prefixes, random));
                }
            }
        }

        if ((families & Families.Ipv6) != Families.None)
        {
            MakeIpv6(random, routes, nexthops);
        }

        for (int i = 0; i < Frames; i++)
        {
            _lengths[i] = (uint)_packets[i].Length;
        }
    }

    public string Name { get; }

    public bool PartialChecksums { get; }

    /// <summary>Fresh packets, TTL and all.</summary>
    public void Fill()
    {
        for (int i = 0; i < Frames; i++)
        {
            _packets[i].CopyTo(new Span<byte>(_pool.Address + (i * Stride) + Headroom, FrameSize - Headroom));
        }
    }

    /// <summary>The whole pool so many times. At most 62 times: then the TTL runs out.</summary>
    public void Run(int passes)
    {
        WorkerTables tables = _lab.Tables;
        ref PacketVector v = ref _vector;
        for (int pass = 0; pass < passes; pass++)
        {
            for (int first = 0; first < Frames; first += PacketVector.Size)
            {
                v.Count = PacketVector.Size;
                for (int i = 0; i < PacketVector.Size; i++)
                {
                    v.Data[i] = _pool.Address + ((first + i) * Stride) + Headroom;
                    v.Length[i] = _lengths[first + i];
                }

                if (_fresh is not null)
                {
                    Readdress(v, (ulong*)_fresh.Address);
                }

                Pipeline.Run(ref v, tables, 0, PartialChecksums);
            }
        }
    }

    /// <summary>Throws unless the last burst was forwarded, and counted.</summary>
    public void Check()
    {
        for (int i = 0; i < PacketVector.Size; i++)
        {
            if (_vector.Verdict[i] != (byte)Verdict.Forward || _vector.TxLength[i] is not (42 or 62) || _lab.Tables.Counters[0].Rx == 0)
            {
                throw new InvalidOperationException($"{Name}: a packet was not forwarded: {(PuntReason)_vector.Reason[i]}");
            }
        }
    }

    public void Dispose()
    {
        _vector.Free();
        _pool.Dispose();
        _fresh?.Dispose();
        _lab.Dispose();
    }

    /// <summary>Gives each packet of the burst the next destination, and the TTL and checksum that go with it: two stores a packet.</summary>
    private void Readdress(in PacketVector v, ulong* all)
    {
        ulong* mine = all + _next;
        _next = (_next + PacketVector.Size) & (_destinations - 1);
        for (int i = 0; i < PacketVector.Size; i++)
        {
            ulong fresh = mine[i];
            byte* ip = v.Data[i] + EthernetHeader.Size;
            *(uint*)(ip + Ipv4Header.TtlOffset) = (uint)fresh;
            *(uint*)(ip + DestinationOffset) = (uint)(fresh >> 32);
            if (i % 8 == 0)
            {
                Sse.Prefetch0(all + _next + i); // the burst after this one: these loads are the bench's, not the pipeline's
            }
        }
    }

    /// <summary>TTL, protocol and checksum (low), destination (high) of a packet to this address, as they stand in its header.</summary>
    private static ulong Fresh(uint destination)
    {
        fixed (byte* packet = Ether().Ipv4("10.0.0.1", ToText(destination)).Udp().PadTo(60).Build())
        {
            byte* ip = packet + EthernetHeader.Size;
            return *(uint*)(ip + Ipv4Header.TtlOffset) | ((ulong)*(uint*)(ip + DestinationOffset) << 32);
        }
    }

    private static uint DestinationIn((uint Prefix, int Length)[] prefixes, Random random)
    {
        (uint prefix, int length) = prefixes[random.Next(prefixes.Length)];
        return prefix | ((uint)random.NextInt64(1L << 32) & (uint)((1L << (32 - length)) - 1));
    }

    private (uint Prefix, int Length)[] MakeIpv4(Random random, int routes, uint[] nexthops, int every)
    {
        (uint Prefix, int Length)[] prefixes = [.. Enumerable.Range(0, routes).Select(_ => RandomPrefix(random, routes))];
        for (int i = 0; i < routes; i++)
        {
            _lab.AddRoute(prefixes[i].Prefix, prefixes[i].Length, nexthops[i % Nexthops]);
        }

        for (int i = 0; i < Frames; i += every)
        {
            _packets[i] = Ether().Ipv4("10.0.0.1", ToText(DestinationIn(prefixes, random))).Udp().PadTo(60).Build();
        }

        return prefixes;
    }

    /// <summary>In every place that IPv4 has left.</summary>
    private void MakeIpv6(Random random, int routes, uint[] nexthops)
    {
        (FibKey Prefix, int Length)[] prefixes = [.. Enumerable.Range(0, routes).Select(_ => RandomPrefix6(random, routes))];
        for (int i = 0; i < routes; i++)
        {
            _lab.AddRoute(new IpAddress(prefixes[i].Prefix.High, prefixes[i].Prefix.Low), prefixes[i].Length, nexthops[i % Nexthops]);
        }

        for (int i = 0; i < Frames; i++)
        {
            (FibKey prefix, int length) = prefixes[random.Next(routes)];
            ulong host = (ulong)random.NextInt64();
            IpAddress destination = new(prefix.High | (length == 64 ? 0 : host >> length), host);
            _packets[i] ??= Ether().Ipv6("2001:db8::1", destination.ToString()).Udp().PadTo(78).Build();
        }
    }

    /// <summary>Lengths about as the Internet has them: half of them /48, most others /32 and between.</summary>
    private static (FibKey Prefix, int Length) RandomPrefix6(Random random, int routes)
    {
        int kind = random.Next(100);
        int length = routes == 1 ? 32 : kind < 50 ? 48 : kind < 65 ? 32 : kind < 95 ? random.Next(29, 48) : random.Next(49, 65);
        return (new FibKey(0x2000_0000_0000_0000 | ((ulong)random.NextInt64() >> 2), 0).Prefix(length), length);
    }

    /// <summary>Lengths about as the Internet has them: six in ten a /24, one in fifty longer.</summary>
    private static (uint Prefix, int Length) RandomPrefix(Random random, int routes)
    {
        if (routes == 1)
        {
            return (LabTables.Ip("10.1.0.0"), 16);
        }

        int kind = random.Next(100);
        int length = kind < 60 ? 24 : kind < 98 ? random.Next(16, 24) : random.Next(25, 33);
        uint first = (uint)random.Next(11, 120) << 24;
        uint address = first | (uint)random.Next(1 << 24);
        return (address & ~(uint)((1L << (32 - length)) - 1), length);
    }

    private static string ToText(uint address) => new System.Net.IPAddress(BinaryPrimitives.ReverseEndianness(address)).ToString();
}
