using FastPathSync.Fpc;
using FastPathSync.Fpc.Protocol;
using Wire = FastPathSync.Fpc.Protocol;

namespace FastPathSync.CacheManager.Features.Settings;

/// <summary>Settings that change forwarding and that nobody announces, as SysctlProbe last saw them.</summary>
public sealed class SettingsFeature(Action wake) : PolledFeature<Wire.Settings>(wake)
{
    public override ObjectKind Kind => ObjectKind.Settings;

    protected override FpcType MessageType => FpcType.Settings;

    protected override int CountOf(Wire.Settings now) => 1;
}
