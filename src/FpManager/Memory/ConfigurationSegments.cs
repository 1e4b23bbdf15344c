using FastPathSync.SharedMemory;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FpManager.Memory;

/// <summary>
/// The segments of one VRF that fpmd writes: found in the segment store after a restart, made and put there otherwise. A VRF
/// with ports has a memfd for each table; one without has all of them in one.
/// </summary>
public sealed class ConfigurationSegments : IDisposable
{
    private const int CollapsesAtOnce = 4;
    private readonly Dictionary<SegmentKind, Segment> _tables = [];
    private readonly List<Segment> _stored = [];
    private HugePages[]? _hugePages;

    private ConfigurationSegments(string vrf, VrfSizes sizes, Func<string, SegmentKind, int, nuint, Segment> open)
    {
        foreach ((string name, SegmentKind kind, int capacity, nuint body) in Parts(sizes))
        {
            _tables[kind] = open(SegmentNames.Of(vrf, name), kind, capacity, body);
        }
    }

    public Segment Vrf => _tables[SegmentKind.Vrf];

    public Segment Interface => _tables[SegmentKind.Interface];

    public Segment Address => _tables[SegmentKind.Address];

    public Segment Route => _tables[SegmentKind.Route];

    public Segment Route6 => _tables[SegmentKind.Route6];

    public Segment Nexthop => _tables[SegmentKind.Nexthop];

    public Segment Neighbour => _tables[SegmentKind.Neighbour];

    public Segment Adjacency => _tables[SegmentKind.Adjacency];

    public Segment UseStamps => _tables[SegmentKind.UseStamps];

    public Segment FibTrie => _tables[SegmentKind.FibTrie];

    public Segment Rule => _tables[SegmentKind.Rule];

    /// <summary>Of a VRF with ports only.</summary>
    public Segment Capture => _tables[SegmentKind.Capture];

    public bool HasCaptures => _tables.ContainsKey(SegmentKind.Capture);

    /// <summary>Of a VRF with ports only (see HasFib4).</summary>
    public Segment Fib4 => _tables[SegmentKind.Fib4];

    public bool HasFib4 => _tables.ContainsKey(SegmentKind.Fib4);

    /// <summary>True when the tables of an earlier fpmd were found.</summary>
    public bool Reattached { get; private set; }

    /// <summary>New ones for a VRF with ports, put into the store in place of what stands there under the VRF's name.</summary>
    public static ConfigurationSegments Create(SegmentStore store, string vrf, VrfSizes sizes)
    {
        ConfigurationSegments s = new(vrf, sizes, (name, kind, capacity, body) => Segment.Create(name, kind, (ulong)capacity, body));
        s._stored.AddRange(s._tables.Values);
        s._stored.ForEach(store.PutSegment);
        return s;
    }

    /// <summary>Those of an earlier fpmd, as far as there are any, for a VRF with ports.</summary>
    /// <param name="vrf">"" for the home VRF.</param>
    /// <param name="sizes">Of what is made.</param>
    public static ConfigurationSegments AttachOrCreate(SegmentStore store, string vrf, VrfSizes sizes)
    {
        bool reattached = false;
        List<Segment> made = [];
        ConfigurationSegments s = new(vrf, sizes, (name, kind, capacity, body) =>
        {
            if (store.TryGetSegment(name, kind, writable: true) is Segment found)
            {
                reattached = true;
                return found;
            }

            Segment fresh = Segment.Create(name, kind, (ulong)capacity, body);
            made.Add(fresh);
            return fresh;
        });
        made.ForEach(store.PutSegment);
        s._stored.AddRange(s._tables.Values);
        s.Reattached = reattached;
        return s;
    }

    /// <summary>Segments of this process only, for tests and tools.</summary>
    public static ConfigurationSegments CreatePrivate(VrfSizes? sizes = null)
    {
        ConfigurationSegments s = new("", sizes ?? VrfSizes.Full, (name, kind, capacity, body) => Segment.Create(name, kind, (ulong)capacity, body));
        s._stored.AddRange(s._tables.Values);
        return s;
    }

    /// <summary>All tables in one new memfd, put into the store in place of what stands there under the VRF's name.</summary>
    public static ConfigurationSegments CreateSmall(SegmentStore store, string vrf, VrfSizes sizes)
    {
        Segment whole = VrfTablesSegment.Create(vrf, Parts(sizes));
        store.PutSegment(whole);
        return Small(whole, vrf, sizes);
    }

    /// <summary>The small tables of an earlier fpmd, or null.</summary>
    public static ConfigurationSegments? TryAttachSmall(SegmentStore store, string vrf)
    {
        if (store.TryGetSegment(SegmentNames.Of(vrf, SegmentNames.VrfTables), SegmentKind.VrfTables, writable: true) is not Segment whole)
        {
            return null;
        }

        ConfigurationSegments s = Small(whole, vrf, VrfSizes.Small);
        s.Reattached = true;
        return s;
    }

    /// <summary>How large they are.</summary>
    public VrfSizes Sizes => new(
        Vrf.Capacity, Interface.Capacity, Address.Capacity, Route.Capacity, Route6.Capacity, Nexthop.Capacity, Neighbour.Capacity, Adjacency.Capacity,
        FibTrie.Capacity, HasFib4 ? Fib4.Capacity : 0);

    public void Beat()
    {
        foreach (Segment s in _stored)
        {
            s.Beat();
        }
    }

    /// <summary>Gives what workers read by every packet huge pages where it is full enough. Cheap while nothing grows.</summary>
    public void UseHugePages()
    {
        foreach (HugePages pages in _hugePages ??= HasFib4 ? [.. new[] { Fib4, FibTrie, Nexthop, Adjacency, Neighbour }.Select(s => new HugePages(s))] : [])
        {
            pages.Collapse(CollapsesAtOnce);
        }
    }

    public void KeepIn(SegmentStore store)
    {
        foreach (Segment s in _stored)
        {
            store.KeepSegment(s);
        }
    }

    /// <summary>Takes them out of the store; the memory goes when everybody has unmapped it.</summary>
    public void DropFrom(SegmentStore store)
    {
        foreach (Segment s in _stored)
        {
            store.DropSegment(s.Name);
        }
    }

    public void Dispose()
    {
        _stored.ForEach(s => s.Dispose());
    }

    /// <summary>What there is in a VRF: one line for each table.</summary>
    private static List<(string Name, SegmentKind Kind, int Capacity, nuint Body)> Parts(VrfSizes s)
    {
        List<(string, SegmentKind, int, nuint)> parts =
        [
            (SegmentNames.Vrf, SegmentKind.Vrf, s.Demotions, VrfSegment.BodyLengthFor(s.Demotions)),
            (SegmentNames.Interface, SegmentKind.Interface, s.Interfaces, RecordTable.BytesFor<InterfaceRecord>(s.Interfaces)),
            (SegmentNames.Address, SegmentKind.Address, s.Addresses, AddressSegment.BodyLengthFor(s.Addresses)),
            (SegmentNames.Route, SegmentKind.Route, s.Routes, RecordTable.BytesFor<RouteRecord>(s.Routes)),
            (SegmentNames.Route6, SegmentKind.Route6, s.Routes6, RecordTable.BytesFor<Route6Record>(s.Routes6)),
            (SegmentNames.Nexthop, SegmentKind.Nexthop, s.Nexthops, NexthopSegment.BodyLengthFor(s.Nexthops)),
            (SegmentNames.Neighbour, SegmentKind.Neighbour, s.Neighbours, NeighbourSegment.BodyLengthFor(s.Neighbours)),
            (SegmentNames.Adjacency, SegmentKind.Adjacency, s.Adjacencies, AdjacencySegment.BodyLengthFor(s.Adjacencies)),
            (SegmentNames.UseStamps, SegmentKind.UseStamps, s.Neighbours, UseStampSegment.BodyLengthFor(s.Neighbours)),
            (SegmentNames.Rule, SegmentKind.Rule, Capacities.Rules, RuleSegment.BodyLength),
            (SegmentNames.FibTrie, SegmentKind.FibTrie, s.FibTrieUnits, FibTrieSegment.BodyLength(s.FibTrieUnits)),
        ];
        if (s.Fib4Groups > 0)
        {
            parts.Add((SegmentNames.Fib4, SegmentKind.Fib4, s.Fib4Groups, Fib4Segment.BodyLength));
            parts.Add((SegmentNames.Capture, SegmentKind.Capture, CaptureSegment.Sockets, CaptureSegment.BodyLength));
        }

        return parts;
    }

    private static ConfigurationSegments Small(Segment whole, string vrf, VrfSizes sizes)
    {
        ConfigurationSegments s = new(vrf, sizes, (name, kind, _, _) =>
            VrfTablesSegment.TryOpen(whole, name, kind) ?? throw new SegmentException(name, "is missing; stop the instance and start it again (fpctl stop; fpctl start ...)"));
        s._stored.Add(whole);
        return s;
    }
}
