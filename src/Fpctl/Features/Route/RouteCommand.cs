using System.CommandLine;
using System.Text.Json;
using FastPathSync.Fpctl.Cli;
using FastPathSync.Fpctl.Inspection;
using FastPathSync.SharedMemory.Tables;
using Spectre.Console;

namespace FastPathSync.Fpctl.Features.Route;

internal static class RouteCommand
{
    private static readonly Option<string> s_table = new("--table")
    {
        Description = "routes of this table only",
        HelpName = "main|local|default|all",
        DefaultValueFactory = _ => "all",
    };

    private static readonly Argument<string> s_address = new("ADDR") { Description = "an IPv4 or IPv6 destination" };

    public static Command Create()
    {
        s_table.AcceptOnlyFromAmong("main", "local", "default", "all");
        Command show = ShowCommand.Create(
            "routes, and what the fast path does by them", FpctlJson.Default.IEnumerableRouteView,
            (_, tables, parsed) => Show(tables, FamilyOptions.Of(parsed), Table(parsed.GetValue(s_table)!)),
            ["route", "via", "dev", "table", "proto", "metric", "src", "fast path", "lladdr"], Cells);
        show.Options.Add(s_table);
        FamilyOptions.AddTo(show);
        Command get = CliContext.Action(new Command("get", "look a destination up as a worker would: route, nexthop, neighbour, verdict"), Get);
        get.Arguments.Add(s_address);
        return new Command("route", "the routes, as the fast path knows them") { show, get };
    }

    private static IEnumerable<RouteView> Show(InstanceTables tables, Families families, uint? table) =>
        ((families & Families.Ipv4) != 0 ? new RouteReader(tables).Show(table) : [])
        .Concat((families & Families.Ipv6) != 0 ? new Route6Reader(tables).Show(table) : []);

    private static int Get(CliContext context, ParseResult parsed)
    {
        string text = parsed.GetValue(s_address)!;
        bool ipv4 = Ipv4Text.TryParse(text, out uint address);
        IpAddress address6 = default;
        if (!ipv4 && !Ip6Text.TryParse(text, out address6))
        {
            throw new CliError($"'{text}' is no IP address; write one like 10.9.0.1 or 2001:db8::1", CliError.Usage);
        }

        using InstanceTables tables = ShowCommand.Open(context);
        RouteGetView view = ipv4 ? new RouteReader(tables).Get(address) : new Route6Reader(tables).Get(address6);
        if (context.Json)
        {
            CliContext.WriteJson(w => JsonSerializer.Serialize(w, view, FpctlJson.Default.RouteGetView));
        }
        else
        {
            WriteText(context.Console, view);
        }

        return 0;
    }

    private static void WriteText(IAnsiConsole console, RouteGetView v)
    {
        Grid grid = new Grid().AddColumn().AddColumn();
        void Line(string name, string text) => grid.AddRow($"[bold]{name}[/]", Markup.Escape(text));
        Line("destination", v.Dst);
        Line("route", v.Route is RouteView r
            ? $"{(r.Type == "unicast" ? "" : r.Type + " ")}{r.Dst}{(r.Gateway is null ? "" : $" via {r.Gateway}")}"
                + $"{(r.Dev is null ? "" : $" dev {r.Dev}")} table {r.Table} proto {r.Protocol}{(r.Metric is null ? "" : $" metric {r.Metric}")}"
                + (r.Nhid is null ? "" : $" nhid {r.Nhid}")
            : "none");
        Line("nexthop", $"{v.Nexthop.Index} ({v.Nexthop.Kind}{(v.Nexthop.Id is null ? "" : $", id {v.Nexthop.Id}")}) by {v.Nexthop.Prefix}"
            + (v.Gateway is null ? "" : $" via {v.Gateway}") + (v.Dev is null ? "" : $" dev {v.Dev}"));
        foreach (RouteNexthopView n in v.Nexthops ?? [])
        {
            Line("", $"{(n.Gateway is null ? "" : $"via {n.Gateway} ")}dev {n.Dev} weight {n.Weight}: {Cell.Verdict(n.Fastpath, n.Reason)}"
                + (n.Lladdr is null ? "" : $" to {n.Lladdr}"));
        }

        if (v.Neighbour is Neighbour.NeighbourView x)
        {
            Line("neighbour", $"{x.Dst} dev {x.Dev} {(x.Lladdr is null ? "" : $"lladdr {x.Lladdr} ")}{string.Join(',', x.State)}");
        }

        if (v.Mtu is uint mtu)
        {
            Line("mtu", $"{mtu}");
        }

        Line("verdict", v.Fastpath == "forward" ? $"forward{(v.Port is null ? "" : $" via port {v.Port}")}" : $"punt to Linux: {v.Reason}");
        console.Write(grid);
        if (v.Warning is string warning)
        {
            console.MarkupLine($"[yellow]{Markup.Escape(warning)}[/]");
        }
    }

    private static IEnumerable<string[]> Cells(RouteView r) =>
    [
        [
            $"{(r.Type == "unicast" ? "" : r.Type + " ")}{r.Dst}{(r.From is null ? "" : $" from {r.From}")}{(r.Tos is null ? "" : $" tos {r.Tos}")}", r.Nhid is uint id ? $"{r.Gateway} nhid {id}".Trim() : Cell.Of(r.Gateway),
            Cell.Of(r.Dev), r.Table, r.Protocol, Cell.Of(r.Metric), Cell.Of(r.Prefsrc),
            r.Active ? Cell.Verdict(r.Fastpath, r.Reason) : "not in force", Cell.Of(r.Lladdr),
        ],
        .. (r.Nexthops ?? []).Select(n => new[]
        {
            $"  weight {n.Weight}", Cell.Of(n.Gateway), Cell.Of(n.Dev), "", "", "", "", Cell.Verdict(n.Fastpath, n.Reason), Cell.Of(n.Lladdr),
        }),
    ];

    private static uint? Table(string name) => name switch
    {
        "main" => KernelNames.TableMain,
        "local" => KernelNames.TableLocal,
        "default" => KernelNames.TableDefault,
        _ => null,
    };
}
