using System.Diagnostics;
using FastPathSync.FastPath.Capture;
using FastPathSync.Linux;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FastPath.Trace;

/// <summary>
/// Records what one worker does with the packets that somebody wants to see. Used by the worker alone, but for Use. It may take
/// what time the worker would idle away, and little of the rest (TapBudget): what there was no time for is counted as missed.
/// </summary>
internal sealed unsafe class WorkerTracer(int worker, uint largestFrame) : IDisposable
{
    private readonly PathRecord _path = new();
    private readonly ulong[] _frames = new ulong[PacketVector.Size];
    private readonly uint[] _wanted = new uint[PacketVector.Size];
    private MemoryMapping? _room;
    private TraceSession[]? _sessions;
    private TraceSession[] _ofBurst = [];
    private TapBudget _budget;
    private long _begin;
    private int _copies;

    public bool IsOn => Volatile.Read(ref _sessions) is not null;

    public PathObserver Observer => new(_path);

    /// <summary>By the one thread that has the sessions: at most 32; null when there are none.</summary>
    public void Use(TraceSession[]? sessions)
    {
        _room ??= MemoryMapping.Anonymous(PacketVector.Size * (nuint)largestFrame, 0, "copies for traces");
        Volatile.Write(ref _sessions, sessions);
    }

    /// <summary>Before the pipeline: keeps the packets that may be wanted as they came.</summary>
    /// <returns>False: nobody looks at this burst. Otherwise the pipeline is to be run with Observer, and After called.</returns>
    public bool Before(in PacketVector v, int rxPort)
    {
        _ofBurst = Volatile.Read(ref _sessions) ?? [];
        _copies = 0;
        _budget.Earn();
        if (!_budget.IsLeft)
        {
            foreach (TraceSession s in _ofBurst)
            {
                s.Miss(worker, v.Count);
            }

            return false;
        }

        _begin = Stopwatch.GetTimestamp();
        for (int i = 0; i < v.Count; i++)
        {
            uint wanted = 0;
            for (int n = 0; n < _ofBurst.Length; n++)
            {
                wanted |= _ofBurst[n].Wants(v.Data[i], v.Length[i], rxPort) ? 1u << n : 0;
            }

            if (wanted != 0)
            {
                _wanted[_copies] = wanted;
                _frames[_copies] = v.Frame[i];
                Buffer.MemoryCopy(v.Data[i], Copy(_copies++), largestFrame, v.Length[i]);
            }
        }

        if (_copies == 0)
        {
            _budget.Spend(_begin, v.Count);
            return false;
        }

        _path.Begin();
        return true;
    }

    /// <summary>When every packet has gone its way; their frames may be in use again.</summary>
    public void After(in PacketVector v, int rxPort)
    {
        ulong now = (ulong)(DateTime.UtcNow - DateTime.UnixEpoch).Ticks * TimeSpan.NanosecondsPerTick;
        int next = 0;
        for (int slot = 0; slot < v.Count; slot++)
        {
            int copy = Find(v.Frame[slot], ref next);
            if (copy < 0)
            {
                continue;
            }

            bool tapped = v.Verdict[slot] == (byte)Verdict.Punt && v.Reason[slot] == (byte)PuntReason.PacketSocket;
            TraceRecord record = new()
            {
                Length = v.Length[slot],
                Port = (ushort)rxPort,
                TxPort = v.TxPort[slot],
                Time = now,
                Nexthop = _path.Nexthop(slot),
                Entry = _path.Entry(slot),
                Nodes = (ushort)(_path.Passed(slot) | (tapped ? 1 << (int)PipelineNode.PacketTap : 0)),
                Verdict = v.Verdict[slot],
                Reason = v.Reason[slot],
            };
            for (int n = 0; n < _ofBurst.Length; n++)
            {
                if ((_wanted[copy] >> n & 1) != 0)
                {
                    _ofBurst[n].Record(worker, record, Copy(copy));
                }
            }
        }

        _budget.Spend(_begin, v.Count);
    }

    /// <summary>The worker finds nothing to do.</summary>
    public void Idle() => _budget.Idle();

    public void Dispose() => _room?.Dispose();

    private byte* Copy(int i) => _room!.Address + ((nuint)i * largestFrame);

    /// <summary>Which copy is of this frame; -1: none. Most packets keep their order.</summary>
    private int Find(ulong frame, ref int next)
    {
        for (int n = 0; n < _copies; n++)
        {
            int i = (next + n) % _copies;
            if (_frames[i] == frame)
            {
                next = i + 1;
                return i;
            }
        }

        return -1;
    }
}
