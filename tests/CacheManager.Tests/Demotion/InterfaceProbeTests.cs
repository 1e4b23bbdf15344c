using FastPathSync.CacheManager.Features.Demotion;
using FastPathSync.Fpc.Protocol;

namespace FastPathSync.CacheManager.Tests.Demotion;

/// <summary>VLAN devices from made-up interfaces: not every kernel that runs the tests has them.</summary>
public sealed class InterfaceProbeTests
{
    [Fact]
    public void VlansDemoteTheInterfaceBelowThemOnce()
    {
        Finding found = Assert.Single(Look(Hardware(2, "r0"), Hardware(3, "r1"), Vlan(5, "r0.20", 2), Vlan(4, "r0.10", 2)));
        Assert.Equal(
            new Finding("r0 vlan", "VLAN sub-interface r0.10 and 1 more on r0: tags may be stripped before XDP sees the frame", DemotionEffect.Ingress, 2),
            found);
    }

    [Fact]
    public void OtherUpperInterfacesAreNoVlans() =>
        Assert.Empty(Look(Hardware(2, "r0"), new InterfaceInfo(3, "m0", "macvlan", 0, 0, true, 0, 2), Vlan(4, "v0", 99)));

    private static List<Finding> Look(params InterfaceInfo[] interfaces)
    {
        using InterfaceProbe probe = new();
        List<Finding> findings = [];
        probe.Look(new InterfaceSet(interfaces), findings);
        return findings;
    }

    private static InterfaceInfo Hardware(uint index, string name) => new(index, name, "", 0, 0, true, 0, 0);

    private static InterfaceInfo Vlan(uint index, string name, uint link) => new(index, name, "vlan", 0, 0, true, 0, link);
}
