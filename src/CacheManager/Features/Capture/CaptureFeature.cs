using FastPathSync.Fpc;
using FastPathSync.Fpc.Protocol;

namespace FastPathSync.CacheManager.Features.Capture;

/// <summary>The packet sockets that want to see what is forwarded, as PacketSocketProbe last saw them.</summary>
public sealed class CaptureFeature(Action wake) : PolledFeature<Captures>(wake)
{
    public override ObjectKind Kind => ObjectKind.Capture;

    protected override FpcType MessageType => FpcType.Capture;

    protected override int CountOf(Captures now) => now.Sockets.Count;
}
