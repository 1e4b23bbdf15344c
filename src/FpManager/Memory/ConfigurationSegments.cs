using FastPathSync.SharedMemory;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FpManager.Memory;

/// <summary>The segments that fpmd writes: found in the segment store after a restart, made and put there otherwise.</summary>
public sealed class ConfigurationSegments
{
    private const int CollapsesAtOnce = 4;

    private readonly List<Segment> _all = [];
    private HugePages[]? _hugePages;

    private ConfigurationSegments(Func<string, SegmentKind, ulong, nuint, Segment> open)
    {
        Segment Open(string name, SegmentKind kind, ulong capacity, nuint body)
        {
            Segment s = open(name, kind, capacity, body);
            _all.Add(s);
            return s;
        }

        Vrf = Open(SegmentNames.Vrf, SegmentKind.Vrf, 1, VrfSegment.BodyLength);
        Interface = Open(SegmentNames.Interface, SegmentKind.Interface, Capacities.Interfaces, RecordTable.BytesFor<InterfaceRecord>(Capacities.Interfaces));
        Address = Open(SegmentNames.Address, SegmentKind.Address, Capacities.Addresses, AddressSegment.BodyLength);
        Route = Open(SegmentNames.Route, SegmentKind.Route, Capacities.Routes, RecordTable.BytesFor<RouteRecord>(Capacities.Routes));
        Route6 = Open(SegmentNames.Route6, SegmentKind.Route6, Capacities.Routes6, RecordTable.BytesFor<Route6Record>(Capacities.Routes6));
        Nexthop = Open(SegmentNames.Nexthop, SegmentKind.Nexthop, Capacities.Nexthops, NexthopSegment.BodyLength);
        Neighbour = Open(SegmentNames.Neighbour, SegmentKind.Neighbour, Capacities.Neighbours, NeighbourSegment.BodyLength);
        Adjacency = Open(SegmentNames.Adjacency, SegmentKind.Adjacency, Capacities.Adjacencies, AdjacencySegment.BodyLength);
        Fib4 = Open(SegmentNames.Fib4, SegmentKind.Fib4, Capacities.Fib4Groups, Fib4Segment.BodyLength);
        FibTrie = Open(SegmentNames.FibTrie, SegmentKind.FibTrie, Capacities.FibTrieUnits, FibTrieSegment.BodyLength(Capacities.FibTrieUnits));
        UseStamps = Open(SegmentNames.UseStamps, SegmentKind.UseStamps, Capacities.Neighbours, UseStampSegment.BodyLength);
    }

    public Segment Vrf { get; }

    public Segment Interface { get; }

    public Segment Address { get; }

    public Segment Route { get; }

    public Segment Route6 { get; }

    public Segment Nexthop { get; }

    public Segment Neighbour { get; }

    public Segment Adjacency { get; }

    public Segment Fib4 { get; }

    public Segment FibTrie { get; }

    public Segment UseStamps { get; }

    public IReadOnlyList<Segment> All => _all;

    /// <summary>True when the tables of an earlier fpmd were found.</summary>
    public bool Reattached { get; private set; }

    public static ConfigurationSegments AttachOrCreate(SegmentStore store)
    {
        bool reattached = false;
        ConfigurationSegments s = new((name, kind, capacity, body) =>
        {
            if (store.TryGetSegment(name, kind, writable: true) is Segment found)
            {
                reattached = true;
                return found;
            }

            Segment made = Segment.Create(name, kind, capacity, body);
            store.PutSegment(made);
            return made;
        });
        s.Reattached = reattached;
        return s;
    }

    /// <summary>Segments of this process only, for tests and tools.</summary>
    public static ConfigurationSegments CreatePrivate() => new(Segment.Create);

    public void Beat()
    {
        foreach (Segment s in _all)
        {
            s.Beat();
        }
    }

    /// <summary>Gives what workers read by every packet huge pages where it is full enough. Cheap while nothing grows.</summary>
    public void UseHugePages()
    {
        foreach (HugePages pages in _hugePages ??= [.. new[] { Fib4, FibTrie, Nexthop, Adjacency, Neighbour }.Select(s => new HugePages(s))])
        {
            pages.Collapse(CollapsesAtOnce);
        }
    }

    public void KeepIn(SegmentStore store)
    {
        foreach (Segment s in _all)
        {
            store.KeepSegment(s);
        }
    }
}
