using FastPathSync.SharedMemory;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FastPath.Control;

/// <summary>fpmd's segments of one VRF, attached.</summary>
internal sealed unsafe class VrfTableSet : IDisposable
{
    private readonly List<Segment> _all = [];

    /// <param name="get">Waits for a segment, by its full name.</param>
    /// <param name="vrf">"" for the home VRF.</param>
    /// <param name="epoch">VrfRecord.Epoch of these segments; 0 for the home VRF, whose tables are never exchanged.</param>
    public VrfTableSet(Func<string, SegmentKind, bool, Segment> get, string vrf, ulong epoch)
    {
        Epoch = epoch;
        try
        {
            Vrf = Foreign(SegmentNames.Vrf, SegmentKind.Vrf);
            Interface = Foreign(SegmentNames.Interface, SegmentKind.Interface);
            Address = Foreign(SegmentNames.Address, SegmentKind.Address);
            _ = Foreign(SegmentNames.Route, SegmentKind.Route); // only to be kept, as the next one: see Segments.Keep
            _ = Foreign(SegmentNames.Route6, SegmentKind.Route6);
            Nexthop = Foreign(SegmentNames.Nexthop, SegmentKind.Nexthop);
            Neighbour = Foreign(SegmentNames.Neighbour, SegmentKind.Neighbour);
            Adjacency = Foreign(SegmentNames.Adjacency, SegmentKind.Adjacency);
            Fib4 = Foreign(SegmentNames.Fib4, SegmentKind.Fib4);
            FibTrie = Foreign(SegmentNames.FibTrie, SegmentKind.FibTrie);
            Rule = Foreign(SegmentNames.Rule, SegmentKind.Rule);
            Capture = Foreign(SegmentNames.Capture, SegmentKind.Capture);
            UseStamps = Foreign(SegmentNames.UseStamps, SegmentKind.UseStamps, writable: true);
        }
        catch
        {
            Dispose();
            throw;
        }

        Segment Foreign(string name, SegmentKind kind, bool writable = false)
        {
            Segment s = get(SegmentNames.Of(vrf, name), kind, writable);
            _all.Add(s);
            return s;
        }
    }

    public ulong Epoch { get; }

    public Segment Vrf { get; }

    public Segment Interface { get; }

    public Segment Address { get; }

    public Segment Nexthop { get; }

    public Segment Neighbour { get; }

    public Segment Adjacency { get; }

    public Segment Fib4 { get; }

    public Segment FibTrie { get; }

    public Segment Rule { get; }

    public Segment Capture { get; }

    public Segment UseStamps { get; }

    public VrfState* State => VrfSegment.State(Vrf);

    public IReadOnlyList<Segment> All => _all;

    public void Dispose() => _all.ForEach(s => s.Dispose());
}
