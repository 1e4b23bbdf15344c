using FastPathSync.SharedMemory;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FpManager.Memory;

/// <summary>The workers whose references fpmd waits for.</summary>
public interface IWorkerSet
{
    /// <summary>Looks again which workers there are.</summary>
    void Refresh();

    /// <summary>The quiescent counters of all workers that may hold references; a gone one is left out.</summary>
    void Snapshot(Dictionary<int, ulong> quiescent);
}

/// <summary>The workers of the fast path process, found through the segment store.</summary>
public sealed unsafe class StoredWorkers(SegmentStore store) : IWorkerSet
{
    private readonly Segment?[] _segments = new Segment?[Capacities.Workers];
    private Segment? _state;
    private int _pid;

    /// <summary>Asks the store only while there may be workers that aren't known: a store that halts must not halt us often.</summary>
    public void Refresh()
    {
        try
        {
            _state ??= store.TryGetSegment(SegmentNames.FastPathState, SegmentKind.FastPathState, writable: false);
            FastPathState* s = _state is null ? null : FastPathStateSegment.State(_state);
            if (s != null && s->WorkerCount > 0 && s->Pid == _pid && _segments[s->WorkerCount - 1] is not null)
            {
                return;
            }

            for (int i = 0; i < _segments.Length; i++)
            {
                _segments[i] ??= store.TryGetSegment(SegmentNames.Worker(i), SegmentKind.Worker, writable: false);
                if (_segments[i] is null)
                {
                    break; // workers are numbered without gaps
                }
            }

            _pid = s == null ? 0 : s->Pid;
        }
        catch (Exception e) when (e is SegmentException or FastPathSync.Linux.LinuxException)
        {
            // The supervisor is restarting: what was known stays known.
        }
    }

    public void Snapshot(Dictionary<int, ulong> quiescent)
    {
        quiescent.Clear();
        for (int i = 0; i < _segments.Length && _segments[i] is Segment s; i++)
        {
            WorkerState* w = WorkerSegment.State(s);
            if (Volatile.Read(ref w->Online) != 0 && FastPathSync.Linux.Libc.kill(s.Header.WriterPid, 0) == 0)
            {
                quiescent[i] = Volatile.Read(ref w->Quiescent);
            }
        }
    }
}

/// <summary>
/// Quiescent-state based reclamation: what was unpublished is reused only once every worker that was online has bumped
/// its counter since. Never waits; Poll does what has become possible.
/// </summary>
/// <remarks>
/// A worker that started meanwhile can't hold what was unpublished before it looked, but one that had started and was
/// not known yet could: so each batch waits for a Refresh after it was closed. Two steps of the counter are wanted, for a
/// worker's store to it may become visible after the loads of its next burst (x86 lets a load pass a store). A stopped
/// (SIGSTOP) worker delays reuse, which costs memory and nothing else.
/// </remarks>
public sealed class Reclaimer(IWorkerSet workers)
{
    private const ulong GracePeriod = 2;

    private readonly Queue<(Dictionary<int, ulong> Seen, List<(Action<ulong> Reuse, ulong What)> Actions)> _waiting = new();
    private readonly Dictionary<int, ulong> _now = [];
    private List<(Action<ulong> Reuse, ulong What)> _open = [];
    private List<(Action<ulong> Reuse, ulong What)> _closed = [];

    /// <summary>Actions that wait for a grace period.</summary>
    public int Pending { get; private set; }

    public void Retire(Action reuse) => Retire(_ => reuse(), 0);

    /// <summary>For those who retire much: the action is theirs and made once, what it is about goes with it.</summary>
    public void Retire(Action<ulong> reuse, ulong what)
    {
        _open.Add((reuse, what));
        Pending++;
    }

    /// <summary>What was retired so far waits for the Refresh that follows. Call Close, workers.Refresh, Poll, in this order.</summary>
    public void Close()
    {
        if (_closed.Count == 0)
        {
            (_closed, _open) = (_open, []);
        }
    }

    public void Poll()
    {
        Interlocked.MemoryBarrier(); // what was unpublished is so before the counters are read
        if (_closed.Count > 0)
        {
            Dictionary<int, ulong> seen = [];
            workers.Snapshot(seen);
            _waiting.Enqueue((seen, _closed));
            _closed = [];
        }

        while (_waiting.TryPeek(out (Dictionary<int, ulong> Seen, List<(Action<ulong> Reuse, ulong What)> Actions) batch))
        {
            workers.Snapshot(_now);
            foreach ((int worker, ulong quiescent) in batch.Seen)
            {
                // A counter that went back belongs to a worker that was started anew.
                if (_now.TryGetValue(worker, out ulong now) && now >= quiescent && now - quiescent < GracePeriod)
                {
                    return;
                }
            }

            _waiting.Dequeue();
            foreach ((Action<ulong> reuse, ulong what) in batch.Actions)
            {
                reuse(what);
            }

            Pending -= batch.Actions.Count;
        }
    }
}
