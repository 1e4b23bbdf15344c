using FastPathSync.Fpctl.Features.Route;
using FastPathSync.Fpctl.Features.Verify;

namespace FastPathSync.Fpctl.Tests.Verify;

public sealed class IntervalMapTests
{
    [Fact]
    public void AnswersAsTheDefinitionOfLongestPrefixMatchDoes()
    {
        Random random = new(7);
        for (int round = 0; round < 300; round++)
        {
            Dictionary<ulong, int> prefixes = RandomPrefixes(random);
            IntervalMap map = IntervalMap.Build(prefixes, 0);
            foreach (uint a in Probes(prefixes.Keys, random))
            {
                Assert.Equal(Definition(prefixes, a, 0), map.Lookup(a));
            }

            AssertCovers(map);
        }
    }

    private static Dictionary<ulong, int> RandomPrefixes(Random random)
    {
        Dictionary<ulong, int> prefixes = [];
        uint cluster = (uint)random.NextInt64(1L << 32);
        for (int i = random.Next(1, 40); i > 0; i--)
        {
            int length = random.Next(0, 33);
            uint address = random.Next(2) == 0 ? cluster ^ (uint)random.Next(1024) : random.Next(4) switch { 0 => 0, 1 => uint.MaxValue, _ => (uint)random.NextInt64(1L << 32) };
            prefixes[IntervalMap.Key(address & RouteOrder.Mask(length), length)] = random.Next(1, 5);
        }

        return prefixes;
    }

    private static IEnumerable<uint> Probes(IEnumerable<ulong> prefixes, Random random) => prefixes.SelectMany(p =>
    {
        uint first = (uint)(p >> 8), last = first | ~RouteOrder.Mask((int)(p & 0xff));
        return new[] { first, last, unchecked(first - 1), unchecked(last + 1), first + ((last - first) / 2), (uint)random.NextInt64(1L << 32) };
    });

    private static int Definition(Dictionary<ulong, int> prefixes, uint address, int outside) => prefixes
        .Where(p => (((uint)(p.Key >> 8) ^ address) & RouteOrder.Mask((int)(p.Key & 0xff))) == 0)
        .OrderByDescending(p => p.Key & 0xff).Select(p => p.Value).FirstOrDefault(outside);

    private static void AssertCovers(IntervalMap map)
    {
        Assert.Equal(0u, map[0].First);
        Assert.Equal(uint.MaxValue, map[map.Count - 1].Last);
        for (int i = 1; i < map.Count; i++)
        {
            Assert.True(map[i].First > map[i - 1].First && map[i].Value != map[i - 1].Value);
        }
    }
}
