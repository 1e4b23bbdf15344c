using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FastPath.Exceptions;

/// <summary>Hands a worker's exceptions to Linux, each frame as it lies in the UMEM with its port's trailer behind, and counts them.</summary>
internal sealed unsafe class Injector(CarrierQueue queue, PortTrailers trailers) : IDisposable
{
    /// <summary>So many frames refused one after another, and the kernel is taken to have no room for the rest either.</summary>
    private const int Patience = 8;

    private readonly byte* _reasons = (byte*)NativeMemory.AlignedAlloc(PacketVector.Size, 64);

    /// <summary>Frames waiting for Flush; at most a vector's.</summary>
    public int Count => queue.Count;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Add(byte* frame, uint length, int port, byte reason)
    {
        _reasons[queue.Count] = reason;
        queue.Add(frame, length, trailers.Basic(port));
    }

    /// <summary>Sends what waits, and counts: punted by reason, or dropped PuntOverrun where the kernel took it not.</summary>
    /// <returns>A bit for each that the kernel took not, in the order in which they were added.</returns>
    public ulong Flush(PortCounters* counters)
    {
        int n = queue.Count;
        ulong refused = 0;
        int i = 0;
        for (int refusals = 0; i < n && refusals < Patience; refusals++)
        {
            int end = i + queue.Send(i);
            refusals = end > i ? 0 : refusals;
            for (; i < end; i++)
            {
                counters->Punted[_reasons[i]]++;
            }

            if (i < n)
            {
                counters->Dropped[(int)DropReason.PuntOverrun]++; // the one that was refused
                refused |= 1ul << i;
                i++;
            }
        }

        counters->Dropped[(int)DropReason.PuntOverrun] += (uint)(n - i);
        for (; i < n; i++)
        {
            refused |= 1ul << i;
        }

        queue.Clear();
        return refused;
    }

    public void Dispose()
    {
        queue.Dispose();
        NativeMemory.AlignedFree(_reasons);
    }
}
