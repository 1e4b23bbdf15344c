using System.Net;
using System.Runtime.InteropServices;
using FastPathSync.FpManager.Features.Route;
using FastPathSync.FpManager.Memory;
using FastPathSync.Linux;
using FastPathSync.Packets;
using FastPathSync.SharedMemory;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FastPath.Tests;

/// <summary>
/// The tables of a worker in private memory, and the least of a writer that fills them: enough for tests and benches of
/// the pipeline, without deletion, publication order or a grace period (those are fpmd's business). The tries of IPv6 are
/// written by fpmd's own writer.
/// </summary>
public sealed unsafe class LabTables : IDisposable
{
    private readonly List<MemoryMapping> _mappings = [];
    private readonly uint* _table24, _groups;
    private readonly NeighbourHash _neighbours;
    private readonly RecordTableWriter<AddressRecord> _addresses;
    private readonly Segment _trieSegment;
    private readonly FibTrieWriter _tries;
    private uint _nextGroup, _nextNexthop = 1, _nextMember;
    private int _nextAdjacency;

    public LabTables()
    {
        _table24 = (uint*)Map(4 << 24, huge: true);
        _groups = (uint*)Map((nuint)Capacities.Fib4Groups * 1024, huge: true);
        NeighbourBucket* buckets = (NeighbourBucket*)Map((nuint)Capacities.NeighbourBuckets * (nuint)sizeof(NeighbourBucket));
        _neighbours = new NeighbourHash(buckets, Capacities.NeighbourBuckets);
        _addresses = new RecordTableWriter<AddressRecord>(Map(RecordTable.BytesFor<AddressRecord>(Capacities.Addresses)), Capacities.Addresses);
        _trieSegment = Segment.Create(
            SegmentNames.FibTrie, SegmentKind.FibTrie, Capacities.FibTrieUnits, FibTrieSegment.BodyLength(Capacities.FibTrieUnits));
        _tries = new FibTrieWriter(_trieSegment, new Reclaimer(new NoWorkers()));
        Fib4Reader fib = new(_table24, _groups);
        ulong* nexthops = (ulong*)Map((nuint)Capacities.Nexthops * 8);
        Rules = (CompiledRule*)Map((nuint)Capacities.CompiledRules * (nuint)sizeof(CompiledRule));
        Tables = new WorkerTables
        {
            Vrf = (VrfState*)Map((nuint)sizeof(VrfState)),
            Nexthops = nexthops,
            Members = (GroupMember*)Map((nuint)Capacities.GroupMembers * (nuint)sizeof(GroupMember)),
            Adjacencies = (Adjacency*)Map(AdjacencySegment.BodyLength),
            Neighbours = _neighbours,
            Fib = fib,
            Tries = _tries.Reader,
            Rules = new RuleReader(Rules, _tries.Reader, fib, nexthops),
            Ipv6Main = _tries.Open(FibFamily.Ipv6, FibRoot.MainTable),
            Ipv6Local = _tries.Open(FibFamily.Ipv6, FibRoot.LocalTable),
            LocalAddresses = new LocalAddressFilter((ulong*)Map(LocalAddressFilter.Bytes)),
            Addresses = _addresses.Reader,
            UseStamps = (uint*)Map(UseStampSegment.BodyLength),
            Counters = (PortCounters*)Map((nuint)Capacities.Ports * (nuint)sizeof(PortCounters)),
            Nodes = (NodeCounters*)Map(NodeCounters.Nodes * (nuint)sizeof(NodeCounters)),
            CoarseSecond = (uint*)Map(64),
        };
        *Tables.CoarseSecond = 1;
        Tables.Vrf->FlowSeed = 0x12345678;
        for (int port = 0; port < Capacities.Ports; port++)
        {
            Tables.Vrf->SendRedirects[port] = (byte)Families.Both;
            Tables.Vrf->PortIfIndex[port] = IfIndexOf(port);
        }
    }

    public WorkerTables Tables { get; }

    /// <summary>Where compiled rules stand; VrfState.Rules4 says which are in force.</summary>
    public CompiledRule* Rules { get; }

    public static uint Ip(string text)
    {
        byte[] b = IPAddress.Parse(text).GetAddressBytes();
        return ((uint)b[0] << 24) | ((uint)b[1] << 16) | ((uint)b[2] << 8) | b[3];
    }

    public static IpAddress Ip6(string text) => IpAddress.FromBytes(IPAddress.Parse(text).GetAddressBytes());

    public static uint IfIndexOf(int port) => 10 + (uint)port;

    /// <summary>The neighbour slot is the adjacency's own number.</summary>
    public int AddAdjacency(int port, string destinationMac, string sourceMac)
    {
        int index = _nextAdjacency++;
        Adjacency a = new() { PortId = (ushort)port, Neighbour = index, Mtu = 1500, IfIndex = IfIndexOf(port) };
        Span<byte> macs = MemoryMarshal.AsBytes(new Span<Adjacency>(ref a))[..12];
        MemoryMarshal.Write(macs, Mac(destinationMac));
        MemoryMarshal.Write(macs[6..], Mac(sourceMac));
        Tables.Adjacencies[index] = a;
        return index;
    }

    public uint AddNexthop(NexthopWord word)
    {
        Tables.Nexthops[_nextNexthop] = word.Value;
        return _nextNexthop++;
    }

    /// <param name="members">Each the greatest hash that goes its way, and its nexthop.</param>
    public uint AddGroup(params ReadOnlySpan<(uint, uint)> members)
    {
        uint first = _nextMember;
        foreach ((uint bound, uint nexthop) in members)
        {
            Tables.Members[_nextMember++] = new GroupMember { UpperBound = bound, Nexthop = (int)nexthop, Weight = 1 };
        }

        return AddNexthop(NexthopWord.Group((int)first, members.Length));
    }

    /// <param name="nexthops">Of each bucket.</param>
    public uint AddResilientGroup(params ReadOnlySpan<uint> nexthops)
    {
        uint first = _nextMember;
        foreach (uint nexthop in nexthops)
        {
            Tables.Members[_nextMember++] = new GroupMember { Nexthop = (int)nexthop };
        }

        return AddNexthop(NexthopWord.Buckets((int)first, nexthops.Length));
    }

    public void AddNeighbour(uint ifindex, uint address, int adjacency) => AddNeighbour(ifindex, IpAddress.FromV4(address), adjacency);

    public void AddNeighbour(uint ifindex, IpAddress key, int adjacency)
    {
        ulong i = _neighbours.Home(ifindex, key);
        while (_neighbours.Bucket(i)->IfIndex != 0 && (_neighbours.Bucket(i)->IfIndex != ifindex || _neighbours.Bucket(i)->Address != key))
        {
            i++;
        }

        *_neighbours.Bucket(i) = new NeighbourBucket { IfIndex = ifindex, Address = key, Value = (ulong)(adjacency + 1) };
    }

    /// <summary>An address without its local route: the interface is down.</summary>
    public void AddAddress(uint address)
    {
        Tables.LocalAddresses.Set(IpAddress.FromV4(address));
        _addresses.Write(_addresses.Allocate(), new AddressRecord { Local = IpAddress.FromV4(address) });
    }

    public void AddLocalAddress(uint address)
    {
        AddAddress(address);
        AddRoute(address, 32, AddNexthop(NexthopWord.Punt(PuntReason.Local)));
    }

    /// <summary>In any order: a longer prefix is never overwritten by a shorter one.</summary>
    public void AddRoute(uint prefix, int length, uint nexthop)
    {
        if (length == 0)
        {
            Tables.Nexthops[0] = Tables.Nexthops[nexthop];
            return;
        }

        uint entry = nexthop | ((uint)length << Fib4Reader.DepthShift);
        if (length > 24)
        {
            Fill(GroupOf(prefix >> 8) + (prefix & 0xff), 1 << (32 - length), entry, length);
            return;
        }

        uint* e = _table24 + (prefix >> 8);
        for (int i = 0; i < 1 << (24 - length); i++)
        {
            if ((e[i] & Fib4Reader.GroupFlag) != 0)
            {
                Fill(_groups + ((e[i] & Fib4Reader.IndexMask) << 8), 256, entry, length);
            }
            else
            {
                Fill(e + i, 1, entry, length);
            }
        }
    }

    /// <summary>An IPv6 route of table main (local merged in), or of table local by itself.</summary>
    public void AddRoute(IpAddress prefix, int length, uint nexthop, bool local = false)
    {
        if (!_tries.TrySet(local ? Tables.Ipv6Local : Tables.Ipv6Main, new FibKey(prefix.High, prefix.Low), length, (int)nexthop))
        {
            throw new InvalidOperationException("the tries are full");
        }
    }

    public void Dispose()
    {
        _trieSegment.Dispose();
        foreach (MemoryMapping m in _mappings)
        {
            m.Dispose();
        }
    }

    private static void Fill(uint* e, int count, uint entry, int length)
    {
        for (int i = 0; i < count; i++)
        {
            if ((int)(e[i] >> Fib4Reader.DepthShift & 0x3f) <= length)
            {
                e[i] = entry;
            }
        }
    }

    private static MacAddress Mac(string text) =>
        MacAddress.TryParse(text, out MacAddress mac) ? mac : throw new FormatException($"'{text}' is no MAC address");

    private uint* GroupOf(uint index)
    {
        uint e = _table24[index];
        if ((e & Fib4Reader.GroupFlag) == 0)
        {
            if (_nextGroup == Capacities.Fib4Groups)
            {
                throw new InvalidOperationException("no FIB group is left");
            }

            uint* g = _groups + (_nextGroup << 8);
            new Span<uint>(g, 256).Fill(e);
            e = _table24[index] = Fib4Reader.GroupFlag | _nextGroup++;
        }

        return _groups + ((e & Fib4Reader.IndexMask) << 8);
    }

    private byte* Map(nuint length, bool huge = false)
    {
        MemoryMapping m = MemoryMapping.Anonymous(length, 0, "lab tables");
        if (huge)
        {
            m.AdviseHugePages();
        }

        _mappings.Add(m);
        return m.Address;
    }

    private sealed class NoWorkers : IWorkerSet
    {
        public void Refresh()
        {
        }

        public void Snapshot(Dictionary<int, ulong> quiescent) => quiescent.Clear();
    }
}
