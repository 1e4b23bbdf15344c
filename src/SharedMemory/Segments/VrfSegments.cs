using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.SharedMemory;

/// <summary>Finds the segments of one VRF, whether each is a memfd of its own or they share one. Disposes of what it opened.</summary>
/// <param name="find">A segment by its name in the store, or null when it isn't there (yet).</param>
/// <param name="vrf">"" for the home VRF.</param>
/// <param name="small">It has no ports: VrfFlags.Small.</param>
public sealed class VrfSegments(Func<string, SegmentKind, Segment?> find, string vrf = "", bool small = false) : IDisposable
{
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
