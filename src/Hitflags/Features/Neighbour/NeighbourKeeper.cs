using System.Runtime.InteropServices;
using FastPathSync.Hosting;
using FastPathSync.Linux;
using FastPathSync.Netlink;
using FastPathSync.Netlink.Rtnetlink;
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
    private readonly List<(int Index, InetAddress Destination)> _used = [];
    private Segment? _neighbours;
    private Segment? _stamps;

    protected override Task ExecuteAsync(CancellationToken stoppingToken) =>
        Task.Factory.StartNew(() => Run(stoppingToken), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);

    private void Run(CancellationToken stopping)
    {
        using NetlinkSocket socket = new(NetlinkSocket.NETLINK_ROUTE);
        NeighbourUse kernel = new(socket);
        daemon.Ready("keeps neighbours in use alive");
        while (!stopping.WaitHandle.WaitOne(options.Interval))
        {
            if (!Attach())
            {
                continue; // fpmd has not made them yet, or they are unreadable just now
            }

            Scan();
            try
            {
                int accepted = kernel.Use(CollectionsMarshal.AsSpan(_used));
                log.LogDebug("{Used} neighbours in use: {Accepted} told to the kernel, {Missing} gone meanwhile", _used.Count, accepted, kernel.Missing);
            }
            catch (LinuxException e)
            {
                log.LogWarning("the kernel refused: {Cause}; the next scan tries again", e.Message);
            }
        }
    }

    private unsafe void Scan()
    {
        const ushort Provable = 0x02 | 0x04 | 0x08 | 0x10; // NUD_REACHABLE, NUD_STALE, NUD_DELAY, NUD_PROBE

        // Stamps are whole seconds: one more covers the rounding.
        uint oldest = MonotonicClock.CoarseSeconds - (uint)Math.Ceiling(options.Interval.TotalSeconds) - 1;
        RecordTableReader<NeighbourRecord> table = new(NeighbourSegment.Records(_neighbours!), _neighbours!.Capacity);
        uint* stamps = UseStampSegment.Stamps(_stamps!);
        _used.Clear();
        for (int slot = 0, n = table.HighWater; slot < n; slot++)
        {
            uint stamp = Volatile.Read(ref stamps[slot]);
            if (stamp != 0 && (int)(stamp - oldest) >= 0 && table.TryRead(slot, out NeighbourRecord r) && (r.State & Provable) != 0)
            {
                _used.Add(((int)r.IfIndex, r.Address.IsV4 ? InetAddress.FromV4(r.Address.V4) : InetAddress.FromV6(r.Address.High, r.Address.Low)));
            }
        }
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
