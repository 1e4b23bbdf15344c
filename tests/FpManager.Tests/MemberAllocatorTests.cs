using FastPathSync.FpManager.Features.Nexthop;

namespace FastPathSync.FpManager.Tests;

public sealed class MemberAllocatorTests
{
    [Fact]
    public void RunsOfAnySizeAreReused()
    {
        MemberAllocator a = new(100);
        int[] runs = [.. Enumerable.Range(0, 10).Select(_ => a.Allocate(10))];
        Assert.Equal(-1, a.Allocate(1));
        a.Free(runs[3], 10);
        a.Free(runs[5], 10);
        Assert.Equal(-1, a.Allocate(11));
        a.Free(runs[4], 10);
        Assert.Equal(runs[3], a.Allocate(30));
        Assert.Equal(-1, a.Allocate(1));
    }

    [Fact]
    public void AfterARestartOnlyWhatIsInUseIsTaken()
    {
        MemberAllocator a = new(100);
        a.Reserve(10, 20);
        a.Reserve(50, 50);
        a.Reserve(60, 5); // damaged: inside another
        Assert.Equal(0, a.Allocate(10));
        Assert.Equal(30, a.Allocate(20));
        Assert.Equal(-1, a.Allocate(1));
        a.Free(50, 50);
        Assert.Equal(50, a.Allocate(50));
    }

    [Fact]
    public void RandomRunsNeverOverlapAndNothingIsLost()
    {
        Random random = new(1);
        MemberAllocator a = new(1000);
        bool[] used = new bool[1000];
        List<(int First, int Count)> held = [];
        for (int i = 0; i < 20_000; i++)
        {
            int count = 1 + random.Next(60);
            int first = random.Next(3) == 0 ? -1 : a.Allocate(count);
            if (first >= 0)
            {
                Assert.DoesNotContain(true, used[first..(first + count)]);
                Array.Fill(used, true, first, count);
                held.Add((first, count));
            }
            else if (held.Count > 0)
            {
                int which = random.Next(held.Count);
                a.Free(held[which].First, held[which].Count);
                Array.Fill(used, false, held[which].First, held[which].Count);
                held.RemoveAt(which);
            }
        }

        held.ForEach(h => a.Free(h.First, h.Count));
        Assert.Equal(0, a.Allocate(1000));
    }
}
