using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using FastPathSync.Fpctl.Cli;
using FastPathSync.Fpctl.Inspection;

namespace FastPathSync.Fpctl.Features.Graph;

/// <summary>The nodes of the packet path, and how many packets went along each edge.</summary>
internal static class GraphCommand
{
    private static readonly Option<string?> s_svg = new("--svg") { Description = "draw it into this file", HelpName = "FILE" };
    private static readonly Option<bool> s_declared = new("--declared") { Description = "only the graph itself, without counters: no instance needs to run" };
    private static readonly Option<bool> s_all = new("--all") { Description = "edges that no packet took, too" };

    public static Command Create()
    {
        Command graph = CliContext.Action(new Command("graph", "the nodes that packets go through, the edges between them, and how many took each"), Run);
        graph.Options.Add(s_svg);
        graph.Options.Add(s_declared);
        graph.Options.Add(s_all);
        return graph;
    }

    private static int Run(CliContext context, ParseResult parsed)
    {
        GraphSnapshot graph = parsed.GetValue(s_declared) ? GraphSnapshot.Declared() : Take(context);
        if (parsed.GetValue(s_svg) is string path)
        {
            try
            {
                File.WriteAllText(path, GraphSvg.Of(graph));
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                throw new CliError($"'{path}': {e.Message}");
            }
        }
        else if (context.Json)
        {
            CliContext.WriteJson(w => JsonSerializer.Serialize(w, graph, FpctlJson.Default.GraphSnapshot));
        }
        else
        {
            WriteText(graph, everything: parsed.GetValue(s_declared) || parsed.GetValue(s_all));
        }

        return 0;
    }

    private static GraphSnapshot Take(CliContext context)
    {
        using InstanceTables tables = new(context.TryOpenSegment);
        return GraphSnapshot.Take(tables);
    }

    private static void WriteText(GraphSnapshot graph, bool everything)
    {
        const int NameWidth = 44;
        foreach (GraphNode n in graph.Nodes)
        {
            Line($"{n.Name}", n.Packets);
            foreach (GraphEdge e in graph.Edges.Where(e => e.From == n.Name && (everything || e.Packets > 0)))
            {
                Line($"    {(e.Reason is null ? $"> {e.To}" : e.To == GraphSnapshot.Drop ? $"drop: {e.Reason}" : $"to linux: {e.Reason}")}", e.Packets);
            }
        }

        static void Line(string name, ulong? packets) =>
            Console.Out.WriteLine(packets is ulong p ? string.Create(CultureInfo.InvariantCulture, $"{name.PadRight(NameWidth)} {p,16:N0}") : name);
    }
}
