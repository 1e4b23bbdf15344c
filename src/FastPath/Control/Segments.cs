using FastPathSync.Hosting;
using FastPathSync.Linux;
using FastPathSync.SharedMemory;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FastPath.Control;

/// <summary>The segments of the instance: fpmd's, attached; and our own, found again after a restart (their counters go on) or made.</summary>
internal sealed unsafe class Segments : IDisposable
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(10);
    private readonly SegmentStore _store;
    private readonly List<Segment> _all = [];
    private readonly Lock _lock = new();
    private readonly List<VrfTableSet> _vrfs = [];
    private Segment? _directory;

    /// <param name="limits">Fills the punt limits, if nobody has before.</param>
    public Segments(string storeSocket, int workers, Action<Segment> limits)
    {
        _store = new SegmentStore(storeSocket);
        try
        {
            State = Own(SegmentNames.FastPathState, SegmentKind.FastPathState, Capacities.Ports, FastPathStateSegment.BodyLength);
            PuntLimits = Own(SegmentNames.PuntLimits, SegmentKind.PuntLimits, (ulong)PuntReason.Count, PuntLimitSegment.BodyLength, limits);
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

    public Segment State { get; }

    public Segment PuntLimits { get; }

    public IReadOnlyList<Segment> Workers { get; } = [];

    /// <summary>Of the home VRF; waits until fpmd has put it.</summary>
    public VrfTableSet AttachHome() => Attach("", 0, s_patience);

    /// <summary>The tables of a VRF, when fpmd has them and they are those of this namespace; else null.</summary>
    public VrfTableSet? TryAttach(string vrf, ulong inode)
    {
        if (Find(vrf) is not VrfRecord found || found.NetnsInode != inode)
        {
            return null;
        }

        try
        {
            VrfTableSet set = Attach(vrf, found.Epoch, TimeSpan.Zero);
            if (Find(vrf)?.Epoch == found.Epoch)
            {
                return set;
            }

            Release(set);
        }
        catch (TimeoutException)
        {
            // They are being exchanged.
        }

        return null;
    }

    /// <summary>False when fpmd has other tables for the VRF by now, or none.</summary>
    public bool IsCurrent(string vrf, VrfTableSet set) => vrf.Length == 0 || Find(vrf)?.Epoch == set.Epoch;

    public void Release(VrfTableSet set)
    {
        lock (_lock)
        {
            _vrfs.Remove(set);
            set.Dispose();
        }
    }

    /// <summary>
    /// Gives a supervisor that was started anew what it lost: fpmd's segments too, for fpmd may have died with it, and
    /// must find the tables that our workers read, and the routes they were compiled from.
    /// </summary>
    public void Keep()
    {
        lock (_lock)
        {
            _vrfs.ForEach(v => v.All.ToList().ForEach(_store.KeepSegment));
            _all.ForEach(_store.KeepSegment);
        }
    }

    public void Beat()
    {
        State.Beat();
        PuntLimits.Beat();
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

    private VrfRecord? Find(string vrf)
    {
        if ((_directory ??= OpenDirectory()) is not Segment directory)
        {
            return null;
        }

        RecordTableReader<VrfRecord> records = VrfDirectorySegment.Reader(directory);
        for (int i = VrfDirectorySegment.Home + 1; i < records.HighWater; i++)
        {
            if (records.TryRead(i, out VrfRecord r) && r.Ports > 0 && r.Name.ToString() == vrf)
            {
                return r;
            }
        }

        return null;
    }

    /// <summary>Asked for when the first VRF other than the home VRF is to be served.</summary>
    private Segment? OpenDirectory()
    {
        Segment? found = _store.TryGetSegment(SegmentNames.VrfDirectory, SegmentKind.VrfDirectory, writable: false);
        if (found is not null)
        {
            lock (_lock)
            {
                _all.Add(found);
            }
        }

        return found;
    }

    private VrfTableSet Attach(string vrf, ulong epoch, TimeSpan patience)
    {
        VrfTableSet set = new((name, kind, writable) => _store.GetSegment(name, kind, writable, patience), vrf, epoch);
        lock (_lock)
        {
            _vrfs.Add(set);
        }

        return set;
    }

    private Segment Own(string name, SegmentKind kind, ulong capacity, nuint length, Action<Segment>? fill = null)
    {
        Segment? s = _store.TryGetSegment(name, kind, writable: true);
        if (s is null)
        {
            s = Segment.Create(name, kind, capacity, length);
            fill?.Invoke(s);
            _store.PutSegment(s);
        }

        _all.Add(s);
        s.Beat();
        return s;
    }
}
