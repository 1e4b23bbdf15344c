using System.Diagnostics;
using FastPathSync.FpManager.Features.Route;
using FastPathSync.FpManager.Memory;
using FastPathSync.SharedMemory;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.LpmBench;

/// <summary>A table as the product builds it: by its writer, in a memfd segment, with the product's huge pages.</summary>
internal abstract unsafe class Table : IDisposable
{
    protected const int Burst = FibTrieReader.BatchSize;

    private readonly Segment _segment;
    private readonly HugePages _huge;

    protected Table(Segment segment, RouteSet set)
    {
        _segment = segment;
        _huge = new HugePages(segment);
        Set = set;
        Reclaimer = new Reclaimer(new NoWorkers());
    }

    public abstract string Name { get; }

    public RouteSet Set { get; }

    public double InsertionsPerSecond { get; private set; }

    public double ReplacementsPerSecond { get; private set; }

    public int HugePages => _huge.Count;

    protected Reclaimer Reclaimer { get; }

    /// <summary>Nanoseconds of CPU that so many passes over all addresses take, burst by burst into the same few cache lines.</summary>
    public double Run(int passes)
    {
        Lookup(null);
        double start = Machine.ThreadTime;
        for (int i = 0; i < passes; i++)
        {
            Lookup(null);
        }

        return Machine.ThreadTime - start;
    }

    /// <summary>All addresses once.</summary>
    public abstract void Lookup(uint* entries);

    /// <summary>How much memory the table occupies, in bytes.</summary>
    public abstract long Occupied { get; }

    public void Dispose() => _segment.Dispose();

    protected abstract void Insert(FibKey prefix, int length, int nexthop, bool added);

    protected void Fill()
    {
        InsertionsPerSecond = Pass(added: true);
        ReplacementsPerSecond = Pass(added: false);
        for (int i = 0; i < 1000; i++)
        {
            _huge.Collapse(4);
        }
    }

    private double Pass(bool added)
    {
        long start = Stopwatch.GetTimestamp();
        int n = 0;
        foreach ((FibKey prefix, int length, int nexthop) in Set.Routes)
        {
            Insert(prefix, length, added ? (nexthop % 1000) + 1 : nexthop, added);
            if (++n % 1000 == 0)
            {
                Reclaimer.Close();
                Reclaimer.Poll();
            }
        }

        return n / Stopwatch.GetElapsedTime(start).TotalSeconds;
    }

    /// <summary>Nobody else reads these tables.</summary>
    private sealed class NoWorkers : IWorkerSet
    {
        public void Refresh()
        {
        }

        public void Snapshot(Dictionary<int, ulong> quiescent) => quiescent.Clear();
    }
}

internal sealed unsafe class Dir24Table : Table
{
    private readonly Fib4Writer _writer;
    private readonly Fib4Reader _reader;
    private readonly uint[] _addresses;
    private readonly Segment _segment;

    public Dir24Table(RouteSet set)
        : this(set, Segment.Create("fib4", SegmentKind.Fib4, Capacities.Fib4Groups, Fib4Segment.BodyLength))
    {
    }

    private Dir24Table(RouteSet set, Segment segment)
        : base(segment, set)
    {
        _segment = segment;
        _writer = new Fib4Writer(Fib4Segment.Table24(segment), Fib4Segment.Groups(segment), Fib4Segment.GroupUse(segment), Capacities.Fib4Groups, Reclaimer);
        _reader = Fib4Segment.Reader(segment);
        _addresses = [.. set.Addresses.Select(a => (uint)(a.High >> 32))];
        Fill();
    }

    public override string Name => "DIR-24-8 (IPv4)";

    public override long Occupied => _segment.ResidentBytes;

    /// <summary>As workers do: the addresses of a burst are known, and prefetched, some time before they are looked up.</summary>
    public override void Lookup(uint* entries)
    {
        uint* few = stackalloc uint[Burst];
        fixed (uint* addresses = _addresses)
        {
            for (int i = 0; i < _addresses.Length; i += Burst)
            {
                _reader.Prefetch(addresses + i + Burst, Math.Min(Burst, _addresses.Length - i - Burst));
                _reader.Lookup(addresses + i, entries == null ? few : entries + i, Burst);
            }
        }
    }

    protected override void Insert(FibKey prefix, int length, int nexthop, bool added) =>
        _writer.TrySet((uint)(prefix.High >> 32), length, nexthop, added);
}

internal sealed unsafe class TrieTable : Table
{
    private readonly FibTrieWriter _writer;
    private readonly FibTrieReader _reader;
    private readonly int _slot;
    private readonly byte[] _addresses;

    public TrieTable(RouteSet set)
        : this(set, Segment.Create("fib-trie", SegmentKind.FibTrie, Capacities.FibTrieUnits, FibTrieSegment.BodyLength(Capacities.FibTrieUnits)))
    {
    }

    private TrieTable(RouteSet set, Segment segment)
        : base(segment, set)
    {
        _writer = new FibTrieWriter(segment, Reclaimer);
        _reader = _writer.Reader;
        _slot = _writer.Open(set.IsIpv6 ? FibFamily.Ipv6 : FibFamily.Ipv4, 254);
        int width = set.IsIpv6 ? 16 : 4;
        _addresses = new byte[set.Addresses.Length * width];
        for (int i = 0; i < set.Addresses.Length; i++)
        {
            set.Write(set.Addresses[i], _addresses.AsSpan(i * width));
        }

        Fill();
    }

    public override string Name => $"trie ({(Set.IsIpv6 ? "IPv6" : "IPv4")})";

    public override long Occupied => (long)_writer.UsedUnits * FibTrieSegment.UnitBytes;

    /// <summary>IPv6 addresses are taken as they stand in packets, as DPDK takes them: turning them into keys is within the time.</summary>
    public override void Lookup(uint* entries)
    {
        uint* few = stackalloc uint[Burst];
        FibKey* keys = stackalloc FibKey[Burst], next = stackalloc FibKey[Burst];
        int width = Set.IsIpv6 ? 16 : 4;
        fixed (byte* addresses = _addresses)
        {
            ReadKeys(addresses, keys);
            for (int i = 0; i < Set.Addresses.Length; i += Burst)
            {
                if (i + Burst < Set.Addresses.Length)
                {
                    ReadKeys(addresses + ((i + Burst) * width), next);
                    _reader.Prefetch(_slot, next, Burst);
                }

                _reader.Lookup(_slot, keys, entries == null ? few : entries + i, Burst);
                FibKey* done = keys;
                keys = next;
                next = done;
            }
        }
    }

    private void ReadKeys(byte* from, FibKey* keys)
    {
        bool ipv6 = Set.IsIpv6;
        for (int k = 0; k < Burst; k++)
        {
            keys[k] = ipv6 ? FibKey.Ipv6(from + (k * 16)) : FibKey.Ipv4(((uint*)from)[k]);
        }
    }

    protected override void Insert(FibKey prefix, int length, int nexthop, bool added)
    {
        if (!_writer.TrySet(_slot, prefix, length, nexthop))
        {
            throw new InvalidOperationException("the arena is full");
        }
    }
}
