using FastPathSync.Bpf;
using FastPathSync.Fpctl.Features.Policer;

namespace FastPathSync.Fpctl.Tests.Policer;

/// <summary>A policer that is loaded and attached nowhere.</summary>
internal sealed class Loaded : IDisposable
{
    private readonly BpfObject _object;
    private readonly BpfProgram _program;

    public Loaded(PolicerSettings settings, uint flows = PolicerLayout.DefaultFlows, bool packetClock = true)
    {
        _object = settings.Open(flows, packetClock);
        _object.Load();
        _program = _object.Program(PolicerLayout.Program);
    }

    public List<(PolicerKey Key, PolicerFlow Flow)> Flows => _object.Map(PolicerLayout.Flows).All<PolicerKey, PolicerFlow>();

    public uint Run(long time, ReadOnlySpan<byte> frame) => _program.RunAt(time, frame);

    public ulong Total(uint which) => _object.Map(PolicerLayout.Totals).Sum(which);

    public void Dispose() => _object.Dispose();
}
