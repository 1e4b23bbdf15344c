using System.CommandLine;
using FastPathSync.Fpctl.Inspection;

namespace FastPathSync.Fpctl.Features.Vrf;

internal static class VrfCommand
{
    public static Command Create() => new("vrf", "the VRFs (network namespaces) of the instance")
    {
        ShowCommand.Create(
            "synchronization, demotions and table sizes", FpctlJson.Default.IEnumerableVrfView,
            (_, tables, _) => [new VrfReader(tables).Show(VrfReader.NamespaceName(tables.ManagerPid))],
            ["vrf", "synced", "all to Linux", "demotions", "interfaces", "addresses", "routes", "nexthops", "neighbours"],
            v => [[v.Name, v.Synced ? "yes" : "no", v.PassAll ? "yes (see status)" : "no", Cell.Of(v.Demotions), Size(v.Tables.Interfaces),
                Size(v.Tables.Addresses), Size(v.Tables.Routes), Size(v.Tables.Nexthops), Size(v.Tables.Neighbours)]]),
    };

    private static string Size(TableSize s) => $"{s.Used}/{s.Capacity}";
}
