using System.CommandLine;
using FastPathSync.Fpctl.Inspection;

namespace FastPathSync.Fpctl.Features.Nexthop;

internal static class NexthopCommand
{
    public static Command Create() => new("nexthop", "the nexthops that routes lead to")
    {
        ShowCommand.Create(
            "nexthops, objects of `ip nexthop` or made of routes", FpctlJson.Default.IEnumerableNexthopView,
            (_, tables, _) => new NexthopReader(tables).Show(),
            ["index", "id", "kind", "via", "dev", "mtu", "routes", "fast path", "lladdr", "port"],
            n =>
            [
                [Cell.Of(n.Index), Cell.Of(n.Id), n.Kind, Cell.Of(n.Gateway), Cell.Of(n.Dev), Cell.Of(n.Mtu), Cell.Of(n.Routes),
                    Cell.Verdict(n.Fastpath, n.Reason), Cell.Of(n.Lladdr), Cell.Of(n.Port)],
                .. (n.Group ?? []).Select(m => new[]
                {
                    "", Cell.Of(m.Id), $"weight {m.Weight}", $"index {m.Index}", "", "", "", Cell.Verdict(m.Fastpath, m.Reason), "", "",
                }),
            ]),
    };
}
