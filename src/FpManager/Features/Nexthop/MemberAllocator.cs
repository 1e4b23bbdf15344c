namespace FastPathSync.FpManager.Features.Nexthop;

/// <summary>Hands out runs of group members: the smallest free run that is long enough; neighbours that are free grow together.</summary>
public sealed class MemberAllocator
{
    private readonly SortedSet<(int Count, int First)> _bySize = [];
    private readonly SortedSet<(int First, int Count)> _byPlace = [];

    public MemberAllocator(int capacity) => Add(0, capacity);

    /// <summary>The first member of a run, or -1.</summary>
    public int Allocate(int count)
    {
        (int Count, int First) run = _bySize.GetViewBetween((count, 0), (int.MaxValue, int.MaxValue)).Min;
        if (run.Count < count || count == 0)
        {
            return -1;
        }

        Remove(run.First, run.Count);
        Add(run.First + count, run.Count - count);
        return run.First;
    }

    public void Free(int first, int count)
    {
        (int First, int Count) before = Before(first), after = _byPlace.GetViewBetween((first, 0), (int.MaxValue, int.MaxValue)).Min;
        if (before.Count > 0 && before.First + before.Count == first)
        {
            Remove(before.First, before.Count);
            (first, count) = (before.First, before.Count + count);
        }

        if (after.Count > 0 && first + count == after.First)
        {
            Remove(after.First, after.Count);
            count += after.Count;
        }

        Add(first, count);
    }

    /// <summary>A run that was in use before a restart.</summary>
    public void Reserve(int first, int count)
    {
        (int First, int Count) free = Before(first + 1);
        if (free.Count == 0 || free.First + free.Count < first + count)
        {
            return; // damaged: two records claim it
        }

        Remove(free.First, free.Count);
        Add(free.First, first - free.First);
        Add(first + count, free.First + free.Count - first - count);
    }

    private (int First, int Count) Before(int first) => first == 0 ? default : _byPlace.GetViewBetween((0, 0), (first - 1, int.MaxValue)).Max;

    private void Add(int first, int count)
    {
        if (count > 0)
        {
            _bySize.Add((count, first));
            _byPlace.Add((first, count));
        }
    }

    private void Remove(int first, int count)
    {
        _bySize.Remove((count, first));
        _byPlace.Remove((first, count));
    }
}
