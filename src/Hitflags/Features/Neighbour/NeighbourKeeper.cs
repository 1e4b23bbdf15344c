using FastPathSync.Hosting;
using FastPathSync.Linux;
using FastPathSync.SharedMemory;
using FastPathSync.SharedMemory.Tables;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace FastPathSync.Hitflags.Features.Neighbour;

/// <summary>
/// Every interval: which neighbours have the workers used since the last scan? Those are told to the kernel. Idle ones
/// aren't, and age as Linux wants.
/// </summary>
internal sealed class NeighbourKeeper(DaemonContext daemon, HitflagsOptions options, ILogger<NeighbourKeeper> log) : BackgroundService
{
    private readonly SegmentStore _store = new(daemon.Instance.SupervisorSocket);
    private Segment? _neighbours;
    private Segment? _stamps;

    protected override Task ExecuteAsync(CancellationToken stoppingToken) =>
        Task.Factory.StartNew(() => Run(stoppingToken), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);

    private void Run(CancellationToken stopping)
    {
        using NeighbourUse use = new();
        daemon.Ready("keeps neighbours in use alive");
        ulong refusedBefore = 0;
        do
        {
            if (!Attach())
            {
                continue; // fpmd has not made them yet, or they are unreadable just now
            }

            try
            {
                int used = Scan(use);
                log.LogDebug("scan: {Used} neighbours in use, {Missing} were gone, {Refused} refused", used, use.Missing, use.Refused);
            }
            catch (LinuxException e)
            {
                log.LogWarning("scan: {Cause}; the next one tries again", e.Message);
            }

            if (use.Refused != refusedBefore)
            {
                log.LogWarning("the kernel refused {Count} neighbour updates: {Cause}", use.Refused - refusedBefore, Errno.Describe(use.LastError));
                refusedBefore = use.Refused;
            }
        }
        while (!stopping.WaitHandle.WaitOne(options.Interval));
    }

    private unsafe int Scan(NeighbourUse use)
    {
        const ushort Provable = 0x02 | 0x04 | 0x08 | 0x10; // NUD_REACHABLE, NUD_STALE, NUD_DELAY, NUD_PROBE

        // Stamps are whole seconds: one more covers the rounding.
        uint oldest = MonotonicClock.CoarseSeconds - (uint)Math.Ceiling(options.Interval.TotalSeconds) - 1;
        RecordTableReader<NeighbourRecord> table = new(NeighbourSegment.Records(_neighbours!), Capacities.Neighbours);
        uint* stamps = UseStampSegment.Stamps(_stamps!);
        int used = 0;
        for (int slot = 0, n = table.HighWater; slot < n; slot++)
        {
            uint stamp = Volatile.Read(ref stamps[slot]);
            if (stamp != 0 && (int)(stamp - oldest) >= 0 && table.TryRead(slot, out NeighbourRecord r) && (r.State & Provable) != 0)
            {
                use.Add(r.IfIndex, r.Address);
                used++;
            }
        }

        use.Flush();
        return used;
    }

    /// <summary>Asks for the segments anew each time, so that rebuilt ones are found; without a supervisor the old ones do.</summary>
    private bool Attach()
    {
        try
        {
            Replace(ref _neighbours, _store.TryGetSegment(SegmentNames.Neighbour, SegmentKind.Neighbour, writable: false));
            Replace(ref _stamps, _store.TryGetSegment(SegmentNames.UseStamps, SegmentKind.UseStamps, writable: false));
        }
        catch (LinuxException e)
        {
            log.LogDebug("segments: {Cause}", e.Message);
        }
        catch (SegmentException e)
        {
            log.LogError("{Cause}", e.Message);
            return false;
        }

        return _neighbours is not null && _stamps is not null;
    }

    private static void Replace(ref Segment? current, Segment? found)
    {
        if (found is not null)
        {
            current?.Dispose();
            current = found;
        }
    }
}
