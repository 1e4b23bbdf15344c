using System.Buffers.Binary;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.LpmBench;

/// <summary>
/// Routes as the Internet has them: lengths by their shares in a full table of 2025, addresses clustered in allocations, nexthops
/// among a thousand; and addresses at random, each inside a random route.
/// </summary>
internal sealed class RouteSet
{
    private const int Nexthops = 1000;

    private static readonly (int Length, double Share)[] s_lengths4 =
    [
        (24, .592), (23, .098), (22, .118), (21, .052), (20, .046), (19, .026), (18, .014), (17, .0085), (16, .0135), (15, .002), (14, .0012),
        (13, .0007), (12, .0003), (11, .0001), (10, .00005), (9, .00002), (8, .00002), (25, .004), (26, .003), (27, .003), (28, .006), (29, .006),
        (30, .003), (32, .004),
    ];

    private static readonly (int Length, double Share)[] s_lengths6 =
    [
        (48, .46), (32, .12), (44, .10), (40, .09), (36, .05), (29, .04), (46, .04), (47, .025), (45, .015), (42, .015), (33, .01), (34, .008),
        (38, .007), (35, .006), (28, .003), (30, .003), (31, .002), (56, .002), (64, .002), (24, .001), (128, .001),
    ];

    /// <summary>2001::/16 and the /12s of the five registries.</summary>
    private static readonly (ulong High, int Length)[] s_registries =
        [(0x2001ul << 48, 16), (0x2400ul << 48, 12), (0x2600ul << 48, 12), (0x2800ul << 48, 12), (0x2a00ul << 48, 12), (0x2c00ul << 48, 12)];

    private RouteSet(bool ipv6, int routes, int addresses, Random random)
    {
        IsIpv6 = ipv6;
        List<(FibKey Prefix, int Length)> allocations = [.. Enumerable.Range(0, ipv6 ? 25_000 : 30_000).Select(_ => Allocation(random))];
        HashSet<(FibKey, int)> seen = [];
        Routes = new (FibKey, int, int)[routes];
        for (int i = 0; i < routes;)
        {
            int length = Pick(random, ipv6 ? s_lengths6 : s_lengths4);
            (FibKey within, int fixedBits) = ipv6 || length > 12 ? allocations[random.Next(allocations.Count)] : (default, 0);
            FibKey prefix = (fixedBits == 0 ? Unicast4(random) : Inside(random, within, fixedBits)).Prefix(length);
            if (seen.Add((prefix, length)))
            {
                Routes[i++] = (prefix, length, 1 + random.Next(Nexthops));
            }
        }

        Addresses = new FibKey[addresses];
        for (int i = 0; i < addresses; i++)
        {
            (FibKey prefix, int length, _) = Routes[random.Next(routes)];
            Addresses[i] = Inside(random, prefix, length);
        }
    }

    public bool IsIpv6 { get; }

    public (FibKey Prefix, int Length, int Nexthop)[] Routes { get; }

    public FibKey[] Addresses { get; }

    public static RouteSet Ipv4(int routes, int addresses) => new(false, routes, addresses, new Random(4));

    public static RouteSet Ipv6(int routes, int addresses) => new(true, routes, addresses, new Random(6));

    /// <summary>As rte_fib.c reads them.</summary>
    public void Save(string routes, string addresses)
    {
        int width = IsIpv6 ? 16 : 4;
        using FileStream r = File.Create(routes);
        byte[] record = new byte[width + 8];
        foreach ((FibKey prefix, int length, int nexthop) in Routes)
        {
            Write(prefix, record);
            BitConverter.TryWriteBytes(record.AsSpan(width), length);
            BitConverter.TryWriteBytes(record.AsSpan(width + 4), nexthop);
            r.Write(record);
        }

        using FileStream a = File.Create(addresses);
        foreach (FibKey key in Addresses)
        {
            Write(key, record);
            a.Write(record, 0, width);
        }
    }

    /// <summary>u32 in host order, or 16 bytes as in a packet.</summary>
    public void Write(FibKey key, Span<byte> to)
    {
        if (!IsIpv6)
        {
            BitConverter.TryWriteBytes(to, (uint)(key.High >> 32));
            return;
        }

        BinaryPrimitives.WriteUInt64BigEndian(to, key.High);
        BinaryPrimitives.WriteUInt64BigEndian(to[8..], key.Low);
    }

    private static int Pick(Random random, (int Length, double Share)[] lengths)
    {
        double at = random.NextDouble() * lengths.Sum(l => l.Share);
        foreach ((int length, double share) in lengths)
        {
            if ((at -= share) < 0)
            {
                return length;
            }
        }

        return lengths[0].Length;
    }

    private static FibKey Unicast4(Random random) => FibKey.Ipv4((uint)random.NextInt64(1L << 24, 224L << 24));

    private (FibKey, int) Allocation(Random random)
    {
        if (!IsIpv6)
        {
            int bits = Pick(random, [(12, 1), (13, 1), (14, 1), (15, 1), (16, 3), (17, 1), (18, 1)]);
            return (Unicast4(random).Prefix(bits), bits);
        }

        (ulong high, int fixedBits) = s_registries[random.Next(s_registries.Length)];
        int length = Pick(random, [(28, 1), (29, 1), (32, 4)]);
        return (Inside(random, new FibKey(high, 0), fixedBits).Prefix(length), length);
    }

    private FibKey Inside(Random random, FibKey prefix, int length)
    {
        Span<byte> bytes = stackalloc byte[16];
        random.NextBytes(bytes);
        FibKey any = FibKey.Ipv6(bytes), fixedBits = any.Prefix(length);
        FibKey inside = new(prefix.High | (any.High ^ fixedBits.High), prefix.Low | (any.Low ^ fixedBits.Low));
        return IsIpv6 ? inside : new FibKey(inside.High & 0xffff_ffff_0000_0000, 0);
    }
}
