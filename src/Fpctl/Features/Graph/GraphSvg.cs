using System.Globalization;
using System.Text;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.Fpctl.Features.Graph;

/// <summary>Draws the graph: a column for each step of a packet's way, a box for each node with what it hands to Linux, and lines for what goes on.</summary>
internal static class GraphSvg
{
    private const int Width = 172, Gap = 46, Top = 56, Line = 13, Head = 24, Between = 18;

    private static readonly string[][] s_columns =
    [
        [GraphSnapshot.Xdp],
        [Name(PipelineNode.EthernetInput)],
        [Name(PipelineNode.Ipv4Input), Name(PipelineNode.Ipv6Input)],
        [Name(PipelineNode.Ipv4Rule), Name(PipelineNode.Ipv4Lookup), Name(PipelineNode.Ipv6Lookup), Name(PipelineNode.Ipv6Rule)],
        [Name(PipelineNode.Ipv4Forward), Name(PipelineNode.Ipv6Forward)],
        [Name(PipelineNode.InterfaceOutput)],
        [Name(PipelineNode.L4Checksum), Name(PipelineNode.PacketTap)],
        [GraphSnapshot.Transmit, GraphSnapshot.Punt],
    ];

    public static string Of(GraphSnapshot graph)
    {
        Dictionary<string, Box> boxes = [];
        int height = s_columns.Max(c => HeightOf(graph, c));
        for (int x = 0; x < s_columns.Length; x++)
        {
            int y = Top + ((height - HeightOf(graph, s_columns[x])) / 2);
            foreach (string name in s_columns[x])
            {
                Box b = new(Gap / 2 + (x * (Width + Gap)), y, Reasons(graph, name));
                boxes[name] = b;
                y += b.Height + Between;
            }
        }

        StringBuilder s = new();
        int width = s_columns.Length * (Width + Gap);
        s.Append(CultureInfo.InvariantCulture, $"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{Top + height + Between}\" font-family=\"sans-serif\" font-size=\"11\">\n");
        s.Append(CultureInfo.InvariantCulture, $"<rect width=\"{width}\" height=\"{Top + height + Between}\" fill=\"#ffffff\"/>\n");
        s.Append(CultureInfo.InvariantCulture, $"<text x=\"{Gap / 2}\" y=\"22\" font-size=\"15\">The packet path</text>\n");
        s.Append(CultureInfo.InvariantCulture, $"<text x=\"{Gap / 2}\" y=\"40\" fill=\"#555555\">In each box, in red: for which reasons it hands a packet to Linux; in grey: for which it ends there.</text>\n");
        foreach (GraphEdge e in graph.Edges.Where(e => e.Reason is null && boxes.ContainsKey(e.To)))
        {
            Edge(s, boxes[e.From], boxes[e.To], e.Packets);
        }

        foreach (GraphNode n in graph.Nodes)
        {
            Node(s, n, boxes[n.Name]);
        }

        return s.Append("</svg>\n").ToString();
    }

    private static int HeightOf(GraphSnapshot graph, string[] column) =>
        column.Sum(n => new Box(0, 0, Reasons(graph, n)).Height) + ((column.Length - 1) * Between);

    private static List<GraphEdge> Reasons(GraphSnapshot graph, string node) => [.. graph.Edges.Where(e => e.From == node && e.Reason is not null)];

    private static void Edge(StringBuilder s, Box from, Box to, ulong? packets)
    {
        (int x1, int y1, int x2, int y2) = to.X > from.X
            ? (from.X + Width, from.Y + (Head / 2), to.X, to.Y + (Head / 2))
            : (from.X + (Width / 2), from.Y + from.Height, to.X + (Width / 2), to.Y);
        int bend = to.X > from.X ? Gap / 2 : 0;
        s.Append(CultureInfo.InvariantCulture, $"<path d=\"M{x1} {y1} C{x1 + bend} {y1} {x2 - bend} {y2} {x2} {y2}\" fill=\"none\" stroke=\"#2e6f9e\" stroke-width=\"1.5\"/>\n");
        s.Append(CultureInfo.InvariantCulture, $"<circle cx=\"{x2}\" cy=\"{y2}\" r=\"3\" fill=\"#2e6f9e\"/>\n");
        if (packets is ulong n)
        {
            s.Append(CultureInfo.InvariantCulture, $"<text x=\"{x2 - 5}\" y=\"{y2 - 5}\" text-anchor=\"end\" font-size=\"9\" fill=\"#2e6f9e\">{n}</text>\n");
        }
    }

    private static void Node(StringBuilder s, GraphNode node, Box box)
    {
        s.Append(CultureInfo.InvariantCulture, $"<rect x=\"{box.X}\" y=\"{box.Y}\" width=\"{Width}\" height=\"{box.Height}\" rx=\"4\" fill=\"#f4f8fb\" stroke=\"#2e6f9e\"/>\n");
        s.Append(CultureInfo.InvariantCulture, $"<text x=\"{box.X + 8}\" y=\"{box.Y + 16}\" font-weight=\"bold\">{node.Name}</text>\n");
        Number(s, box.X + Width - 8, box.Y + 16, node.Packets);
        for (int i = 0; i < box.Reasons.Count; i++)
        {
            GraphEdge e = box.Reasons[i];
            int y = box.Y + Head + (i * Line) + 8;
            s.Append(CultureInfo.InvariantCulture, $"<text x=\"{box.X + 8}\" y=\"{y}\" fill=\"{(e.To == GraphSnapshot.Drop ? "#777777" : "#b03a2e")}\">{e.Reason}</text>\n");
            Number(s, box.X + Width - 8, y, e.Packets);
        }
    }

    private static void Number(StringBuilder s, int x, int y, ulong? packets)
    {
        if (packets is ulong n)
        {
            s.Append(CultureInfo.InvariantCulture, $"<text x=\"{x}\" y=\"{y}\" text-anchor=\"end\">{n}</text>\n");
        }
    }

    private static string Name(PipelineNode node) => ReasonNames.Of(node);

    private sealed record Box(int X, int Y, IReadOnlyList<GraphEdge> Reasons)
    {
        public int Height => Head + (Reasons.Count * Line) + (Reasons.Count > 0 ? 4 : 0);
    }
}
