using FastPathSync.Fpctl.Features.Graph;

namespace FastPathSync.Fpctl.Tests.Graph;

public sealed class GraphTests
{
    /// <summary>docs/graph.svg is drawn by: out/fpctl graph --declared --svg docs/graph.svg</summary>
    [Fact]
    public void TheDrawingInTheDocumentationIsThatOfTheDeclaredGraph()
    {
        string path = Path.Combine(Root(), "docs/graph.svg"), drawn = GraphSvg.Of(GraphSnapshot.Declared());
        if (Environment.GetEnvironmentVariable("FPS_UPDATE_GOLDEN") == "1")
        {
            File.WriteAllText(path, drawn);
        }

        Assert.True(File.Exists(path) && File.ReadAllText(path) == drawn, "docs/graph.svg is out of date: out/fpctl graph --declared --svg docs/graph.svg");
    }

    [Fact]
    public void EveryNodeIsDrawnAndEveryEdgeLeadsSomewhere()
    {
        GraphSnapshot graph = GraphSnapshot.Declared();
        string svg = GraphSvg.Of(graph);
        Assert.All(graph.Nodes, n => Assert.Contains($">{n.Name}</text>", svg, StringComparison.Ordinal));
        HashSet<string> ends = [.. graph.Nodes.Select(n => n.Name), GraphSnapshot.Linux, GraphSnapshot.Drop];
        Assert.All(graph.Edges, e => Assert.True(ends.Contains(e.From) && ends.Contains(e.To), $"{e.From} to {e.To}"));
        Assert.All(graph.Nodes.Skip(1), n => Assert.Contains(graph.Edges, e => e.To == n.Name));
    }

    private static string Root()
    {
        DirectoryInfo? d = new(AppContext.BaseDirectory);
        while (d is not null && !File.Exists(Path.Combine(d.FullName, "FastPathSync.sln")))
        {
            d = d.Parent;
        }

        return d?.FullName ?? throw new InvalidOperationException($"no FastPathSync.sln above {AppContext.BaseDirectory}");
    }
}
