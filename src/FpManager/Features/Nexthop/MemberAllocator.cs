namespace FastPathSync.FpManager.Features.Nexthop;

/// <summary>Hands out runs of group members. A run is given back whole and reused for groups of the same size.</summary>
public sealed class MemberAllocator(int capacity)
{
    private readonly Dictionary<int, Stack<int>> _free = [];
    private int _highWater;

    /// <summary>The first member of a run, or -1.</summary>
    public int Allocate(int count)
    {
        if (_free.TryGetValue(count, out Stack<int>? s) && s.TryPop(out int first))
        {
            return first;
        }

        if (_highWater + count > capacity)
        {
            return -1;
        }

        first = _highWater;
        _highWater += count;
        return first;
    }

    public void Free(int first, int count)
    {
        if (!_free.TryGetValue(count, out Stack<int>? s))
        {
            _free[count] = s = new Stack<int>();
        }

        s.Push(first);
    }

    /// <summary>A run that was in use before a restart.</summary>
    public void Reserve(int first, int count) => _highWater = Math.Max(_highWater, first + count);
}
