namespace FastPathSync.Fpctl.Features.Verify;

/// <summary>
/// Longest prefix match as sorted intervals that cover all IPv6 addresses: made in a way that has nothing in common with the
/// tries it judges.
/// </summary>
internal sealed class IntervalMap6
{
    private readonly List<(UInt128 Start, int Value)> _intervals = [];

    private IntervalMap6()
    {
    }

    /// <param name="prefixes">Each prefix once, in any order.</param>
    /// <param name="outside">The value of addresses that no prefix covers.</param>
    /// <param name="inherit">Turns a negative value of a prefix into one, given the value around it.</param>
    public static IntervalMap6 Build(IEnumerable<(UInt128 Start, int Length, int Value)> prefixes, int outside, Func<int, int> inherit)
    {
        (UInt128 Start, int Length, int Value)[] sorted = [.. prefixes];
        Array.Sort(sorted, (a, b) => a.Start != b.Start ? a.Start.CompareTo(b.Start) : a.Length.CompareTo(b.Length)); // a prefix comes right before what it contains
        IntervalMap6 map = new();
        map.Append(0, outside);
        Stack<(UInt128 Last, int Value)> open = new();
        open.Push((UInt128.MaxValue, outside));
        foreach ((UInt128 start, int length, int value) in sorted)
        {
            map.CloseBefore(open, start);
            int v = value >= 0 ? value : inherit(open.Peek().Value);
            map.Append(start, v);
            open.Push((length == 0 ? UInt128.MaxValue : start | ~(UInt128.MaxValue << (128 - length)), v));
        }

        map.CloseBefore(open, null);
        return map;
    }

    public int Count => _intervals.Count;

    /// <summary>Neighbours differ in their value, or begin where a prefix does.</summary>
    public (UInt128 First, UInt128 Last, int Value) this[int i] =>
        (_intervals[i].Start, i + 1 < _intervals.Count ? _intervals[i + 1].Start - 1 : UInt128.MaxValue, _intervals[i].Value);

    /// <summary>Ends the prefixes that end before an address (null: all), each handing back to the one around it.</summary>
    private void CloseBefore(Stack<(UInt128 Last, int Value)> open, UInt128? start)
    {
        while (open.Count > 1 && (start is not UInt128 s || open.Peek().Last < s))
        {
            UInt128 last = open.Pop().Last;
            if (last != UInt128.MaxValue)
            {
                Append(last + 1, open.Peek().Value);
            }
        }
    }

    private void Append(UInt128 start, int value)
    {
        if (_intervals.Count > 0 && _intervals[^1].Start == start)
        {
            _intervals[^1] = (start, value); // nothing was left of the interval before
        }
        else
        {
            _intervals.Add((start, value)); // even when the value is the same: each edge is looked at
        }
    }
}
