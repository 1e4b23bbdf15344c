using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using FastPathSync.FastPath.Xsk;

namespace FastPathSync.FastPath.Worker;

/// <summary>The free frames of a UMEM, last in first out: the one that comes next is the one most likely in the cache.</summary>
internal unsafe struct FrameList
{
    private readonly ulong* _frames;

    public FrameList(uint capacity, uint stride)
    {
        _frames = (ulong*)NativeMemory.AlignedAlloc(capacity * sizeof(ulong), 64);
        for (uint i = 0; i < capacity; i++)
        {
            _frames[i] = (ulong)(capacity - 1 - i) * stride;
        }

        Count = capacity;
    }

    public uint Count { get; private set; }

    /// <param name="address">As a descriptor has it.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Push(ulong address) => _frames[Count++] = Umem.FrameOf(address);

    /// <summary>Count must not be 0.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public ulong Pop() => _frames[--Count];

    public readonly void Free() => NativeMemory.AlignedFree(_frames);
}
