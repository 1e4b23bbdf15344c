using System.CommandLine;
using FastPathSync.Fpctl.Inspection;

namespace FastPathSync.Fpctl.Features.Vrf;

internal static class VrfCommand
{
    public static Command Create() => new("vrf", "the VRFs (network namespaces) of the instance")
    {
        ShowCommand.Create(
            "synchronization, ports, demotions, table sizes and memory", FpctlJson.Default.IEnumerableVrfView,
            (context, tables, _) => new VrfReader(tables).Show(context.Vrf is not null),
            ["vrf", "synced", "ports", "all to Linux", "demotions", "interfaces", "addresses", "routes", "nexthops", "neighbours", "memory"],
            v => [[v.Name, v.Synced ? "yes" : "no", Cell.Of(v.Ports), v.PassAll ? "yes (see status)" : "no", Cell.Of(v.Demotions), Size(v.Tables.Interfaces),
                Size(v.Tables.Addresses), Size(v.Tables.Routes), Size(v.Tables.Nexthops), Size(v.Tables.Neighbours), Kilobytes(v.Memory)]]),
    };

    private static string Size(TableSize s) => $"{s.Used}/{s.Capacity}";

    private static string Kilobytes(ulong bytes) => bytes < 10 << 20 ? $"{bytes >> 10} KB" : $"{bytes >> 20} MB";
}
