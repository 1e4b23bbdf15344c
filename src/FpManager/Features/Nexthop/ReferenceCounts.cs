namespace FastPathSync.FpManager.Features.Nexthop;

/// <summary>How many refer to each nexthop, by index. Grows with the indexes in use, not with the table.</summary>
internal sealed class ReferenceCounts(int capacity)
{
    private int[] _counts = [];

    public ref int this[int nexthop]
    {
        get
        {
            if (nexthop >= _counts.Length)
            {
                Array.Resize(ref _counts, Math.Clamp(Math.Max(nexthop + 1, _counts.Length * 2), 32, Math.Max(32, capacity)));
            }

            return ref _counts[nexthop];
        }
    }
}
