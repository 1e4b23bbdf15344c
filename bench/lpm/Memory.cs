using FastPathSync.Linux;
using FastPathSync.SharedMemory;

namespace FastPathSync.LpmBench;

internal static unsafe class Memory
{
    /// <summary>Bytes of memory behind a segment (st_blocks).</summary>
    public static long Resident(Segment s)
    {
        byte* stat = stackalloc byte[144];
        return Libc.fstat(s.File.Number, stat) == 0 ? *(long*)(stat + 64) * 512 : 0;
    }
}
