using FastPathSync.Linux.Collections;

namespace FastPathSync.SharedMemory.Tests;

public sealed class CompactMapTests
{
    /// <summary>Few hashes, so that keys collide and runs wrap around the end.</summary>
    private readonly record struct Key(uint Number, uint Hashes) : ICompactKey<Key>
    {
        public bool IsUsed => Number != 0;

        public uint Hash => Number % Hashes * 0x9e3779b1;
    }

    [Theory]
    [InlineData(7)]
    [InlineData(1000)]
    [InlineData(int.MaxValue)]
    public void ItHoldsWhatADictionaryHolds(uint hashes)
    {
        Random random = new(5);
        CompactMap<Key, int> map = new();
        Dictionary<Key, int> expected = [];
        for (int i = 0; i < 60_000; i++)
        {
            // It grows, shrinks to nearly nothing, and grows again.
            Key key = new((uint)random.Next(1, 600), hashes);
            bool removes = random.Next(10) < (i / 10_000 % 2 == 0 ? 3 : 8);
            if (removes)
            {
                Assert.Equal(expected.Remove(key), map.Remove(key));
                map.Trim();
            }
            else
            {
                map.Value(map.FindOrAdd(key)) = expected[key] = i;
            }

            Assert.Equal(expected.Count, map.Count);
            Key asked = new((uint)random.Next(1, 600), hashes);
            int slot = map.Find(asked);
            Assert.Equal(expected.TryGetValue(asked, out int value) ? value : -1, slot < 0 ? -1 : map.Value(slot));
        }

        Dictionary<Key, int> all = Enumerable.Range(0, map.Capacity).Where(map.IsUsed).ToDictionary(s => map.Key(s), s => map.Value(s));
        Assert.Equal(expected.OrderBy(e => e.Key.Number), all.OrderBy(e => e.Key.Number));
    }

    /// <summary>Beyond 65,536 slots, where it grows by a third, and is no power of two.</summary>
    [Fact]
    public void LargeOnesHoldWhatADictionaryHolds()
    {
        const uint Most = 400_000;
        Random random = new(6);
        CompactMap<Key, int> map = new();
        Dictionary<uint, int> expected = [];
        for (int round = 0; round < 6; round++)
        {
            for (int i = 0; i < 300_000; i++)
            {
                uint number = (uint)random.Next(1, (int)Most);
                if (random.Next(10) < (round % 2 == 0 ? 2 : 9))
                {
                    Assert.Equal(expected.Remove(number), map.Remove(new Key(number, uint.MaxValue)));
                }
                else
                {
                    map.Value(map.FindOrAdd(new Key(number, uint.MaxValue))) = expected[number] = i;
                }
            }

            map.Trim();
            Assert.Equal(expected.Count, map.Count);
            for (uint number = 1; number < Most; number++)
            {
                int slot = map.Find(new Key(number, uint.MaxValue));
                Assert.Equal(expected.GetValueOrDefault(number, -1), slot < 0 ? -1 : map.Value(slot));
            }
        }
    }

    [Fact]
    public void WhatItOutgrewAndWhatItLostIsGivenBack()
    {
        CompactMap<Key, int> map = new();
        for (uint i = 1; i <= 100_000; i++)
        {
            map.Add(new Key(i, uint.MaxValue), (int)i);
        }

        nuint full = map.Bytes;
        Assert.InRange(full, 100_000u * 12, 300_000u * 12);
        for (uint i = 1; i <= 100_000; i++)
        {
            Assert.True(map.Remove(new Key(i, uint.MaxValue)));
        }

        map.Trim();
        Assert.InRange(map.Bytes, 0u, full / 100);
    }
}
