using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.SharedMemory;

/// <summary>Finds the segments of one VRF, whether each is a memfd of its own or they share one. Disposes of what it opened.</summary>
/// <param name="find">A segment by its name in the store, or null when it isn't there (yet).</param>
/// <param name="vrf">"" for the home VRF.</param>
/// <param name="small">It has no ports: VrfFlags.Small.</param>
public sealed class VrfSegments(Func<string, SegmentKind, Segment?> find, string vrf = "", bool small = false) : IDisposable
{
    /// <summary>The tables that every VRF with ports has a segment for.</summary>
    private static readonly (string Name, SegmentKind Kind)[] s_tables =
    [
        (SegmentNames.Vrf, SegmentKind.Vrf), (SegmentNames.Interface, SegmentKind.Interface), (SegmentNames.Address, SegmentKind.Address),
        (SegmentNames.Route, SegmentKind.Route), (SegmentNames.Route6, SegmentKind.Route6), (SegmentNames.Nexthop, SegmentKind.Nexthop), (SegmentNames.Neighbour, SegmentKind.Neighbour),
        (SegmentNames.Adjacency, SegmentKind.Adjacency), (SegmentNames.Fib4, SegmentKind.Fib4), (SegmentNames.FibTrie, SegmentKind.FibTrie),
        (SegmentNames.Rule, SegmentKind.Rule),
        (SegmentNames.UseStamps, SegmentKind.UseStamps),
        (SegmentNames.Capture, SegmentKind.Capture),
    ];

    private readonly Dictionary<string, Segment> _open = [];
    private Segment? _whole;

    /// <param name="name">Without the VRF.</param>
    public Segment? TryGet(string name, SegmentKind kind)
    {
        if (_open.TryGetValue(name, out Segment? s))
        {
            return s;
        }

        string full = SegmentNames.Of(vrf, name);
        if (small)
        {
            _whole ??= find(SegmentNames.Of(vrf, SegmentNames.VrfTables), SegmentKind.VrfTables);
            s = _whole is null ? null : VrfTablesSegment.TryOpen(_whole, full, kind);
        }
        else
        {
            s = find(full, kind);
        }

        if (s is not null)
        {
            _open[name] = s;
        }

        return s;
    }

    /// <summary>What they occupy together, in bytes.</summary>
    public ulong Memory()
    {
        ulong sum = 0;
        foreach ((string name, SegmentKind kind) in s_tables)
        {
            Segment? s = TryGet(name, kind);
            sum += small ? 0 : s?.AllocatedBytes ?? 0;
        }

        return small ? _whole?.AllocatedBytes ?? 0 : sum;
    }

    public void Dispose()
    {
        foreach (Segment s in _open.Values)
        {
            s.Dispose();
        }

        _whole?.Dispose();
        _open.Clear();
        _whole = null;
    }
}
