using FastPathSync.FpManager.Features.Route;
using FastPathSync.FpManager.Memory;
using FastPathSync.SharedMemory;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FpManager.Tests.Route;

public sealed unsafe class FibTrieTests
{
    private const int Units = 1 << 20;

    [Theory]
    [InlineData(32, 1, 3000)]
    [InlineData(32, 2, 30_000)]
    [InlineData(128, 3, 3000)]
    [InlineData(128, 4, 30_000)]
    public void AnyOrderOfChangesAnswersAsTheReferenceDoes(int bits, int seed, int changes)
    {
        using Arena a = new();
        int slot = a.Writer.Open(bits == 32 ? FibFamily.Ipv4 : FibFamily.Ipv6, 254);
        int other = a.Writer.Open(FibFamily.Ipv6, 7);
        Assert.True(a.Writer.TrySet(other, default, 0, 99));
        ReferenceFib reference = new(bits);
        Random random = new(seed);
        List<(FibKey Prefix, int Length)> known = [];
        for (int i = 0; i < changes; i++)
        {
            // Grows for a while, then shrinks, so that arrays come and nodes go.
            if (known.Count > 0 && random.Next(100) < (i < changes * 2 / 3 ? 20 : 85))
            {
                int k = random.Next(known.Count);
                (FibKey prefix, int length) = known[k];
                if (random.Next(4) == 0)
                {
                    reference.Set(prefix, length, 1 + i);
                    Assert.True(a.Writer.TrySet(slot, prefix, length, 1 + i));
                }
                else
                {
                    reference.Remove(prefix, length);
                    Assert.True(a.Writer.TryRemove(slot, prefix, length));
                    (known[k], known[^1]) = (known[^1], known[k]);
                    known.RemoveAt(known.Count - 1);
                }
            }
            else
            {
                (FibKey prefix, int length) = reference.RandomPrefix(random);
                if (reference[prefix, length] == 0)
                {
                    known.Add((prefix, length));
                }

                reference.Set(prefix, length, 1 + i);
                Assert.True(a.Writer.TrySet(slot, prefix, length, 1 + i));
            }

            a.Grace();
            Compare(a, slot, reference, random, known, 8);
            if (i % 997 == 0)
            {
                Compare(a, slot, reference, random, known, 2000);
            }
        }

        Assert.Equal(reference.Count, a.Writer.Count(slot));
        Assert.Equal(FibEntry.Make(0, 99), a.Writer.Reader.Lookup(other, default(FibKey)));
        Assert.Equal(Sorted(reference.Prefixes.Select(p => (p.Prefix, p.Length, reference[p.Prefix, p.Length]))), Sorted(a.All(slot)));

        // Conservation: what was removed leaves nothing behind.
        foreach ((FibKey prefix, int length) in known)
        {
            Assert.True(a.Writer.TryRemove(slot, prefix, length));
        }

        a.Grace();
        Assert.Equal((0, 0), (a.Writer.Count(slot), a.Writer.UsedUnits));
    }

    [Fact]
    public void ExtremeLengthsAnswer()
    {
        using Arena a = new();
        int slot = a.Writer.Open(FibFamily.Ipv6, 254);
        FibKey host = new(0x2001_0db8_0000_0001, 0xffff_ffff_ffff_fffe), neighbour = host with { Low = ulong.MaxValue };
        Assert.True(a.Writer.TrySet(slot, host, 128, 1) && a.Writer.TrySet(slot, neighbour, 128, 2));
        Assert.True(a.Writer.TrySet(slot, host.Prefix(127), 127, 3) && a.Writer.TrySet(slot, host.Prefix(1), 1, 4) && a.Writer.TrySet(slot, default, 0, 5));
        Assert.Equal(FibEntry.Make(128, 1), a.Writer.Reader.Lookup(slot, host));
        Assert.Equal(FibEntry.Make(128, 2), a.Writer.Reader.Lookup(slot, neighbour));
        Assert.True(a.Writer.TryRemove(slot, host, 128));
        Assert.Equal(FibEntry.Make(127, 3), a.Writer.Reader.Lookup(slot, host));
        Assert.Equal(FibEntry.Make(1, 4), a.Writer.Reader.Lookup(slot, new FibKey(1, 0)));
        Assert.Equal(FibEntry.Make(0, 5), a.Writer.Reader.Lookup(slot, new FibKey(1ul << 63, 0)));
    }

    [Fact]
    public void PrefixesOfAllLengthsNestAndAnswerInABatch()
    {
        using Arena a = new();
        int slot = a.Writer.Open(FibFamily.Ipv6, 254);
        FibKey host = new(0x2001_0db8_1234_5678, 0x9abc_def0_1234_5678);
        FibKey* keys = stackalloc FibKey[64];
        uint* entries = stackalloc uint[64];
        for (int n = 0; n <= 128; n++)
        {
            int length = n * 37 % 129; // in some order, each once
            Assert.True(a.Writer.TrySet(slot, host.Prefix(length), length, 1 + length));
        }

        for (int first = 0; first <= 128; first += 43)
        {
            // Another address at bit k is covered by the prefixes up to length k.
            for (int k = 0; k < 43; k++)
            {
                keys[k] = Flip(host, first + k);
            }

            a.Writer.Reader.Lookup(slot, keys, entries, 43);
            for (int k = 0; k < 43; k++)
            {
                uint expected = FibEntry.Make(first + k, 1 + first + k);
                Assert.Equal((first + k, expected), (first + k, entries[k]));
                Assert.Equal((first + k, expected), (first + k, a.Writer.Reader.Lookup(slot, keys[k])));
            }
        }
    }

    [Theory]
    [InlineData(32)]
    [InlineData(128)]
    public void BigTableWithItsArraysAnswersAndGoesWithoutATrace(int bits)
    {
        using Arena a = new(1 << 21);
        int slot = a.Writer.Open(bits == 32 ? FibFamily.Ipv4 : FibFamily.Ipv6, 254);
        ReferenceFib reference = new(bits);
        Random random = new(9);
        List<(FibKey Prefix, int Length)> known = [];
        while (known.Count < 45_000)
        {
            (FibKey prefix, int length) = reference.RandomPrefix(random);
            if (reference[prefix, length] == 0)
            {
                known.Add((prefix, length));
            }

            reference.Set(prefix, length, known.Count);
            Assert.True(a.Writer.TrySet(slot, prefix, length, known.Count));
            if (known.Count % 9000 == 0)
            {
                Compare(a, slot, reference, random, known, 5000);
            }
        }

        a.Grace();
        Assert.NotEqual(0u, a.Writer.Reader.Roots[slot].Child & FibTrieSegment.WideFlag);
        a.Restart();
        Compare(a, slot, reference, random, known, 10_000);
        for (int i = 0; i < known.Count; i++)
        {
            reference.Remove(known[i].Prefix, known[i].Length);
            Assert.True(a.Writer.TryRemove(slot, known[i].Prefix, known[i].Length));
            if (i % 9000 == 0)
            {
                Compare(a, slot, reference, random, known, 3000);
            }
        }

        a.Grace();
        Assert.Equal((0, 0), (a.Writer.Count(slot), a.Writer.UsedUnits));
    }

    [Fact]
    public void SmallVrfTouchesFewPages()
    {
        using Arena a = new(Capacities.FibTrieUnits);
        int four = a.Writer.Open(FibFamily.Ipv4, 254), six = a.Writer.Open(FibFamily.Ipv6, 254);
        for (uint i = 0; i < 10; i++)
        {
            Assert.True(a.Writer.TrySet(four, FibKey.Ipv4(i == 0 ? 0x0a00_0000 : (192u << 24) | (168u << 16) | (i << 8)), i == 0 ? 8 : 24, 1));
            Assert.True(a.Writer.TrySet(six, new FibKey(0x2001_0db8_0000_0000ul | (i << 16), 0), i == 0 ? 32 : 48, 1));
        }

        for (uint i = 0; i < 100_000; i++)
        {
            a.Writer.Reader.Lookup(four, i * 42949); // looking up makes nothing resident
        }

        Assert.InRange(a.ResidentBytes, 1, 4 * 4096);
    }

    [Fact]
    public void FullArenaRefusesAndHasNothingHalfApplied()
    {
        using Arena a = new(units: 2000);
        int slot = a.Writer.Open(FibFamily.Ipv6, 254);
        ReferenceFib reference = new(128);
        Random random = new(5);
        List<(FibKey Prefix, int Length)> known = [];
        int refused = 0;
        for (int i = 0; i < 5000; i++)
        {
            (FibKey prefix, int length) = reference.RandomPrefix(random);
            if (a.Writer.TrySet(slot, prefix, length, 1 + i))
            {
                if (reference[prefix, length] == 0)
                {
                    known.Add((prefix, length));
                }

                reference.Set(prefix, length, 1 + i);
            }
            else
            {
                refused++;
                Assert.Equal(reference[prefix, length], a.Writer.Get(slot, prefix, length));
            }

            a.Grace();
        }

        Assert.True(refused > 3000, $"{refused} refused");
        Assert.True(a.Writer.UsedUnits > 1500, $"{a.Writer.UsedUnits} units used");
        Compare(a, slot, reference, random, known, 5000);
        foreach ((FibKey prefix, int length) in known)
        {
            Assert.True(a.Writer.TryRemove(slot, prefix, length)); // by the reserve
            a.Grace();
        }

        Assert.Equal(0, a.Writer.UsedUnits);
        Assert.True(a.Writer.TrySet(slot, new FibKey(5, 0), 64, 1));
    }

    [Fact]
    public void RestartTakesUpAndMendStoresOnlyWhatDiffers()
    {
        using Arena a = new();
        int slot = a.Writer.Open(FibFamily.Ipv4, 254);
        ReferenceFib reference = new(32);
        Random random = new(6);
        List<(FibKey Prefix, int Length)> known = [];
        for (int i = 0; i < 20_000; i++)
        {
            (FibKey prefix, int length) = reference.RandomPrefix(random);
            if (reference[prefix, length] == 0)
            {
                known.Add((prefix, length));
            }

            reference.Set(prefix, length, 1 + i);
            Assert.True(a.Writer.TrySet(slot, prefix, length, 1 + i));
        }

        a.Grace();
        int used = a.Writer.UsedUnits;
        a.Restart();
        a.Grace();
        Assert.Equal((used, slot), (a.Writer.UsedUnits, a.Writer.Open(FibFamily.Ipv4, 254)));
        Compare(a, slot, reference, random, known, 5000);
        Assert.Equal(0, a.Writer.Mend(slot, reference.Prefixes, (p, l) => reference[p, l], out bool complete));
        Assert.True(complete);

        // Half an update of an array, as a writer leaves it that dies: the restart mends it.
        uint top = a.Writer.Reader.Roots[slot].Child;
        Assert.NotEqual(0u, top & FibTrieSegment.ArrayFlag);
        FibArraySlot* array = (FibArraySlot*)(a.Writer.Reader.Units + (top & FibTrieSegment.OffsetMask));
        for (int i = 0; i < 8192; i++)
        {
            array[i].Entry = 0;
        }

        a.Restart();
        Compare(a, slot, reference, random, known, 5000);

        // What was wrong, missing or too many is put right.
        for (int i = 0; i < 50; i++)
        {
            a.Writer.TrySet(slot, known[i].Prefix, known[i].Length, 0x777777);
            a.Writer.TryRemove(slot, known[100 + i].Prefix, known[100 + i].Length);
            reference.Remove(known[200 + i].Prefix, known[200 + i].Length);
        }

        Assert.Equal(150, a.Writer.Mend(slot, reference.Prefixes, (p, l) => reference[p, l], out complete));
        Assert.True(complete);
        Compare(a, slot, reference, random, known, 5000);
    }

    [Fact]
    public void ReaderBesideTheWriterSeesOldOrNewAndNothingElse()
    {
        // /8 always 1 or 2; /24s and /32s inside come and go with nexthops that name their length.
        using Arena a = new(workers: true);
        int slot = a.Writer.Open(FibFamily.Ipv4, 254);
        Assert.True(a.Writer.TrySet(slot, FibKey.Ipv4(0x0a00_0000), 8, 801));
        using CancellationTokenSource stop = new();
        string? wrong = null;
        long looked = 0;
        Thread reader = new(() =>
        {
            Random random = new(7);
            uint* addresses = stackalloc uint[64];
            uint* entries = stackalloc uint[64];
            FibTrieReader r = a.Writer.Reader;
            while (!stop.IsCancellationRequested && wrong is null)
            {
                for (int i = 0; i < 64; i++)
                {
                    addresses[i] = 0x0a00_0000u | ((uint)random.Next(300) << 16) | ((uint)random.Next(4) << 8) | (uint)random.Next(4);
                }

                r.Lookup(slot, addresses, entries, 64);
                for (int i = 0; i < 64; i++)
                {
                    uint e = i % 2 == 0 ? entries[i] : r.Lookup(slot, addresses[i]);
                    int depth = FibEntry.Depth(e), nexthop = FibEntry.Nexthop(e);
                    bool inside = addresses[i] >> 24 == 10;
                    if (inside ? depth is not (8 or 24 or 32) || nexthop / 100 != depth : depth is not (0 or 24 or 32))
                    {
                        wrong = $"{addresses[i]:x8}: /{depth} nexthop {nexthop}";
                    }
                }

                looked += 128;
                a.Workers.Quiescent[0] = (ulong)looked;
            }
        });
        reader.Start();
        Random random = new(8);
        for (int i = 0; i < 400_000 && wrong is null; i++)
        {
            uint address = 0x0a00_0000u | ((uint)random.Next(300) << 16) | ((uint)random.Next(4) << 8) | (uint)random.Next(4);
            int length = random.Next(2) == 0 ? 24 : 32;
            FibKey prefix = FibKey.Ipv4(address).Prefix(length);
            Assert.True(random.Next(3) == 0 ? a.Writer.TryRemove(slot, prefix, length) : a.Writer.TrySet(slot, prefix, length, (length * 100) + random.Next(100)));
            if (i % 64 == 0)
            {
                a.Writer.TrySet(slot, FibKey.Ipv4(0x0a00_0000), 8, 801 + (i & 1));
                a.Reclaimer.Close();
                a.Reclaimer.Poll();
            }
        }

        stop.Cancel();
        reader.Join();
        Assert.Null(wrong);
        Assert.True(looked > 10_000, $"{looked} lookups");
        Assert.True(a.Writer.UsedUnits < 100_000, $"{a.Writer.UsedUnits} units: nothing is reused");
    }

    [Fact]
    public void ClosedTableGivesAllBackAndItsSlotAfterAGracePeriod()
    {
        using Arena a = new();
        int slot = a.Writer.Open(FibFamily.Ipv4, 100);
        for (uint i = 0; i < 5000; i++)
        {
            Assert.True(a.Writer.TrySet(slot, FibKey.Ipv4(i << 12), 20, 1));
        }

        a.Writer.Close(slot);
        Assert.Equal(-1, a.Writer.Reader.Find(FibFamily.Ipv4, 100));
        Assert.NotEqual(slot, a.Writer.Open(FibFamily.Ipv4, 101));
        a.Grace();
        Assert.Equal(0, a.Writer.UsedUnits);
        Assert.Equal(slot, a.Writer.Open(FibFamily.Ipv4, 102));
    }

    [Fact]
    public void TablesEndAndAreCounted()
    {
        using Arena a = new();
        for (uint i = 0; i < FibTrieSegment.Roots; i++)
        {
            Assert.Equal((int)i, a.Writer.Open(FibFamily.Ipv6, i));
        }

        Assert.Equal(-1, a.Writer.Open(FibFamily.Ipv6, FibTrieSegment.Roots));
    }

    private static FibKey Flip(FibKey key, int bit) =>
        bit < 64 ? key with { High = key.High ^ (1ul << (63 - bit)) } : bit < 128 ? key with { Low = key.Low ^ (1ul << (127 - bit)) } : key;

    private static List<(FibKey Prefix, int Length, int Nexthop)> Sorted(IEnumerable<(FibKey Prefix, int Length, int Nexthop)> all) =>
        [.. all.OrderBy(p => p.Prefix.High).ThenBy(p => p.Prefix.Low).ThenBy(p => p.Length)];

    /// <summary>Addresses at random, and at the edges of known prefixes, one by one and as a batch.</summary>
    private static void Compare(Arena a, int slot, ReferenceFib reference, Random random, List<(FibKey Prefix, int Length)> known, int count)
    {
        FibKey* keys = stackalloc FibKey[64];
        uint* entries = stackalloc uint[64];
        for (int i = 0; i < count; i += 64)
        {
            int n = Math.Min(64, count - i);
            for (int k = 0; k < n; k++)
            {
                keys[k] = reference.RandomAddress(random);
                if (known.Count > 0 && random.Next(2) == 0)
                {
                    FibKey inside = known[random.Next(known.Count)].Prefix;
                    keys[k] = random.Next(3) switch
                    {
                        0 => inside,
                        1 => new FibKey(inside.High - 1, 0), // in IPv6 only: in the other half of a neighbour
                        _ => new FibKey(inside.High ^ (keys[k].High >> random.Next(32, 64)), inside.Low ^ keys[k].Low >> random.Next(64)),
                    };
                    keys[k] = reference.IsIpv4 ? new FibKey(keys[k].High & 0xffff_ffff_0000_0000, 0) : keys[k];
                }
            }

            a.Writer.Reader.Lookup(slot, keys, entries, n);
            for (int k = 0; k < n; k++)
            {
                uint expected = reference.Lookup(keys[k]);
                Assert.Equal((keys[k], expected), (keys[k], a.Writer.Reader.Lookup(slot, keys[k])));
                Assert.Equal((keys[k], expected), (keys[k], entries[k]));
            }
        }
    }

    /// <summary>A segment and its writer.</summary>
    private sealed class Arena : IDisposable
    {
        private readonly Segment _segment;

        public Arena(int units = Units, bool workers = false)
        {
            _segment = Segment.Create("fib-trie", SegmentKind.FibTrie, (ulong)units, FibTrieSegment.BodyLength(units));
            if (workers)
            {
                Workers.Quiescent[0] = 1;
            }

            Reclaimer = new Reclaimer(Workers);
            Writer = new FibTrieWriter(_segment, Reclaimer);
        }

        public FakeWorkers Workers { get; } = new();

        public Reclaimer Reclaimer { get; private set; }

        public FibTrieWriter Writer { get; private set; }

        public long ResidentBytes => _segment.ResidentBytes;

        public void Grace()
        {
            Reclaimer.Close();
            Reclaimer.Poll();
        }

        public void Restart()
        {
            Reclaimer = new Reclaimer(Workers);
            Writer = new FibTrieWriter(_segment, Reclaimer);
        }

        public List<(FibKey, int, int)> All(int slot)
        {
            List<(FibKey, int, int)> all = [];
            Writer.Each(slot, (prefix, length, nexthop) => all.Add((prefix, length, nexthop)));
            return all;
        }

        public void Dispose() => _segment.Dispose();
    }
}
