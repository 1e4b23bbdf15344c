using FastPathSync.FpManager.Features.Route;
using FastPathSync.FpManager.Memory;
using FastPathSync.SharedMemory;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FpManager.Tests.Route;

public sealed unsafe class Fib4Tests
{
    [Fact]
    public void AnyOrderOfChangesAnswersAsTheReferenceDoesOneByOneAndInBatches()
    {
        using Segment segment = Segment.Create("fib4", SegmentKind.Fib4, Capacities.Fib4Groups, Fib4Segment.BodyLength);
        Reclaimer reclaimer = new(new FakeWorkers());
        Fib4Writer writer = new(Fib4Segment.Table24(segment), Fib4Segment.Groups(segment), Fib4Segment.GroupUse(segment), Capacities.Fib4Groups, reclaimer);
        Fib4Reader reader = Fib4Segment.Reader(segment);
        ReferenceFib reference = new(32);
        Random random = new(1);
        List<(FibKey Prefix, int Length)> known = [];
        uint* addresses = stackalloc uint[200];
        uint* entries = stackalloc uint[200];
        for (int i = 0; i < 6000; i++)
        {
            if (known.Count > 0 && random.Next(100) < (i < 4000 ? 20 : 80))
            {
                int k = random.Next(known.Count);
                (FibKey prefix, int length) = known[k];
                known.RemoveAt(k);
                reference.Remove(prefix, length);
                uint parent = length == 0 ? 0 : Parent(reference, prefix, length);
                writer.Remove((uint)(prefix.High >> 32), length, parent);
            }
            else
            {
                (FibKey prefix, int length) = reference.RandomPrefix(random);
                if (length < 8)
                {
                    continue; // each of these is millions of stores, and /0 isn't here at all
                }

                bool added = reference[prefix, length] == 0;
                if (added)
                {
                    known.Add((prefix, length));
                }

                reference.Set(prefix, length, 1 + i);
                Assert.True(writer.TrySet((uint)(prefix.High >> 32), length, 1 + i, added));
            }

            reclaimer.Close();
            reclaimer.Poll();
            int n = i % 100 == 0 ? 1 + random.Next(200) : 1 + random.Next(9);
            for (int k = 0; k < n; k++)
            {
                addresses[k] = (uint)(reference.RandomAddress(random).High >> 32);
                if (known.Count > 0 && random.Next(2) == 0)
                {
                    addresses[k] = (uint)(known[random.Next(known.Count)].Prefix.High >> 32) ^ (uint)(random.Next(3) == 0 ? 0 : random.Next(512));
                }
            }

            reader.Lookup(addresses, entries, n);
            for (int k = 0; k < n; k++)
            {
                uint expected = reference.Lookup(FibKey.Ipv4(addresses[k]));
                Assert.Equal((addresses[k], expected), (addresses[k], entries[k]));
                Assert.Equal((addresses[k], expected), (addresses[k], reader.LookupEntry(addresses[k])));
            }
        }
    }

    private static uint Parent(ReferenceFib reference, FibKey prefix, int length)
    {
        for (int l = length - 1; l >= 0; l--)
        {
            if (reference[prefix.Prefix(l), l] != 0)
            {
                return FibEntry.Make(l, reference[prefix.Prefix(l), l]);
            }
        }

        return 0;
    }
}
