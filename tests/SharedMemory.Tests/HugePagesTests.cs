using FastPathSync.Linux;

namespace FastPathSync.SharedMemory.Tests;

public sealed unsafe class HugePagesTests
{
    private const int Page = 4096, PerHuge = (int)MemoryMapping.HugePage / Page;

    [Fact]
    public void FullPartsGetHugePagesAndSparseOnesStaySparse()
    {
        using Segment s = Segment.Create("test", SegmentKind.Fib4, 0, 8 << 20);
        Assert.Equal(0u, (nuint)s.Mapping.Address % MemoryMapping.HugePage);
        HugePages huge = new(s);
        Touch(s, 0, 0, PerHuge);
        Touch(s, 1, 0, 10);
        Touch(s, 2, 0, PerHuge * 7 / 8);
        huge.Collapse(10);
        Assert.SkipWhen(huge.Count == 0, "this kernel makes no huge pages of shared memory (MADV_COLLAPSE)");
        Assert.Equal(2, huge.Count);
        Assert.InRange(s.ResidentBytes, 2 * (long)MemoryMapping.HugePage, (2 * (long)MemoryMapping.HugePage) + (12 * Page));
        for (int page = 0; page < PerHuge; page++)
        {
            Assert.Equal(1 + (page % 200), s.Mapping.Address[(page * Page) + 2048]);
        }

        // Whoever maps it sees the same bytes, and the same again when asked once more.
        using Segment other = Segment.Attach("test", s.File.Duplicate(), SegmentKind.Fib4, writable: false);
        Assert.Equal(0u, (nuint)other.Mapping.Address % MemoryMapping.HugePage);
        Assert.Equal(1, other.Mapping.Address[(2 * MemoryMapping.HugePage) + 2048]);
        huge.Collapse(10);
        Assert.Equal(2, huge.Count);
    }

    [Fact]
    public void NoMoreThanAskedForAtOnceAndTheRestTheNextTime()
    {
        using Segment s = Segment.Create("test", SegmentKind.Fib4, 0, 8 << 20);
        HugePages huge = new(s);
        for (int i = 0; i < 3; i++)
        {
            Touch(s, i, 0, PerHuge);
        }

        huge.Collapse(1);
        Assert.SkipWhen(huge.Count == 0, "this kernel makes no huge pages of shared memory (MADV_COLLAPSE)");
        Assert.Equal(1, huge.Count);
        huge.Collapse(1);
        huge.Collapse(1);
        huge.Collapse(1);
        Assert.Equal(3, huge.Count);
    }

    private static void Touch(Segment s, int huge, int from, int to)
    {
        for (int page = from; page < to; page++)
        {
            s.Mapping.Address[((nuint)huge * MemoryMapping.HugePage) + (nuint)(page * Page) + 2048] = (byte)(1 + (page % 200));
        }
    }
}
