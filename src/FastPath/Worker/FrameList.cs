using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace FastPathSync.FastPath.Worker;

/// <summary>The free frames of a UMEM, last in first out: the one that comes next is the one most likely in the cache.</summary>
internal unsafe struct FrameList
{
    private readonly ulong* _frames;
    private readonly ulong _baseMask;

    public FrameList(uint capacity, uint frameSize)
    {
        _frames = (ulong*)NativeMemory.AlignedAlloc(capacity * sizeof(ulong), 64);
        _baseMask = ~((ulong)frameSize - 1);
        for (uint i = 0; i < capacity; i++)
        {
            _frames[i] = (ulong)(capacity - 1 - i) * frameSize;
        }

        Count = capacity;
    }

    public uint Count { get; private set; }

    /// <param name="address">Any address inside the frame.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Push(ulong address) => _frames[Count++] = address & _baseMask;

    /// <summary>Count must not be 0.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public ulong Pop() => _frames[--Count];

    public readonly void Free() => NativeMemory.AlignedFree(_frames);
}
