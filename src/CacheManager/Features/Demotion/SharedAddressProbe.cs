using FastPathSync.Fpc.Protocol;
using FastPathSync.Netlink.Rtnetlink;

namespace FastPathSync.CacheManager.Features.Demotion;

/// <summary>
/// An ipvlan has the address of the interface below it, and so has a macvlan in mode passthru: they take packets that the fast
/// path would take for the lower interface's own.
/// </summary>
internal sealed class SharedAddressProbe : Probe
{
    private RtnetlinkDump? _dump;

    public override string Name => "shared addresses";

    // Links announce themselves to cmgrd, whose change of the interfaces brings a look.
    public override TimeSpan Period => TimeSpan.FromSeconds(5);

    public override void Open() => _dump = new RtnetlinkDump();

    public override void Look(InterfaceSet interfaces, List<Finding> findings)
    {
        if (interfaces.Forwarding.Any(Takes))
        {
            Judge(_dump!.Links(), interfaces, findings);
        }
    }

    internal static void Judge(IReadOnlyList<LinkMessage> links, InterfaceSet interfaces, List<Finding> findings)
    {
        Dictionary<int, LinkMessage> byIndex = links.ToDictionary(l => l.Index);
        foreach (LinkMessage upper in links)
        {
            if (interfaces.TryFind((uint)upper.Index, out InterfaceInfo i) && Takes(i)
                && byIndex.TryGetValue(upper.Link, out LinkMessage? lower) && lower.Address.AsSpan().SequenceEqual(upper.Address))
            {
                findings.Add(new Finding($"{lower.Name} {upper.Kind} {upper.Name}", $"{upper.Name} takes packets that {lower.Name} receives", DemotionEffect.Ingress, (uint)lower.Index));
            }
        }
    }

    public override void Dispose()
    {
        _dump?.Dispose();
        _dump = null;
    }

    private static bool Takes(InterfaceInfo i) => i.Kind is "ipvlan" or "ipvtap" or "macvlan" or "macvtap";
}
