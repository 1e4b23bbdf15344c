using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FpManager.Tests.Route;

/// <summary>Longest prefix match as one says it: of all prefixes that cover the address, the longest. And prefixes that nest and collide.</summary>
internal sealed class ReferenceFib(int bits)
{
    private readonly Dictionary<(FibKey Prefix, int Length), int> _nexthops = [];

    public bool IsIpv4 => bits == 32;

    public int Count => _nexthops.Count;

    public IEnumerable<(FibKey Prefix, int Length)> Prefixes => _nexthops.Keys;

    public int this[FibKey prefix, int length] => _nexthops.GetValueOrDefault((prefix, length));

    public void Set(FibKey prefix, int length, int nexthop) => _nexthops[(prefix, length)] = nexthop;

    public void Remove(FibKey prefix, int length) => _nexthops.Remove((prefix, length));

    public uint Lookup(FibKey address)
    {
        for (int length = bits; length >= 0; length--)
        {
            if (_nexthops.TryGetValue((address.Prefix(length), length), out int nexthop))
            {
                return FibEntry.Make(length, nexthop);
            }
        }

        return 0;
    }

    /// <summary>A random address; half of the time one near a few places, so that prefixes nest.</summary>
    public FibKey RandomAddress(Random random)
    {
        ulong high = (ulong)random.NextInt64() << 1 ^ (ulong)random.NextInt64(), low = (ulong)random.NextInt64() << 1 ^ (ulong)random.NextInt64();
        if (random.Next(4) != 0)
        {
            // Few values in each byte: of a place's bits, those above a random one are everybody's.
            ulong mask = ulong.MaxValue >> random.Next(64);
            high = (high & mask & 0x0303_8101_0303_8103) | (0x2001_0db8_0000_0000 & ~mask);
            low &= random.Next(2) == 0 ? 0x8101 : ulong.MaxValue;
        }

        return bits == 32 ? new FibKey(high & 0xffff_ffff_0000_0000, 0) : new FibKey(high, low);
    }

    public (FibKey Prefix, int Length) RandomPrefix(Random random)
    {
        int length = random.Next(3) == 0 ? random.Next(bits + 1) : bits == 32 ? random.Next(16, 33) : random.Next(20, 129);
        return (RandomAddress(random).Prefix(length), length);
    }
}
