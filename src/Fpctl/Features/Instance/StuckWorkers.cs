using FastPathSync.Fpctl.Cli;
using FastPathSync.SharedMemory;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.Fpctl.Features.Instance;

/// <summary>Which workers make no progress: one of them is enough for XDP to hand everything to Linux.</summary>
internal static unsafe class StuckWorkers
{
    /// <summary>A worker moves at least every 10 ms, asleep or not (HEARTBEAT_PERIOD_NS in bpf/xdp_def.h).</summary>
    private static readonly TimeSpan s_patience = TimeSpan.FromMilliseconds(60);

    /// <summary>"worker 1 (CPU 0)"; empty when all move.</summary>
    public static IReadOnlyList<string> Find(CliContext context, uint count)
    {
        List<(Segment Segment, ulong Seen)> workers = [];
        try
        {
            for (int id = 0; id < Math.Min(count, Capacities.Workers); id++)
            {
                if (context.TryOpenSegment(SegmentNames.Worker(id), SegmentKind.Worker) is Segment s)
                {
                    workers.Add((s, Volatile.Read(ref WorkerSegment.State(s)->Quiescent)));
                }
            }

            Thread.Sleep(s_patience);
            return [.. workers.Where(w => Volatile.Read(ref WorkerSegment.State(w.Segment)->Quiescent) == w.Seen)
                .Select(w => $"worker {WorkerSegment.State(w.Segment)->Id} (CPU {WorkerSegment.State(w.Segment)->Cpu})")];
        }
        finally
        {
            workers.ForEach(w => w.Segment.Dispose());
        }
    }
}
