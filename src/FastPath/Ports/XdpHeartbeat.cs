using FastPathSync.Bpf;
using FastPathSync.Hosting;
using FastPathSync.Linux;

namespace FastPathSync.FastPath.Ports;

/// <summary>The alive word that the XDP programs of all ports share, and the timer that keeps it (bpf/heartbeat.bpf.c).</summary>
internal sealed unsafe class XdpHeartbeat : IDisposable
{
    private readonly BpfObject _program;
    private readonly byte* _beats;
    private readonly ulong* _alive;

    public XdpHeartbeat()
    {
        _program = BpfObject.Open("heartbeat");
        try
        {
            _program.Load();
            _beats = _program.MapMemory(".data.beats");
            _alive = (ulong*)_program.MapMemory(".data.alive");
            if (_program.Program("heartbeat_arm").Run(new byte[14], [], out _) != 0)
            {
                throw new DaemonStartException(Errno.EOPNOTSUPP, "the kernel refused the eBPF heartbeat timer (bpf_timer needs Linux 5.15)");
            }
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>Whether every watched worker makes progress, as the timer saw it last.</summary>
    public bool Alive => Volatile.Read(ref *_alive) != 0;

    public ulong* Beat(int worker) => (ulong*)(_beats + XdpLayout.BeatOffset(worker));

    /// <summary>From now on the heartbeat of workers 0 to count-1 is what keeps the fast path in force.</summary>
    public void Watch(int workers) => Volatile.Write(ref *(ulong*)_beats, (ulong)workers);

    public void ShareWith(BpfObject program) => program.ShareMap(".data.alive", _program.Map(".data.alive"));

    public void Dispose() => _program.Dispose();
}
