using FastPathSync.Linux;
using FastPathSync.SharedMemory;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.Fpctl.Inspection;

/// <summary>The tables of a running instance, attached read-only as they are asked for.</summary>
/// <param name="find">A segment by its name in the store, or null when its writer hasn't put it yet.</param>
internal sealed unsafe class InstanceTables(Func<string, SegmentKind, Segment?> find) : IDisposable
{
    private readonly Dictionary<string, Segment> _segments = [];
    private Dictionary<uint, InterfaceRecord>? _interfaces;

    public static InstanceTables Open(SegmentStore store) => new((name, kind) => store.TryGetSegment(name, kind, writable: false));

    public VrfState* Vrf => VrfSegment.State(Get(SegmentNames.Vrf, SegmentKind.Vrf));

    public RecordTableReader<DemotionRecord> Demotions =>
        new(VrfSegment.Demotions(Get(SegmentNames.Vrf, SegmentKind.Vrf)), Capacities.Demotions);

    /// <summary>The process that writes the configuration tables: it lives in the instance's network namespace.</summary>
    public int ManagerPid => Get(SegmentNames.Vrf, SegmentKind.Vrf).Header.WriterPid;

    public RecordTableReader<InterfaceRecord> InterfaceTable =>
        new(Get(SegmentNames.Interface, SegmentKind.Interface).Body, Capacities.Interfaces);

    public RecordTableReader<AddressRecord> Addresses =>
        new(AddressSegment.Records(Get(SegmentNames.Address, SegmentKind.Address)), Capacities.Addresses);

    public RecordTableReader<RouteRecord> Routes => new(Get(SegmentNames.Route, SegmentKind.Route).Body, Capacities.Routes);

    public RecordTableReader<Route6Record> Routes6 => new(Get(SegmentNames.Route6, SegmentKind.Route6).Body, Capacities.Routes6);

    public RecordTableReader<NexthopRecord> Nexthops => new(NexthopSegment.Records(NexthopsSegment), Capacities.Nexthops);

    public RecordTableReader<NeighbourRecord> Neighbours => new(NeighbourSegment.Records(NeighboursSegment), Capacities.Neighbours);

    public NeighbourHash NeighbourHash => NeighbourSegment.Hash(NeighboursSegment);

    public Segment Fib => Get(SegmentNames.Fib4, SegmentKind.Fib4);

    public FibTrieReader Tries => FibTrieSegment.Reader(Get(SegmentNames.FibTrie, SegmentKind.FibTrie));

    public FastPathState* FastPath =>
        Find(SegmentNames.FastPathState, SegmentKind.FastPathState) is Segment s ? FastPathStateSegment.State(s) : null;

    /// <summary>null until fpsd has put it.</summary>
    public Segment? TimeSeries => Find(SegmentNames.TimeSeries, SegmentKind.TimeSeries);

    private Segment NexthopsSegment => Get(SegmentNames.Nexthop, SegmentKind.Nexthop);

    private Segment NeighboursSegment => Get(SegmentNames.Neighbour, SegmentKind.Neighbour);

    /// <summary>The interfaces by ifindex, as they stood when first asked for (or at the last Refresh).</summary>
    public IReadOnlyDictionary<uint, InterfaceRecord> Interfaces
    {
        get
        {
            if (_interfaces is null)
            {
                _interfaces = [];
                foreach ((_, InterfaceRecord i) in InterfaceTable.All())
                {
                    _interfaces[i.IfIndex] = i;
                }
            }

            return _interfaces;
        }
    }

    public void Refresh() => _interfaces = null;

    public string InterfaceName(uint ifindex) =>
        Interfaces.TryGetValue(ifindex, out InterfaceRecord i) ? i.Name.ToString() : $"if{ifindex}";

    /// <summary>The interface of that name, or null.</summary>
    public InterfaceRecord? InterfaceByName(string name)
    {
        foreach (InterfaceRecord i in Interfaces.Values)
        {
            if (i.Name.ToString() == name)
            {
                return i;
            }
        }

        return null;
    }

    public NexthopWord Word(int nexthop) => new(Volatile.Read(ref NexthopSegment.Words(NexthopsSegment)[nexthop]));

    public GroupMember Member(int index) => NexthopSegment.Members(NexthopsSegment)[index];

    public Adjacency Adjacency(int index) =>
        AdjacencySegment.Table(Get(SegmentNames.Adjacency, SegmentKind.Adjacency))[index];

    /// <summary>The second (CLOCK_MONOTONIC) in which a worker last used the neighbour in this slot; 0 never.</summary>
    public uint UseStamp(int slot) =>
        Find(SegmentNames.UseStamps, SegmentKind.UseStamps) is Segment s ? Volatile.Read(ref UseStampSegment.Stamps(s)[slot]) : 0;

    public PortState* Port(int port) =>
        FastPathStateSegment.Port(Get(SegmentNames.FastPathState, SegmentKind.FastPathState), port);

    public Segment? Worker(int id) => Find(SegmentNames.Worker(id), SegmentKind.Worker);

    /// <summary>The FIB entry that decides for an address: nexthop index and the length of the prefix it came from.</summary>
    public (int Nexthop, int Depth) FibEntry(uint address)
    {
        Fib4Reader fib = Fib4Segment.Reader(Fib);
        uint e = Volatile.Read(ref fib.Table24[address >> 8]);
        if ((e & Fib4Reader.GroupFlag) != 0)
        {
            e = Volatile.Read(ref fib.Groups[((e & Fib4Reader.IndexMask) << 8) | (address & 0xff)]);
        }

        return ((int)(e & Fib4Reader.IndexMask), (int)(e >> Fib4Reader.DepthShift) & 0x3f);
    }

    /// <summary>
    /// A private copy of the FIB's 2^24 first-level entries. Read by pread, since touching a hole of a memfd through its
    /// mapping would make it cost memory for good.
    /// </summary>
    public uint[] CopyFirstLevel()
    {
        uint[] table = new uint[1 << 24];
        fixed (uint* p = table)
        {
            nuint done = 0, length = (nuint)table.Length * 4;
            while (done < length)
            {
                nint n = LinuxException.ThrowIfNegative(
                    Libc.pread(Fib.File.Number, (byte*)p + done, length - done, SegmentHeader.Size + (long)done), "pread", Fib.Name);
                if (n == 0)
                {
                    throw new SegmentException(Fib.Name, "ends before its table");
                }

                done += (nuint)n;
            }
        }

        return table;
    }

    public void Dispose()
    {
        foreach (Segment s in _segments.Values)
        {
            s.Dispose();
        }

        _segments.Clear();
    }

    private Segment? Find(string name, SegmentKind kind)
    {
        if (!_segments.TryGetValue(name, out Segment? s))
        {
            s = find(name, kind);
            if (s is not null)
            {
                _segments[name] = s;
            }
        }

        return s;
    }

    private Segment Get(string name, SegmentKind kind) => Find(name, kind)
        ?? throw new SegmentException(name, "not published yet; see 'fpctl status' for the daemon that should have");
}
