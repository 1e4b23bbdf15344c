using System.Runtime.CompilerServices;
using FastPathSync.Linux;

namespace FastPathSync.FastPath.Xsk;

/// <summary>A worker's packet memory: frames of one size, shared by all its sockets, so that forwarding hands over an address.</summary>
internal sealed unsafe class Umem : IDisposable
{
    /// <summary>The frame sizes there are: what the largest MTU at start asks for.</summary>
    public const uint SmallFrame = 2048, LargeFrame = 4096;

    private const nuint HugePage = 2 << 20;

    /// <summary>
    /// Between two frames: with a power of two as their distance the packets of all frames would share a few sets of each cache
    /// (2 KB: 32 of the 1024 sets of a 512 KB L2), and each would be evicted before its frame comes round again.
    /// </summary>
    public const uint Gap = 64;

    private const int OffsetShift = 48;
    private readonly MemoryMapping _mapping;
    private readonly List<XskBinding> _bindings = [];

    public Umem(int worker, uint frames, uint frameSize)
    {
        Worker = worker;
        Frames = frames;
        FrameSize = frameSize;
        Stride = frameSize + Gap;
        nuint length = (nuint)(frames * (ulong)Stride);
        Length = length;
        try
        {
            _mapping = MemoryMapping.Anonymous(length + HugePage, 0, $"UMEM of worker {worker}");
        }
        catch (LinuxException e)
        {
            throw new Hosting.DaemonStartException(
                e.ErrorNumber, $"worker {worker}: no memory for {frames} packet frames of {frameSize} bytes ({length >> 20} MB): {e.Message}; give fewer with --frames", e);
        }

        _mapping.AdviseHugePages();
        Base = (byte*)(((nuint)_mapping.Address + HugePage - 1) & ~(HugePage - 1));
        for (nuint i = 0; i < length; i += 4096)
        {
            Base[i] = 0; // prefault: no page fault on the packet path
        }
    }

    /// <summary>Whose it is.</summary>
    public int Worker { get; }

    public byte* Base { get; }

    public uint Frames { get; }

    public uint FrameSize { get; }

    /// <summary>From the beginning of one frame to that of the next.</summary>
    public uint Stride { get; }

    public nuint Length { get; }

    /// <summary>
    /// Where in the UMEM an address of a descriptor points: unaligned chunks carry the offset into the frame in their upper 16 bits
    /// (XSK_UNALIGNED_BUF_OFFSET_SHIFT in linux/if_xdp.h).
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong OffsetOf(ulong address) => FrameOf(address) + (address >> OffsetShift);

    /// <summary>Of the frame that an address of a descriptor points into.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong FrameOf(ulong address) => address & ((1ul << OffsetShift) - 1);

    /// <summary>The longest frame that fits behind the kernel's headroom.</summary>
    public static uint MaxFrame(uint frameSize) => frameSize - Libc.XDP_PACKET_HEADROOM;

    /// <summary>
    /// Registers the memory with a socket that is about to be bound, or names the bound socket that already has. The
    /// sharing one may be any that is still bound: the first may have gone with its interface.
    /// </summary>
    internal XskBinding? Sharer => _bindings.Find(b => !b.Gone);

    internal void Add(XskBinding binding) => _bindings.Add(binding);

    internal void Remove(XskBinding binding) => _bindings.Remove(binding);

    public void Dispose()
    {
        foreach (XskBinding b in _bindings.ToArray())
        {
            b.Dispose();
        }

        _mapping.Dispose();
    }
}
