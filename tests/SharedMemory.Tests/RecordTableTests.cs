using FastPathSync.SharedMemory;

namespace FastPathSync.SharedMemory.Tests;

public sealed unsafe class RecordTableTests
{
    private struct Pair
    {
        public ulong A;
        public ulong B;
    }

    private static Segment NewSegment(int capacity = 64) => Segment.Create("test", SegmentKind.Route, (ulong)capacity, RecordTable.BytesFor<Pair>(capacity));

    [Fact]
    public void WrittenRecordIsReadAndFreedOneIsNot()
    {
        using Segment s = NewSegment();
        RecordTableWriter<Pair> w = new(s.Body, 64);
        int slot = w.Allocate();
        w.Write(slot, new Pair { A = 1, B = 2 });
        RecordTableReader<Pair> r = new(s.Body, 64);
        Assert.True(r.TryRead(slot, out Pair p));
        Assert.Equal((1ul, 2ul, 1), (p.A, p.B, r.Count));
        w.Free(slot);
        Assert.False(r.TryRead(slot, out _));
        Assert.Equal(0, r.Count);
        Assert.Equal(slot, w.Allocate());
    }

    [Fact]
    public void FullTableSaysSo()
    {
        using Segment s = NewSegment(4);
        RecordTableWriter<Pair> w = new(s.Body, 4);
        Assert.Equal([0, 1, 2, 3, -1], Enumerable.Range(0, 5).Select(_ => w.Allocate()));
    }

    [Fact]
    public void ReaderNeverSeesATornRecord()
    {
        using Segment s = NewSegment();
        RecordTableWriter<Pair> w = new(s.Body, 64);
        int slot = w.Allocate();
        w.Write(slot, default);
        using CancellationTokenSource stop = new();
        Thread writer = new(() =>
        {
            for (ulong i = 0; !stop.IsCancellationRequested; i++)
            {
                w.Write(slot, new Pair { A = i, B = ~i });
            }
        });
        w.Write(slot, new Pair { A = 0, B = ~0ul });
        writer.Start();
        RecordTableReader<Pair> r = new(s.Body, 64);
        int torn = 0, read = 0;
        for (int i = 0; i < 300_000; i++)
        {
            if (r.TryRead(slot, out Pair p))
            {
                read++;
                torn += p.B == ~p.A ? 0 : 1;
            }
        }

        stop.Cancel();
        writer.Join();
        Assert.Equal(0, torn);
        Assert.True(read > 1000, $"{read} reads");
    }

    [Fact]
    public void RecordWhoseWriterDiedInsideIsFreeAfterAttach()
    {
        using Segment s = NewSegment();
        RecordTableWriter<Pair> w = new(s.Body, 64);
        int good = w.Allocate(), bad = w.Allocate();
        w.Write(good, new Pair { A = 1 });
        w.Write(bad, new Pair { A = 2 });
        uint* sequence = (uint*)(s.Body + 64);
        sequence[bad] |= 1; // the writer is inside, and never comes back
        RecordTableWriter<Pair> next = new(s.Body, 64);
        Assert.Equal(1, next.Repaired);
        Assert.True(next.Reader.TryRead(good, out _));
        Assert.False(next.Reader.TryRead(bad, out _));
        Assert.Equal(bad, next.Allocate());
    }

    [Fact]
    public void OtherLayoutKindAndMagicAreRefusedWithTheMend()
    {
        using Segment s = NewSegment();
        Assert.Contains("expected Vrf", Assert.Throws<SegmentException>(() => Segment.Attach("test", s.File.Duplicate(), SegmentKind.Vrf, false)).Message, StringComparison.Ordinal);
        s.Header.LayoutVersion++;
        string message = Assert.Throws<SegmentException>(() => Segment.Attach("test", s.File.Duplicate(), SegmentKind.Route, false)).Message;
        Assert.Contains("layout version", message, StringComparison.Ordinal);
        Assert.Contains("fpctl stop", message, StringComparison.Ordinal);
        s.Header.Magic = 0;
        Assert.Throws<SegmentException>(() => Segment.Attach("test", s.File.Duplicate(), SegmentKind.Route, false));
    }
}
