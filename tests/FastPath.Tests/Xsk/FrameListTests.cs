using FastPathSync.FastPath.Worker;
using FastPathSync.FastPath.Xsk;

namespace FastPathSync.FastPath.Tests.Xsk;

public sealed class FrameListTests
{
    private const uint Frames = 2048, FrameSize = 2048, Stride = FrameSize + Umem.Gap;

    [Fact]
    public void AFrameComesBackWhateverDescriptorNamesIt()
    {
        const ulong Headroom = 256;
        FrameList free = new(Frames, Stride);
        ulong[] all = [.. Enumerable.Range(0, (int)Frames).Select(_ => free.Pop())];
        Assert.Equal(Enumerable.Range(0, (int)Frames).Select(i => (ulong)i * Stride), all.Order());
        foreach (ulong frame in all)
        {
            ulong received = frame | (Headroom << 48); // as xp_get_handle (include/net/xsk_buff_pool.h) says it
            Assert.Equal(frame + Headroom, Umem.OffsetOf(received));
            free.Push(received);
        }

        Assert.Equal(all.Reverse(), Enumerable.Range(0, (int)Frames).Select(_ => free.Pop()));
        free.Free();
    }

    /// <summary>The first bytes of all packets in flight fit into half an L2 of 512 KB and 8 ways.</summary>
    [Fact]
    public void TheFramesShareOutTheSetsOfACache()
    {
        const ulong Line = 64, Sets = 1024;
        FrameList free = new(Frames, Stride);
        Assert.True(Enumerable.Range(0, (int)Frames).CountBy(_ => (free.Pop() / Line) % Sets).Max(s => s.Value) <= 4);
        free.Free();
    }
}
