using FastPathSync.Linux;

namespace FastPathSync.SharedMemory;

/// <summary>
/// Huge pages for the parts of a segment that are worth them. A sparse table must stay sparse (a huge page for one route
/// would cost 2 MB), so nothing is asked for beforehand: each 2 MB of the segment become a huge page once most of their
/// small pages are in use. MADV_COLLAPSE does so at once and for all who map the segment, and also where
/// /sys/kernel/mm/transparent_hugepage/shmem_enabled is "never", the kernel's default.
/// </summary>
/// <remarks>
/// Kernels before 6.1 have no MADV_COLLAPSE (EINVAL): the pages stay small, which costs speed and nothing else. Who reads
/// these 2 MB meanwhile waits for some milliseconds, once.
/// </remarks>
public sealed unsafe class HugePages(Segment segment)
{
    private const int SmallPage = 4096, PagesInHuge = (int)(MemoryMapping.HugePage / SmallPage), WorthIt = PagesInHuge * 3 / 4;
    private const long LookAgainAfter = 1 << 20;

    private readonly bool[] _done = new bool[segment.Mapping.Length / MemoryMapping.HugePage];
    private long _residentWhenLooked;

    /// <summary>Huge pages made so far.</summary>
    public int Count { get; private set; }

    /// <summary>Makes so many huge pages at most. Does not look closely before the segment has grown by a megabyte.</summary>
    public void Collapse(int most)
    {
        long resident = segment.ResidentBytes;
        if (resident - _residentWhenLooked < LookAgainAfter)
        {
            return;
        }

        byte* pages = stackalloc byte[PagesInHuge];
        for (int i = 0; i < _done.Length; i++)
        {
            byte* at = segment.Mapping.Address + ((nuint)i * MemoryMapping.HugePage);
            if (_done[i] || Libc.mincore(at, MemoryMapping.HugePage, pages) != 0 || InUse(pages) < WorthIt)
            {
                continue;
            }

            if (most-- == 0)
            {
                return; // and the rest next time
            }

            _done[i] = true; // also when the kernel declines: it would again
            Count += Libc.madvise(at, MemoryMapping.HugePage, Libc.MADV_COLLAPSE) == 0 ? 1 : 0;
        }

        _residentWhenLooked = resident;
    }

    private static int InUse(byte* pages)
    {
        int n = 0;
        for (int i = 0; i < PagesInHuge; i++)
        {
            n += pages[i] & 1;
        }

        return n;
    }
}
