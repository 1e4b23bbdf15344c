using System.Runtime.CompilerServices;
using FastPathSync.Linux;

namespace FastPathSync.FastPath.Xsk;

/// <summary>
/// One of the four rings of an AF_XDP socket, shared with the kernel: of each of the two indexes one side is the only
/// writer (Documentation/networking/af_xdp.rst). Index holds ours; the release store in Publish/Release shows it.
/// </summary>
internal unsafe struct XskRing
{
    public uint* Producer;
    public uint* Consumer;
    public uint* Flags;
    public void* Entries;
    public uint Mask;

    /// <summary>Our index: producer of fill and tx, consumer of rx and completion.</summary>
    public uint Index;

    public static XskRing At(byte* memory, in Libc.xdp_ring_offset offsets, uint size) => new()
    {
        Producer = (uint*)(memory + offsets.producer),
        Consumer = (uint*)(memory + offsets.consumer),
        Flags = (uint*)(memory + offsets.flags),
        Entries = memory + offsets.desc,
        Mask = size - 1,
    };

    public readonly bool NeedsWakeup
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => (Volatile.Read(ref *Flags) & Libc.XDP_RING_NEED_WAKEUP) != 0;
    }

    /// <summary>rx, completion: entries that wait for us.</summary>
    public readonly uint Available
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => Volatile.Read(ref *Producer) - Index;
    }

    /// <summary>fill, tx: entries that the kernel has not taken yet.</summary>
    public readonly uint Waiting
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => Index - Volatile.Read(ref *Consumer);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly ref ulong Address(uint index) => ref ((ulong*)Entries)[index & Mask];

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly ref Libc.xdp_desc Descriptor(uint index) => ref ((Libc.xdp_desc*)Entries)[index & Mask];

    /// <summary>fill, tx: shows the kernel what was written up to Index.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly void Publish() => Volatile.Write(ref *Producer, Index);

    /// <summary>rx, completion: gives the entries below Index back.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly void Release() => Volatile.Write(ref *Consumer, Index);
}
