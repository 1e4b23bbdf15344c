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
    private Dictionary<string, VrfSegments> _vrfs = [];
    private Segment? _directory;

    protected override Task ExecuteAsync(CancellationToken stoppingToken) =>
        Task.Factory.StartNew(() => Run(stoppingToken), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);

    private void Run(CancellationToken stopping)
    {
        daemon.Ready("keeps neighbours in use alive");
        while (!stopping.WaitHandle.WaitOne(options.Interval))
        {
            foreach ((string vrf, ulong inode, VrfSegments segments) in Attach())
            {
                Keep(vrf, inode, segments);
            }
        }
    }

    private void Keep(string vrf, ulong inode, VrfSegments segments)
    {
        try
        {
            if (segments.TryGet(SegmentNames.Neighbour, SegmentKind.Neighbour) is not Segment neighbours
                || segments.TryGet(SegmentNames.UseStamps, SegmentKind.UseStamps) is not Segment stamps)
            {
                return;
            }

            Scan(neighbours, stamps);
            if (_used.Count > 0)
            {
                int accepted = Tell(vrf, inode);
                log.LogDebug("{Vrf}: {Used} neighbours in use, {Accepted} told to the kernel", vrf, _used.Count, accepted);
            }
        }
        catch (LinuxException e)
        {
            log.LogWarning("{Vrf}the kernel refused: {Cause}; the next scan tries again", vrf.Length == 0 ? "" : $"vrf {vrf}: ", e.Message);
        }
    }

    /// <summary>Opens the socket for this once: one that stays open would keep a namespace alive whose name has gone.</summary>
    private int Tell(string vrf, ulong inode)
    {
        if (vrf.Length == 0)
        {
            return Tell();
        }

        using FileDescriptor? ns = NetworkNamespace.TryOpen(vrf, out ulong now);
        return ns is null || now != inode ? 0 : NetworkNamespace.Run(ns, vrf, Tell);
    }

    private int Tell()
    {
        using NetlinkSocket socket = new(NetlinkSocket.NETLINK_ROUTE);
        return new NeighbourUse(socket).Use(CollectionsMarshal.AsSpan(_used));
    }

    private unsafe void Scan(Segment neighbours, Segment stampSegment)
    {
        const ushort Provable = 0x02 | 0x04 | 0x08 | 0x10; // NUD_REACHABLE, NUD_STALE, NUD_DELAY, NUD_PROBE

        // Stamps are whole seconds: one more covers the rounding.
        uint oldest = MonotonicClock.CoarseSeconds - (uint)Math.Ceiling(options.Interval.TotalSeconds) - 1;
        RecordTableReader<NeighbourRecord> table = new(NeighbourSegment.Records(neighbours), neighbours.Capacity);
        uint* stamps = UseStampSegment.Stamps(stampSegment);
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

    /// <summary>
    /// The VRFs with ports, each with its tables: asked for anew each time, so that rebuilt ones are found; without a supervisor
    /// the old ones do.
    /// </summary>
    private List<(string Vrf, ulong Inode, VrfSegments Segments)> Attach()
    {
        List<(string, ulong, VrfSegments)> vrfs = [];
        try
        {
            if (_store.TryGetSegment(SegmentNames.VrfDirectory, SegmentKind.VrfDirectory, writable: false) is Segment found)
            {
                _directory?.Dispose();
                _directory = found;
                foreach (VrfSegments v in _vrfs.Values)
                {
                    v.Dispose();
                }

                _vrfs = [];
            }
        }
        catch (LinuxException e)
        {
            log.LogDebug("segments: {Cause}", e.Message);
        }
        catch (SegmentException e)
        {
            log.LogError("{Cause}", e.Message);
            return vrfs;
        }

        if (_directory is null)
        {
            return vrfs; // fpmd has not made it yet
        }

        foreach ((int slot, VrfRecord r) in VrfDirectorySegment.Reader(_directory).All().Where(r => r.Value.Ports > 0))
        {
            string name = slot == VrfDirectorySegment.Home ? "" : r.Name.ToString();
            if (!_vrfs.TryGetValue(name, out VrfSegments? segments))
            {
                _vrfs[name] = segments = new VrfSegments((n, kind) => _store.TryGetSegment(n, kind, writable: false), name);
            }

            vrfs.Add((name, r.NetnsInode, segments));
        }

        return vrfs;
    }
}
