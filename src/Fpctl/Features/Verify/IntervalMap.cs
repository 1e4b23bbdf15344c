namespace FastPathSync.Fpctl.Features.Verify;

/// <summary>
/// Longest prefix match as sorted intervals that cover all IPv4 addresses: made in a way that has nothing in common with the
/// FIB it judges.
/// </summary>
internal sealed class IntervalMap
{
    private readonly List<uint> _starts = [];
    private readonly List<int> _values = [];

    private IntervalMap()
    {
    }

    /// <param name="prefixes">Each prefix once, in any order; the key is Key(address, length).</param>
    /// <param name="outside">The value of addresses that no prefix covers.</param>
    /// <param name="inherit">Turns a negative value of a prefix into one, given the value around it.</param>
    public static IntervalMap Build(IEnumerable<KeyValuePair<ulong, int>> prefixes, int outside, Func<int, int, int>? inherit = null)
    {
        KeyValuePair<ulong, int>[] input = [.. prefixes];
        ulong[] keys = [.. input.Select(p => p.Key)];
        int[] values = [.. input.Select(p => p.Value)];
        Array.Sort(keys, values); // by address, shorter first: a prefix comes right before what it contains
        IntervalMap map = new();
        map.Append(0, outside);
        Stack<(uint Last, int Value)> open = new();
        open.Push((uint.MaxValue, outside));
        for (int i = 0; i < keys.Length; i++)
        {
            uint start = (uint)(keys[i] >> 8);
            int length = (int)(keys[i] & 0xff);
            uint last = start | (length == 0 ? uint.MaxValue : length == 32 ? 0 : uint.MaxValue >> length);
            map.CloseBefore(open, start);
            int value = values[i] >= 0 || inherit is null ? values[i] : inherit(values[i], open.Peek().Value);
            map.Append(start, value);
            open.Push((last, value));
        }

        map.CloseBefore(open, null);
        return map;
    }

    public static ulong Key(uint address, int length) => ((ulong)address << 8) | (uint)length;

    public int Count => _starts.Count;

    public (uint First, uint Last, int Value) this[int i] =>
        (_starts[i], i + 1 < _starts.Count ? _starts[i + 1] - 1 : uint.MaxValue, _values[i]);

    public int Lookup(uint address)
    {
        int i = _starts.BinarySearch(address);
        return _values[i >= 0 ? i : ~i - 1];
    }

    /// <summary>Ends the prefixes that end before an address (null: all), each handing back to the one around it.</summary>
    private void CloseBefore(Stack<(uint Last, int Value)> open, uint? start)
    {
        while (open.Count > 1 && (start is not uint s || open.Peek().Last < s))
        {
            uint last = open.Pop().Last;
            if (last != uint.MaxValue)
            {
                Append(last + 1, open.Peek().Value);
            }
        }
    }

    private void Append(uint start, int value)
    {
        if (_starts.Count > 0 && _starts[^1] == start)
        {
            _values[^1] = value; // nothing was left of the interval before
            if (_values.Count > 1 && _values[^2] == value)
            {
                _starts.RemoveAt(_starts.Count - 1);
                _values.RemoveAt(_values.Count - 1);
            }
        }
        else if (_values.Count == 0 || _values[^1] != value)
        {
            _starts.Add(start);
            _values.Add(value);
        }
    }
}
