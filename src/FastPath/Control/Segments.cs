using FastPathSync.Hosting;
using FastPathSync.Linux;
using FastPathSync.SharedMemory;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FastPath.Control;

/// <summary>The segments: fpmd's, attached; and our own, found again after a restart (their counters go on) or made.</summary>
internal sealed unsafe class Segments : IDisposable
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(10);
    private readonly SegmentStore _store;
    private readonly List<Segment> _all = [];

    public Segments(string storeSocket, int workers)
    {
        _store = new SegmentStore(storeSocket);
        try
        {
            Vrf = Foreign(SegmentNames.Vrf, SegmentKind.Vrf, writable: false);
            Interface = Foreign(SegmentNames.Interface, SegmentKind.Interface, writable: false);
            Address = Foreign(SegmentNames.Address, SegmentKind.Address, writable: false);
            _ = Foreign(SegmentNames.Route, SegmentKind.Route, writable: false); // only to be kept: see Keep
            Nexthop = Foreign(SegmentNames.Nexthop, SegmentKind.Nexthop, writable: false);
            Neighbour = Foreign(SegmentNames.Neighbour, SegmentKind.Neighbour, writable: false);
            Adjacency = Foreign(SegmentNames.Adjacency, SegmentKind.Adjacency, writable: false);
            Fib4 = Foreign(SegmentNames.Fib4, SegmentKind.Fib4, writable: false);
            FibTrie = Foreign(SegmentNames.FibTrie, SegmentKind.FibTrie, writable: false);
            Rule = Foreign(SegmentNames.Rule, SegmentKind.Rule, writable: false);
            UseStamps = Foreign(SegmentNames.UseStamps, SegmentKind.UseStamps, writable: true);
            State = Own(SegmentNames.FastPathState, SegmentKind.FastPathState, Capacities.Ports, FastPathStateSegment.BodyLength);
            Workers = [.. Enumerable.Range(0, workers).Select(i => Own(SegmentNames.Worker(i), SegmentKind.Worker, Capacities.Ports, WorkerSegment.BodyLength))];
        }
        catch (LinuxException e) when (e.Operation == "connect")
        {
            Dispose();
            throw new DaemonStartException(e.ErrorNumber, $"no supervisor answers at {storeSocket}: {Errno.Describe(e.ErrorNumber)}; start the instance with fpctl start", e);
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public Segment Vrf { get; }

    public Segment Interface { get; }

    public Segment Address { get; }

    public Segment Nexthop { get; }

    public Segment Neighbour { get; }

    public Segment Adjacency { get; }

    public Segment Fib4 { get; }

    public Segment FibTrie { get; }

    public Segment Rule { get; }

    public Segment UseStamps { get; }

    public Segment State { get; }

    public IReadOnlyList<Segment> Workers { get; } = [];

    public VrfState* VrfState => VrfSegment.State(Vrf);

    /// <summary>
    /// Gives a supervisor that was started anew what it lost: fpmd's segments too, for fpmd may have died with it, and
    /// must find the tables that our workers read, and the routes they were compiled from.
    /// </summary>
    public void Keep() => _all.ForEach(_store.KeepSegment);

    public void Beat()
    {
        State.Beat();
        for (int i = 0; i < Workers.Count; i++)
        {
            Workers[i].Beat();
        }
    }

    public void Dispose()
    {
        _all.ForEach(s => s.Dispose());
        _all.Clear();
    }

    private Segment Foreign(string name, SegmentKind kind, bool writable)
    {
        Segment s = _store.GetSegment(name, kind, writable, s_patience);
        _all.Add(s);
        return s;
    }

    private Segment Own(string name, SegmentKind kind, ulong capacity, nuint length)
    {
        Segment? s = _store.TryGetSegment(name, kind, writable: true);
        if (s is null)
        {
            s = Segment.Create(name, kind, capacity, length);
            _store.PutSegment(s);
        }

        _all.Add(s);
        s.Beat();
        return s;
    }
}
