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

    public void Refresh()
    {
        for (int i = 0; i < _segments.Length; i++)
        {
            if (_segments[i] is null)
            {
                try
                {
                    _segments[i] = store.TryGetSegment(SegmentNames.Worker(i), SegmentKind.Worker, writable: false);
                }
                catch (Exception e) when (e is SegmentException or FastPathSync.Linux.LinuxException)
                {
                    // The supervisor is restarting: what was known stays known.
                }

                if (_segments[i] is null)
                {
                    return; // workers are numbered without gaps
                }
            }
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
/// not known yet could: so each batch waits for a Refresh after it was closed. A stopped (SIGSTOP) worker delays reuse, which costs memory
/// and nothing else.
/// </remarks>
public sealed class Reclaimer(IWorkerSet workers)
{
    private readonly Queue<(Dictionary<int, ulong> Seen, List<Action> Actions)> _waiting = new();
    private readonly Dictionary<int, ulong> _now = [];
    private List<Action> _open = [];

    /// <summary>Actions that wait for a grace period.</summary>
    public int Pending { get; private set; }

    public void Retire(Action reuse)
    {
        _open.Add(reuse);
        Pending++;
    }

    public void Poll()
    {
        if (_open.Count > 0)
        {
            workers.Refresh();
            Dictionary<int, ulong> seen = [];
            workers.Snapshot(seen);
            _waiting.Enqueue((seen, _open));
            _open = [];
        }

        while (_waiting.TryPeek(out (Dictionary<int, ulong> Seen, List<Action> Actions) batch))
        {
            workers.Snapshot(_now);
            foreach ((int worker, ulong quiescent) in batch.Seen)
            {
                // A counter that went back belongs to a worker that was started anew.
                if (_now.TryGetValue(worker, out ulong now) && now == quiescent)
                {
                    return;
                }
            }

            _waiting.Dequeue();
            foreach (Action reuse in batch.Actions)
            {
                reuse();
            }

            Pending -= batch.Actions.Count;
        }
    }
}
