using FastPathSync.Bpf;
using FastPathSync.FastPath.Ports;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FastPath.Explain;

/// <summary>
/// The XDP program of a port once more, attached nowhere: it answers what the port's own would (BPF_PROG_TEST_RUN), by the same
/// heartbeat, addresses and configuration, with counters of its own.
/// </summary>
internal sealed unsafe class XdpTwin : IDisposable
{
    private const int ShortestFrame = 14;

    /// <summary>A page less what the kernel keeps of it; of more bytes than the headers only their number counts.</summary>
    private const int LongestFrame = 2048;

    private readonly BpfObject _program;
    private readonly ulong* _config;
    private readonly ulong[] _counted = new ulong[(int)PassReason.Count];

    public XdpTwin(XdpShared shared)
    {
        _program = BpfObject.Open("xdp_redirect");
        try
        {
            _program.SetConstants(".rodata.constants", new XdpConstants());
            shared.ShareWith(_program);
            _program.Load();
            _config = (ulong*)_program.MapMemory(".data.config");
        }
        catch
        {
            _program.Dispose();
            throw;
        }
    }

    /// <summary>Why Linux gets the packet at once; null: a worker gets it.</summary>
    /// <param name="configuration">The port's word.</param>
    public PassReason? Ask(ReadOnlySpan<byte> frame, ulong configuration)
    {
        if (frame.Length < ShortestFrame)
        {
            return PassReason.Truncated; // the kernel gives the program none such
        }

        if (frame.Length > LongestFrame)
        {
            ulong admitted = XdpLayout.LengthOf(configuration);
            configuration = admitted == 0 || (ulong)frame.Length <= admitted ? configuration : XdpLayout.WithLength(configuration, LongestFrame - 1);
            frame = frame[..LongestFrame];
        }

        *_config = configuration;
        _ = _program.Program("xdp_redirect").Run(frame, [], out _);
        BpfMap passed = _program.Map("passed");
        PassReason? reason = null;
        for (int i = 0; i < _counted.Length; i++)
        {
            ulong now = passed.Sum((uint)i);
            reason = now != _counted[i] ? (PassReason)i : reason;
            _counted[i] = now;
        }

        return reason is PassReason.NoSocket ? null : reason; // it has no sockets: there it would have been redirected
    }

    public void Dispose() => _program.Dispose();
}
