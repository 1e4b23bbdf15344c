using FastPathSync.Linux;
using FastPathSync.SharedMemory;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.Fpctl.Inspection;

/// <summary>The tables of a running instance, as one of its VRFs has them, attached read-only as they are asked for.</summary>
/// <param name="find">A segment by its name in the store, or null when its writer hasn't put it yet.</param>
/// <param name="vrf">"" for the home VRF.</param>
/// <param name="small">The VRF has no ports: see VrfFlags.Small.</param>
internal sealed unsafe class InstanceTables(Func<string, SegmentKind, Segment?> find, string vrf = "", bool small = false) : IDisposable
{
    private readonly Dictionary<string, Segment> _segments = [];
    private readonly Dictionary<string, InstanceTables> _others = [];
    private readonly VrfSegments _tables = new(find, vrf, small);
    private Dictionary<uint, InterfaceRecord>? _interfaces;

    public static InstanceTables Open(SegmentStore store) => new((name, kind) => store.TryGetSegment(name, kind, writable: false));

    /// <summary>"" for the home VRF.</summary>
    public string VrfName => vrf;

    /// <summary>All VRFs, the home VRF first. An instance whose fpmd hasn't begun has none.</summary>
    public IReadOnlyList<VrfRecord> Vrfs => Find(SegmentNames.VrfDirectory, SegmentKind.VrfDirectory) is Segment s
        ? [.. VrfDirectorySegment.Reader(s).All().Select(r => r.Value)]
        : [];

    /// <summary>The tables of another VRF of the instance, or null when it has none of that name.</summary>
    /// <param name="name">"" for the home VRF, which also has a name.</param>
    public InstanceTables? OfVrf(string name)
    {
        if (name == vrf)
        {
            return this;
        }

        if (!_others.TryGetValue(name, out InstanceTables? other))
        {
            if (name.Length == 0)
            {
                other = new InstanceTables(find);
            }
            else
            {
                int slot = Vrfs.ToList().FindIndex(r => r.Name.ToString() == name);
                if (slot < 0)
                {
                    return null;
                }

                other = slot == VrfDirectorySegment.Home ? new InstanceTables(find) : new InstanceTables(find, name, (Vrfs[slot].Flags & VrfFlags.Small) != 0);
            }

            _others[name] = other;
        }

        return other;
    }

    /// <summary>fpmd has put the tables.</summary>
    public bool HasVrf => Find(SegmentNames.Vrf, SegmentKind.Vrf) is not null;

    /// <summary>What the tables of the VRF occupy, in bytes.</summary>
    public ulong VrfMemory => _tables.Memory();

    public VrfState* Vrf => VrfSegment.State(Get(SegmentNames.Vrf, SegmentKind.Vrf));

    public RecordTableReader<DemotionRecord> Demotions =>
        new(VrfSegment.Demotions(Get(SegmentNames.Vrf, SegmentKind.Vrf)), Get(SegmentNames.Vrf, SegmentKind.Vrf).Capacity);

    /// <summary>The process that writes the configuration tables: it lives in the instance's network namespace.</summary>
    public int ManagerPid => Get(SegmentNames.Vrf, SegmentKind.Vrf).Header.WriterPid;

    public RecordTableReader<InterfaceRecord> InterfaceTable =>
        new(Get(SegmentNames.Interface, SegmentKind.Interface).Body, Get(SegmentNames.Interface, SegmentKind.Interface).Capacity);

    public RecordTableReader<AddressRecord> Addresses =>
        new(AddressSegment.Records(Get(SegmentNames.Address, SegmentKind.Address)), Get(SegmentNames.Address, SegmentKind.Address).Capacity);

    public RecordTableReader<RouteRecord> Routes => new(Get(SegmentNames.Route, SegmentKind.Route).Body, Get(SegmentNames.Route, SegmentKind.Route).Capacity);

    public RecordTableReader<RuleRecord> Rules => new(RulesSegment.Body, Capacities.Rules);

    /// <summary>The walk of the workers.</summary>
    public RuleReader RuleWalk => new(RuleSegment.Compiled(RulesSegment), Tries, Fib4Segment.Reader(Fib), NexthopSegment.Words(NexthopsSegment));

    public RecordTableReader<Route6Record> Routes6 => new(Get(SegmentNames.Route6, SegmentKind.Route6).Body, Get(SegmentNames.Route6, SegmentKind.Route6).Capacity);

    public RecordTableReader<NexthopRecord> Nexthops => new(NexthopSegment.Records(NexthopsSegment), NexthopsSegment.Capacity);

    public RecordTableReader<NeighbourRecord> Neighbours => new(NeighbourSegment.Records(NeighboursSegment), NeighboursSegment.Capacity);

    public NeighbourHash NeighbourHash => NeighbourSegment.Hash(NeighboursSegment);

    public Segment Fib => Get(SegmentNames.Fib4, SegmentKind.Fib4);

    /// <summary>IPv4 is looked up in DIR-24-8 (in a VRF with ports), not in a trie.</summary>
    public bool HasFib4 => !small;

    public FibTrieReader Tries => FibTrieSegment.Reader(Get(SegmentNames.FibTrie, SegmentKind.FibTrie));

    public FastPathState* FastPath =>
        Find(SegmentNames.FastPathState, SegmentKind.FastPathState) is Segment s ? FastPathStateSegment.State(s) : null;

    /// <summary>By PuntReason; null until fastpath has put them.</summary>
    public PuntLimit* PuntLimits => Find(SegmentNames.PuntLimits, SegmentKind.PuntLimits) is Segment s ? PuntLimitSegment.Limits(s) : null;

    /// <summary>null until fpsd has put it.</summary>
    public Segment? TimeSeries => Find(SegmentNames.TimeSeries, SegmentKind.TimeSeries);

    private Segment RulesSegment => Get(SegmentNames.Rule, SegmentKind.Rule);

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

    /// <summary>[VRF/]IF</summary>
    public string PortName(uint port)
    {
        PortState* p = Port((int)port);
        string vrf = p->Vrf.ToString();
        return p->IsFree ? $"port {port}" : vrf.Length == 0 ? p->Name.ToString() : $"{vrf}/{p->Name}";
    }

    public Segment? Worker(int id) => Find(SegmentNames.Worker(id), SegmentKind.Worker);

    /// <summary>The FIB entry that decides for an address: nexthop index and the length of the prefix it came from.</summary>
    public (int Nexthop, int Depth) FibEntry(uint address)
    {
        if (small)
        {
            FibTrieReader tries = Tries;
            int slot = tries.Find(FibFamily.Ipv4, KernelNames.TableMain);
            uint entry = slot < 0 ? 0 : tries.Lookup(slot, address);
            return (SharedMemory.Tables.FibEntry.Nexthop(entry), SharedMemory.Tables.FibEntry.Depth(entry));
        }

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
        _tables.Dispose();
        foreach (InstanceTables other in _others.Values)
        {
            other.Dispose();
        }

        _others.Clear();
    }

    /// <summary>Of the VRF's tables; the rest is the instance's.</summary>
    private static bool IsOfVrf(SegmentKind kind) =>
        kind is not (SegmentKind.VrfDirectory or SegmentKind.FastPathState or SegmentKind.PuntLimits or SegmentKind.Worker or SegmentKind.TimeSeries);

    private Segment? Find(string name, SegmentKind kind)
    {
        if (IsOfVrf(kind))
        {
            return _tables.TryGet(name, kind);
        }

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
