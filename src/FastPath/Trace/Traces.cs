using System.Diagnostics.CodeAnalysis;
using FastPathSync.FastPath.Capture;
using FastPathSync.FastPath.Worker;
using FastPathSync.Linux;
using FastPathSync.NetFpc;
using FastPathSync.Packets.Filters;

namespace FastPathSync.FastPath.Trace;

/// <summary>
/// The traces that are on: begins and ends them, hands them to the workers, and takes them back when no worker looks at them any more. Any
/// thread.
/// </summary>
/// <param name="workers">All that there are.</param>
/// <param name="quiescent">WorkerState.Quiescent of each; null of one that isn't online.</param>
internal sealed class Traces(IReadOnlyList<ForwardingWorker> workers, Func<IReadOnlyList<ulong?>> quiescent) : IDisposable
{
    public const int Most = 8;

    /// <summary>Whoever has not polled for so long is gone.</summary>
    public static readonly TimeSpan KeepAlive = TimeSpan.FromSeconds(5);

    private readonly Lock _gate = new();
    private readonly List<TraceSession> _sessions = [];
    private readonly List<(IReadOnlyList<ulong?> Seen, TraceSession Session)> _retired = [];
    private uint _id;

    /// <param name="port">PortId; -1: any.</param>
    /// <param name="verdicts">A bit for each Verdict.</param>
    /// <exception cref="NetFpcRefusedException">Too many, or the filter is none.</exception>
    public uint Start(int port, ReadOnlySpan<FilterInstruction> filter, uint verdicts, uint snapLength)
    {
        string? error = null;
        FilterProgram? program = null;
        if (!filter.IsEmpty && !FilterProgram.TryCreate(filter, out program, out error))
        {
            throw new NetFpcRefusedException(Errno.EINVAL, $"the trace's filter: {error}");
        }

        lock (_gate)
        {
            if (_sessions.Count == Most)
            {
                throw new NetFpcRefusedException(Errno.EBUSY, $"{Most} traces and captures are on already: end one of them (each ends {KeepAlive.TotalSeconds:0} s after its fpctl)");
            }

            TraceSession s = new(++_id, port, program is null ? null : new CompiledFilter(program), verdicts, snapLength, workers.Count);
            _sessions.Add(s);
            Publish();
            return s.Id;
        }
    }

    /// <summary>Has its records taken, under the gate.</summary>
    /// <exception cref="NetFpcRefusedException">There is no such trace.</exception>
    public T Poll<T>(uint id, Func<TraceSession, T> take)
    {
        lock (_gate)
        {
            if (!TryFind(id, out TraceSession? s))
            {
                throw new NetFpcRefusedException(Errno.ENOENT, $"the trace has ended: nobody asked for its packets for {KeepAlive.TotalSeconds:0} s, or the fast path was started anew");
            }

            s.Touch();
            return take(s);
        }
    }

    public void Stop(uint id)
    {
        lock (_gate)
        {
            if (TryFind(id, out TraceSession? s))
            {
                End(s);
            }
        }
    }

    /// <summary>Now and then: ends what nobody polls, and gives back what no worker uses.</summary>
    public void Tidy()
    {
        lock (_gate)
        {
            ulong limit = MonotonicClock.Nanoseconds - (ulong)KeepAlive.TotalNanoseconds;
            foreach (TraceSession s in _sessions.Where(s => s.Polled < limit).ToList())
            {
                End(s);
            }

            if (_retired.Count == 0)
            {
                return;
            }

            IReadOnlyList<ulong?> now = quiescent();
            for (int i = _retired.Count - 1; i >= 0; i--)
            {
                // Two steps, for a worker's store to its counter may become visible after the loads of its next burst.
                if (now.Zip(_retired[i].Seen).All(w => w.First is null || w.Second is null || w.First >= w.Second + 2))
                {
                    _retired[i].Session.Dispose();
                    _retired.RemoveAt(i);
                }
            }
        }
    }

    /// <summary>When the workers have ended.</summary>
    public void Dispose()
    {
        _sessions.ForEach(s => s.Dispose());
        _retired.ForEach(r => r.Session.Dispose());
    }

    private void End(TraceSession s)
    {
        _sessions.Remove(s);
        Publish();
        Interlocked.MemoryBarrier(); // before the counters are read
        _retired.Add((quiescent(), s));
    }

    private void Publish()
    {
        TraceSession[]? all = _sessions.Count == 0 ? null : [.. _sessions];
        foreach (ForwardingWorker w in workers)
        {
            w.Tracer.Use(all);
        }
    }

    private bool TryFind(uint id, [NotNullWhen(true)] out TraceSession? session) => (session = _sessions.Find(s => s.Id == id)) is not null;
}
