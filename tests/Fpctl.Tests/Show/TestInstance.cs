using FastPathSync.Fpctl.Features.Route;
using FastPathSync.Fpctl.Inspection;
using FastPathSync.FpManager.Features.Route;
using FastPathSync.FpManager.Memory;
using FastPathSync.SharedMemory;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.Fpctl.Tests;

/// <summary>
/// The segments of an instance in private memory. r0 (ifindex 10, port 0, 10.1.0.1/24) and r1 (ifindex 11, port 1,
/// 10.2.0.1/24) are there; the FIB is filled by the definition of longest prefix match.
/// </summary>
internal sealed unsafe class TestInstance : IDisposable
{
    public const uint R0 = 10, R1 = 11, Lo = 1;

    private readonly Dictionary<string, Segment> _segments = [];
    private readonly List<(uint Destination, int Length, int Nexthop)> _fib = [];
    private int _adjacencies;
    private int _members;
    private uint _groups;

    public TestInstance()
    {
        Add(SegmentNames.Vrf, SegmentKind.Vrf, VrfSegment.BodyLength);
        Add(SegmentNames.VrfDirectory, SegmentKind.VrfDirectory, VrfDirectorySegment.BodyLength);
        RecordTableWriter<VrfRecord> vrfs = new(this[SegmentNames.VrfDirectory].Body, this[SegmentNames.VrfDirectory].Capacity);
        vrfs.Write(vrfs.Allocate(), new VrfRecord { Name = Text256.From("blue"), Ports = 2 });
        Add(SegmentNames.Interface, SegmentKind.Interface, RecordTable.BytesFor<InterfaceRecord>(Capacities.Interfaces));
        Add(SegmentNames.Address, SegmentKind.Address, AddressSegment.BodyLength);
        Add(SegmentNames.Route, SegmentKind.Route, RecordTable.BytesFor<RouteRecord>(Capacities.Routes));
        Add(SegmentNames.Route6, SegmentKind.Route6, RecordTable.BytesFor<Route6Record>(Capacities.Routes6));
        Add(SegmentNames.Nexthop, SegmentKind.Nexthop, NexthopSegment.BodyLength);
        Add(SegmentNames.Neighbour, SegmentKind.Neighbour, NeighbourSegment.BodyLength);
        Add(SegmentNames.Adjacency, SegmentKind.Adjacency, AdjacencySegment.BodyLength);
        Add(SegmentNames.Fib4, SegmentKind.Fib4, Fib4Segment.BodyLength);
        Add(SegmentNames.Rule, SegmentKind.Rule, RuleSegment.BodyLength);
        Add(SegmentNames.Capture, SegmentKind.Capture, CaptureSegment.BodyLength);
        Add(SegmentNames.FibTrie, SegmentKind.FibTrie, FibTrieSegment.BodyLength(Capacities.FibTrieUnits));
        Add(SegmentNames.UseStamps, SegmentKind.UseStamps, UseStampSegment.BodyLength);
        Add(SegmentNames.FastPathState, SegmentKind.FastPathState, FastPathStateSegment.BodyLength);
        Interfaces = new(this[SegmentNames.Interface].Body, Capacities.Interfaces);
        Addresses = new(AddressSegment.Records(this[SegmentNames.Address]), Capacities.Addresses);
        Routes = new(this[SegmentNames.Route].Body, Capacities.Routes);
        Nexthops = new(NexthopSegment.Records(this[SegmentNames.Nexthop]), Capacities.Nexthops);
        Routes6 = new(this[SegmentNames.Route6].Body, Capacities.Routes6);
        Tries = new FibTrieWriter(this[SegmentNames.FibTrie], new Reclaimer(new NoWorkers()));
        Neighbours = new(NeighbourSegment.Records(this[SegmentNames.Neighbour]), Capacities.Neighbours);
        Tables = new InstanceTables((name, _) => _segments.GetValueOrDefault(name));
        Nexthop(new NexthopRecord { Kind = NexthopKind.Punt, Reason = PuntReason.NoRoute }, NexthopWord.Punt(PuntReason.NoRoute));
        Interface(Lo, "lo", InterfaceRecord.NoPort, 65536);
        Interface(R0, "r0", 0);
        Interface(R1, "r1", 1);
        Port(0, "r0", R0);
        Port(1, "r1", R1);
        FastPath->PortCount = 2;
    }

    public RecordTableWriter<InterfaceRecord> Interfaces { get; }

    public RecordTableWriter<AddressRecord> Addresses { get; }

    public RecordTableWriter<RouteRecord> Routes { get; }

    public RecordTableWriter<Route6Record> Routes6 { get; }

    public FibTrieWriter Tries { get; }

    public RecordTableWriter<NexthopRecord> Nexthops { get; }

    public RecordTableWriter<NeighbourRecord> Neighbours { get; }

    public InstanceTables Tables { get; }

    public VrfState* Vrf => VrfSegment.State(this[SegmentNames.Vrf]);

    public FastPathState* FastPath => FastPathStateSegment.State(this[SegmentNames.FastPathState]);

    public Segment this[string name] => _segments[name];

    public static uint Ip(string text)
    {
        Assert.True(Ipv4Text.TryParse(text, out uint a), text);
        return a;
    }

    public static IpAddress Any(string text) => IpAddress.FromBytes(System.Net.IPAddress.Parse(text).GetAddressBytes());

    public Segment Add(string name, SegmentKind kind, nuint bytes) => _segments[name] = Segment.Create(name, kind, (ulong)VrfSizes.Full.Of(kind), bytes);

    public void Interface(uint ifindex, string name, ushort port, uint mtu = 1500)
    {
        InterfaceRecord r = new()
        {
            IfIndex = ifindex,
            Name = Name16.From(name),
            PortId = port,
            Mtu = mtu,
            Mtu6 = mtu,
            Forwarding6 = 1,
            Flags = 0x10001,
            AddressLength = 6,
            Forwarding = 1,
            OperState = 6,
        };
        r.Address[0] = 2;
        r.Address[5] = (byte)ifindex;
        Interfaces.Write(Interfaces.Allocate(), r);
    }

    public PortState* Port(int id, string name, uint ifindex)
    {
        PortState* p = FastPathStateSegment.Port(this[SegmentNames.FastPathState], id);
        *p = new PortState { Name = Name16.From(name), IfIndex = ifindex, Mtu = 1500, MaxMtu = 3000, Queues = 1, Mode = PortMode.Native, Status = PortStatus.Up };
        return p;
    }

    public int Nexthop(NexthopRecord record, NexthopWord word)
    {
        int n = Nexthops.Allocate();
        Nexthops.Write(n, record);
        NexthopSegment.Words(this[SegmentNames.Nexthop])[n] = word.Value;
        return n;
    }

    public int OnLink(uint ifindex) =>
        Nexthop(new NexthopRecord { Kind = NexthopKind.Single, IfIndex = ifindex }, NexthopWord.OnLink(ifindex, 1500));

    public int Punt(PuntReason reason, uint ifindex = 0) =>
        Nexthop(new NexthopRecord { Kind = NexthopKind.Punt, Reason = reason, IfIndex = ifindex }, NexthopWord.Punt(reason));

    /// <summary>Forwards when the neighbour is there already.</summary>
    public int Via(string gateway, uint ifindex, uint objectId = 0)
    {
        IpAddress address = Any(gateway);
        int adjacency = NeighbourSegment.Hash(this[SegmentNames.Neighbour]).Find(ifindex, address);
        return Nexthop(
            new NexthopRecord
            {
                Kind = NexthopKind.Single,
                IfIndex = ifindex,
                Gateway = address,
                ObjectId = objectId,
                Generation = 1,
                Family = address.IsV4 ? KernelNames.AF_INET : KernelNames.AF_INET6,
            },
            adjacency < 0 ? NexthopWord.Punt(PuntReason.NoNeighbour) : NexthopWord.Forward(adjacency, 1500));
    }

    public int Group(params (int Nexthop, uint Weight)[] members)
    {
        int first = _members;
        foreach ((int nexthop, uint weight) in members)
        {
            bool last = _members - first == members.Length - 1;
            NexthopSegment.Members(this[SegmentNames.Nexthop])[_members++] =
                new GroupMember { Nexthop = nexthop, Weight = weight, UpperBound = last ? uint.MaxValue : 1000 };
        }

        return Nexthop(
            new NexthopRecord { Kind = NexthopKind.Group, FirstMember = first, MemberCount = (ushort)members.Length },
            NexthopWord.Group(first, members.Length));
    }

    /// <summary>A neighbour 02:00:00:00:01:NN; unresolved when <paramref name="mac"/> is 0.</summary>
    public int Neighbour(string address, uint ifindex, byte mac, ushort state = 2)
    {
        int slot = Neighbours.Allocate();
        NeighbourRecord r = new() { IfIndex = ifindex, Address = Any(address), State = state, Adjacency = mac == 0 ? -1 : _adjacencies };
        if (mac != 0)
        {
            r.AddressLength = 6;
            r.LinkAddress[0] = 2;
            r.LinkAddress[4] = 1;
            r.LinkAddress[5] = mac;
            Adjacency a = new() { PortId = (ushort)(ifindex - R0), Mtu = 1500, Neighbour = slot, IfIndex = ifindex, Address = r.Address };
            byte* bytes = (byte*)&a;
            new ReadOnlySpan<byte>(r.LinkAddress, 6).CopyTo(new Span<byte>(bytes, 6));
            bytes[6] = 2;
            bytes[11] = (byte)ifindex;
            AdjacencySegment.Table(this[SegmentNames.Adjacency])[_adjacencies] = a;
            NeighbourHash hash = NeighbourSegment.Hash(this[SegmentNames.Neighbour]);
            ulong i = hash.Home(ifindex, r.Address);
            while (hash.Bucket(i)->IfIndex != 0)
            {
                i++;
            }

            *hash.Bucket(i) = new NeighbourBucket { IfIndex = ifindex, Address = r.Address, Value = (ulong)_adjacencies++ + 1 };
        }

        Neighbours.Write(slot, r);
        return slot;
    }

    public void Route(
        string prefix, int nexthop, byte type = KernelNames.RTN_UNICAST, uint table = KernelNames.TableMain, uint metric = 0, byte protocol = 3,
        byte scope = 0, bool compiled = true, byte tos = 0, uint nhid = 0, uint source = 0)
    {
        System.Net.IPNetwork n = System.Net.IPNetwork.Parse(prefix);
        uint destination = Ip(n.BaseAddress.ToString());
        Routes.Write(Routes.Allocate(), new RouteRecord
        {
            Table = table,
            Destination = destination,
            PrefixLength = (byte)n.PrefixLength,
            Type = type,
            Protocol = protocol,
            Scope = scope,
            Metric = metric,
            Nexthop = nexthop,
            Tos = tos,
            NexthopObject = nhid,
            PreferredSource = source,
        });
        if (compiled)
        {
            Compile(destination, n.PrefixLength, nexthop);
        }
    }

    /// <summary>An IPv6 route, compiled into the tries as fpmd would if it were the only one of its prefix.</summary>
    public void Route6(
        string prefix, int nexthop, byte type = KernelNames.RTN_UNICAST, uint table = KernelNames.TableMain, uint metric = 1024, bool compiled = true,
        string from = "::/0", byte state = 0)
    {
        System.Net.IPNetwork n = System.Net.IPNetwork.Parse(prefix), source = System.Net.IPNetwork.Parse(from);
        Route6Record r = new()
        {
            Table = table,
            Destination = IpAddress.FromBytes(n.BaseAddress.GetAddressBytes()),
            PrefixLength = (byte)n.PrefixLength,
            Source = IpAddress.FromBytes(source.BaseAddress.GetAddressBytes()),
            SourceLength = (byte)source.PrefixLength,
            Metric = metric,
            Type = type,
            Protocol = 3,
            State = state,
            Nexthop = nexthop,
        };
        Routes6.Write(Routes6.Allocate(), r);
        if (compiled)
        {
            Compile6(prefix, nexthop, table);
            if (table == KernelNames.TableLocal)
            {
                Compile6(prefix, nexthop, KernelNames.TableMain);
            }
        }
    }

    public void Compile6(string prefix, int nexthop, uint table = KernelNames.TableMain)
    {
        System.Net.IPNetwork n = System.Net.IPNetwork.Parse(prefix);
        IpAddress a = IpAddress.FromBytes(n.BaseAddress.GetAddressBytes());
        int root = Tries.Open(FibFamily.Ipv6, table);
        Assert.True(nexthop == 0 ? Tries.TryRemove(root, new FibKey(a.High, a.Low), n.PrefixLength) : Tries.TrySet(root, new FibKey(a.High, a.Low), n.PrefixLength, nexthop));
    }

    /// <summary>Puts a prefix into the FIB, under those that are longer.</summary>
    public void Compile(uint destination, int length, int nexthop)
    {
        if (length == 0)
        {
            NexthopSegment.Words(this[SegmentNames.Nexthop])[0] = Tables.Word(nexthop).Value;
            return;
        }

        _fib.RemoveAll(f => f.Destination == destination && f.Length == length);
        _fib.Add((destination, length, nexthop));
        uint* table = Fib4Segment.Table24(this[SegmentNames.Fib4]);
        for (uint slot = destination >> 8, end = (destination | ~RouteOrder.Mask(length)) >> 8; slot <= end; slot++)
        {
            uint s = slot;
            if (_fib.Exists(f => f.Length > 24 && f.Destination >> 8 == s))
            {
                uint group = (table[slot] & Fib4Reader.GroupFlag) != 0 ? table[slot] & Fib4Reader.IndexMask : ++_groups;
                for (uint i = 0; i < 256; i++)
                {
                    Fib4Segment.Groups(this[SegmentNames.Fib4])[(group << 8) | i] = Entry((slot << 8) | i);
                }

                table[slot] = Fib4Reader.GroupFlag | group;
            }
            else
            {
                table[slot] = Entry(slot << 8);
            }
        }
    }

    public Segment Worker(uint id, uint cpu)
    {
        Segment s = Add(SegmentNames.Worker((int)id), SegmentKind.Worker, WorkerSegment.BodyLength);
        *WorkerSegment.State(s) = new WorkerState { Id = id, Cpu = cpu, Frames = 4096, FramesInUse = 7 };
        FastPath->WorkerCount = id + 1;
        return s;
    }

    public void Dispose()
    {
        Tables.Dispose();
        foreach (Segment s in _segments.Values)
        {
            s.Dispose();
        }
    }

    private uint Entry(uint address)
    {
        (uint Destination, int Length, int Nexthop) best = _fib
            .Where(f => ((f.Destination ^ address) & RouteOrder.Mask(f.Length)) == 0).OrderByDescending(f => f.Length).FirstOrDefault();
        return ((uint)best.Length << Fib4Reader.DepthShift) | (uint)best.Nexthop;
    }

    private sealed class NoWorkers : IWorkerSet
    {
        public void Refresh()
        {
        }

        public void Snapshot(Dictionary<int, ulong> quiescent) => quiescent.Clear();
    }
}
