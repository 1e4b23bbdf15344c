using System.CommandLine;
using FastPathSync.Fpctl.Inspection;

namespace FastPathSync.Fpctl.Features.Neighbour;

internal static class NeighbourCommand
{
    public static Command Create()
    {
        Command show = ShowCommand.Create(
            "neighbours with state and last use by the fast path", FpctlJson.Default.IEnumerableNeighbourView,
            (_, tables, parsed) => new NeighbourReader(tables).Show(FamilyOptions.Of(parsed)),
            ["neighbour", "dev", "lladdr", "state", "fast path", "used"],
            n => [[n.Dst, n.Dev, Cell.Of(n.Lladdr), string.Join(',', n.State), Cell.Verdict(n.Fastpath, n.Reason), Cell.Ago(n.Used)]]);
        FamilyOptions.AddTo(show);
        return new Command("neigh", "the neighbours of this host, as the fast path knows them") { show };
    }
}
