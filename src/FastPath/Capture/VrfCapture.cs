using System.Runtime.InteropServices;
using FastPathSync.Bpf;
using FastPathSync.FastPath.Exceptions;
using FastPathSync.FastPath.Ports;
using FastPathSync.Linux;
using FastPathSync.Packets.Filters;
using FastPathSync.SharedMemory;
using FastPathSync.SharedMemory.Tables;
using Microsoft.Extensions.Logging;

namespace FastPathSync.FastPath.Capture;

/// <summary>
/// The packet sockets of one VRF, as the control thread carries them from the tables to the workers: it compiles their filters, has
/// bpf/tap_drop.bpf.c on the ports that somebody listens on, and takes back what no worker uses any more.
/// </summary>
/// <param name="taps">One for each worker.</param>
/// <param name="workers">Their segments.</param>
/// <param name="constants">Those of the carrier.</param>
/// <param name="inside">Runs in the VRF's namespace.</param>
internal sealed unsafe class VrfCapture(
    IReadOnlyList<PacketTap> taps, IReadOnlyList<Segment> workers, FptunConstants constants, Func<Func<FileDescriptor>, FileDescriptor> inside, ILogger log) : IDisposable
{
    /// <summary>Longer than a copy takes from a worker to the hook.</summary>
    private static readonly TimeSpan s_linger = TimeSpan.FromSeconds(1);

    private readonly Dictionary<uint, FileDescriptor> _drops = [];
    private readonly List<(ulong[] Seen, IReadOnlyList<SocketFilter> Filters)> _retired = [];
    private BpfObject? _program;
    private IReadOnlyList<PacketSocketView> _sockets = [];
    private IReadOnlyList<(int Id, uint IfIndex)> _ports = [];
    private IReadOnlyList<SocketFilter> _filters = [];
    private ulong _unusedSince;

    /// <summary>Makes the workers show packets to the sockets that there are now, on the ports that there are.</summary>
    public void Apply(Segment segment, IReadOnlyList<(int Id, uint IfIndex)> ports)
    {
        if (!CaptureSegment.TryRead(segment, out IReadOnlyList<PacketSocketView> sockets) || (Same(sockets, _sockets) && ports.SequenceEqual(_ports)))
        {
            return;
        }

        (_sockets, _ports) = (sockets, ports);
        List<(PacketSocketView Socket, SocketFilter Filter)> all = [.. sockets.Select(s => (s, new SocketFilter(s, Compile(s))))];
        PortFilters?[]? byPort = null;
        foreach ((int id, uint ifindex) in ports)
        {
            SocketFilter[] copied = [.. all.Where(f => f.Filter.TakesCopies && Listens(f.Socket)).Select(f => f.Filter)];
            SocketFilter[] punted = [.. all.Where(f => !f.Filter.TakesCopies && Listens(f.Socket)).Select(f => f.Filter)];
            if (copied.Length > 0 && !TryDropBehindSockets(ifindex))
            {
                (copied, punted) = ([], [.. punted, .. copied]); // no copy may reach the stack: what they want is punted instead
            }

            if (copied.Length + punted.Length > 0)
            {
                (byPort ??= new PortFilters?[Capacities.Ports])[id] = new PortFilters(ifindex, copied, punted);
            }

            bool Listens(PacketSocketView s) => s.IfIndex == 0 || s.IfIndex == ifindex;
        }

        foreach (PacketTap t in taps)
        {
            t.Use(byPort);
        }

        _retired.Add(([.. workers.Select(Quiescent)], _filters));
        _filters = [.. all.Select(f => f.Filter)];
        _unusedSince = byPort is null ? MonotonicClock.Nanoseconds : 0;
    }

    /// <summary>Now and then: gives back what every worker has let go of.</summary>
    public void Tidy()
    {
        for (int i = _retired.Count - 1; i >= 0; i--)
        {
            if (workers.Select((w, n) => WorkerSegment.State(w)->Online == 0 || Quiescent(w) != _retired[i].Seen[n]).All(passed => passed))
            {
                _retired[i].Filters.ToList().ForEach(f => f.Dispose());
                _retired.RemoveAt(i);
            }
        }

        ulong before = MonotonicClock.Nanoseconds - (ulong)s_linger.TotalNanoseconds;
        if (_unusedSince != 0 && _unusedSince < before)
        {
            ForgetDrops(_ => true);
            _unusedSince = 0;
        }

        ForgetDrops(i => !_ports.Any(p => p.IfIndex == i));
    }

    /// <summary>Only when no worker uses the VRF any more.</summary>
    public void Dispose()
    {
        ForgetDrops(_ => true);
        _program?.Dispose();
        foreach (SocketFilter f in _retired.SelectMany(r => r.Filters).Concat(_filters))
        {
            f.Dispose();
        }
    }

    private static ulong Quiescent(Segment worker) => Volatile.Read(ref WorkerSegment.State(worker)->Quiescent);

    private static bool Same(IReadOnlyList<PacketSocketView> a, IReadOnlyList<PacketSocketView> b) =>
        a.Count == b.Count && a.Zip(b).All(p => p.First with { Filter = p.Second.Filter } == p.Second && p.First.Filter.AsSpan().SequenceEqual(p.Second.Filter));

    private CompiledFilter? Compile(PacketSocketView s)
    {
        if (s.Filter.Length == 0)
        {
            return null;
        }

        if (FilterProgram.TryCreate(MemoryMarshal.Cast<ulong, FilterInstruction>(s.Filter), out FilterProgram? program, out string? error))
        {
            return new CompiledFilter(program);
        }

        log.LogInformation("packet socket {Inode}: its filter is left to the kernel ({Error}); it is given all packets", s.Inode, error);
        return null;
    }

    private bool TryDropBehindSockets(uint ifindex)
    {
        if (_drops.ContainsKey(ifindex))
        {
            return true;
        }

        try
        {
            if (_program is null)
            {
                _program = BpfObject.Open("tap_drop");
                _program.SetConstants(".rodata.constants", constants);
                _program.Load();
            }

            _drops[ifindex] = inside(() => _program.Program("fps_tap_drop").AttachTcxFirst(ifindex));
            return true;
        }
        catch (BpfException e)
        {
            log.LogWarning("interface {IfIndex}: copies for packet sockets can't be kept from the stack ({Reason}): what they want goes through Linux", ifindex, e.Message);
            return false;
        }
    }

    private void ForgetDrops(Func<uint, bool> which)
    {
        foreach (uint ifindex in _drops.Keys.Where(which).ToList())
        {
            _drops[ifindex].Dispose();
            _drops.Remove(ifindex);
        }
    }
}
