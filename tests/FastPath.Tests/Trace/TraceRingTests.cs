using FastPathSync.FastPath.Trace;

namespace FastPathSync.FastPath.Tests.Trace;

public sealed unsafe class TraceRingTests
{
    [Fact]
    public void RecordsComeOutAsTheyWentInAcrossManyTurnsOfTheRing()
    {
        using TraceRing ring = new("test");
        const int Count = 60_000; // of 0 to 2000 bytes: 60 MB, 15 turns
        Thread writer = new(() =>
        {
            Random random = new(1);
            byte* frame = stackalloc byte[2000];
            for (uint n = 0; n < Count; n++)
            {
                uint length = (uint)random.Next(2001);
                for (int i = 0; i < length; i += 97)
                {
                    frame[i] = (byte)(n + i);
                }

                while (!ring.TryWrite(new TraceRecord { Length = n, Kept = length }, frame))
                {
                    Thread.Yield();
                }
            }
        });
        writer.Start();
        Random same = new(1);
        for (uint n = 0; n < Count; n++)
        {
            TraceRecord* r;
            while ((r = ring.Peek()) == null)
            {
                Thread.Yield();
            }

            int length = same.Next(2001);
            Assert.Equal((n, (uint)length), (r->Length, r->Kept));
            for (int i = 0; i < length; i += 97)
            {
                Assert.True(((byte*)(r + 1))[i] == (byte)(n + i), $"record {n}, byte {i}");
            }

            ring.Advance();
        }

        writer.Join();
        Assert.True(ring.Peek() == null);
    }

    [Fact]
    public void WhatFindsNoRoomIsRefusedAndNothingOverwritten()
    {
        using TraceRing ring = new("test");
        byte* frame = stackalloc byte[1000];
        uint written = 0;
        while (ring.TryWrite(new TraceRecord { Length = written, Kept = 1000 }, frame))
        {
            written++;
        }

        Assert.InRange(written, 3900u, 4200u);
        for (uint n = 0; n < written; n++)
        {
            Assert.Equal(n, ring.Peek()->Length);
            ring.Advance();
        }

        Assert.True(ring.Peek() == null);
        Assert.True(ring.TryWrite(new TraceRecord { Length = 1 }, frame));
    }
}
