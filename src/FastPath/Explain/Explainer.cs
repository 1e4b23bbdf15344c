using FastPathSync.FastPath.Ports;
using FastPathSync.FastPath.Vrfs;
using FastPathSync.Linux;
using FastPathSync.NetFpc;

namespace FastPathSync.FastPath.Explain;

/// <summary>Answers what the fast path would do with a packet. Used under FastPathEngine.PortGate.</summary>
internal sealed unsafe class Explainer(FastPathEngine engine) : IDisposable
{
    /// <summary>A worker with nothing to do looks up every 8 ms.</summary>
    private static readonly TimeSpan s_patience = TimeSpan.FromMilliseconds(500);

    /// <summary>They are in the reply, too.</summary>
    private const int MaxBytes = 48 << 10;

    private DryRun? _run;
    private XdpTwin? _twin;
    private XdpShared? _twinOf;

    /// <summary>Of each frame, why the XDP program passes it (null: it doesn't), and what a worker makes of it in that case.</summary>
    /// <exception cref="NetFpcRefusedException">There is no such port, a frame can't be one, or the worker hangs.</exception>
    public IEnumerable<(SharedMemory.Tables.PassReason? Passed, DryOutcome Outcome)> Explain(int port, IReadOnlyList<ReadOnlyMemory<byte>> frames)
    {
        Port? p = engine.Ports.Find(port);
        if (p?.Vrf is not ServedVrf vrf || p.Gone || p.Bindings.Count == 0)
        {
            throw new NetFpcRefusedException(
                Errno.ENODEV, $"port {p?.Configured.ToString() ?? $"{port}"}: there is no such port, or its interface is missing; `fpctl port show` lists the ports");
        }

        if (frames.Count > DryRun.MaxFrames || frames.Any(f => f.IsEmpty || f.Length > DryRun.MaxFrame) || frames.Sum(f => f.Length) > MaxBytes)
        {
            throw new NetFpcRefusedException(Errno.EMSGSIZE, $"at most {DryRun.MaxFrames} frames of 1 to {DryRun.MaxFrame} bytes, {MaxBytes} in all, can be explained at once");
        }

        DryRun run = RunFor(vrf);
        run.Load(frames);
        bool partialChecksums = p.Bindings[0].Socket->PartialChecksums;
        if (!engine.Workers[0].TryDo(() => run.Run(in *vrf.TablesOf(0), port, partialChecksums), s_patience))
        {
            throw new NetFpcRefusedException(Errno.ETIMEDOUT, $"worker 0 made no progress for {s_patience.TotalMilliseconds:0} ms; see `fpctl status`");
        }

        XdpTwin twin = TwinFor(vrf);
        ulong configuration = p.Configuration;
        return [.. frames.Zip(run.Outcomes(), (f, o) => (twin.Ask(f.Span, configuration), o))];
    }

    public void Dispose()
    {
        _run?.Dispose();
        _twin?.Dispose();
    }

    private DryRun RunFor(ServedVrf vrf)
    {
        if (_run is null || _run.Neighbours < vrf.Segments.UseStamps.Capacity)
        {
            _run?.Dispose();
            _run = new DryRun(vrf.Segments.UseStamps.Capacity);
        }

        return _run;
    }

    private XdpTwin TwinFor(ServedVrf vrf)
    {
        if (_twin is null || _twinOf != vrf.Xdp)
        {
            _twin?.Dispose();
            _twin = null;
            _twin = new XdpTwin(vrf.Xdp);
            _twinOf = vrf.Xdp;
        }

        return _twin;
    }
}
