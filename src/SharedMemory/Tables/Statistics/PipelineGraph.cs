namespace FastPathSync.SharedMemory.Tables;

/// <summary>
/// The nodes of the packet path (src/FastPath/Nodes), numbered in an order in which packets come through them: a set of them, as
/// bits, is a packet's way. The numbers are part of the layout.
/// </summary>
public enum PipelineNode : byte
{
    EthernetInput = 0,
    Ipv4Input = 1,
    Ipv4Rule = 2,
    Ipv4Lookup = 3,
    Ipv4Forward = 4,
    Ipv6Input = 5,
    Ipv6Rule = 6,
    Ipv6Lookup = 7,
    Ipv6Forward = 8,
    InterfaceOutput = 9,
    L4Checksum = 10,

    /// <summary>Beside the path: takes for a packet socket of one protocol what was to be forwarded.</summary>
    PacketTap = 11,
    Count = 12,
}

/// <summary>
/// The graph as it is declared: where a packet may go from each node, and for which reasons it may be handed to Linux there.
/// FastPath's tests hold that Pipeline.Run keeps to it; `fpctl graph` draws it.
/// </summary>
public static class PipelineGraph
{
    /// <summary>What the word of a nexthop may say (NexthopWord.Punt), and a neighbour that isn't known.</summary>
    private static readonly PuntReason[] s_ofRoutes =
    [
        PuntReason.NoRoute, PuntReason.NoNeighbour, PuntReason.Local, PuntReason.Broadcast, PuntReason.Multicast, PuntReason.Blackhole,
        PuntReason.Unreachable, PuntReason.Prohibit, PuntReason.Throw, PuntReason.RouteUnsupported, PuntReason.EgressNotAPort,
        PuntReason.LinkDown, PuntReason.Demoted, PuntReason.Encapsulation, PuntReason.TableFull,
    ];

    /// <summary>By the way back of an IPv4 packet's source, where it is looked up: what isn't known well enough has the word's reason.</summary>
    private static readonly PuntReason[] s_ofTheWayBack =
    [
        PuntReason.MartianSource, PuntReason.ReversePath, PuntReason.RouteUnsupported, PuntReason.LinkDown, PuntReason.TosRoute,
        PuntReason.TableFull,
    ];

    private static readonly (PipelineNode[] Next, PuntReason[] Punts)[] s_edges = new (PipelineNode[], PuntReason[])[(int)PipelineNode.Count];

    static PipelineGraph()
    {
        Declare(PipelineNode.EthernetInput, [PipelineNode.Ipv4Input, PipelineNode.Ipv6Input], PuntReason.Truncated, PuntReason.NotIp, PuntReason.Demoted);
        Declare(
            PipelineNode.Ipv4Input, [PipelineNode.Ipv4Rule, PipelineNode.Ipv4Lookup],
            [
                PuntReason.HeaderError, PuntReason.Truncated, PuntReason.ChecksumError, PuntReason.IpOptions, PuntReason.Multicast,
                PuntReason.Broadcast, PuntReason.MartianDestination, .. s_ofTheWayBack,
            ]);
        Declare(PipelineNode.Ipv4Rule, [PipelineNode.Ipv4Forward], [.. s_ofRoutes, .. s_ofTheWayBack, PuntReason.RuleUnsupported]);
        Declare(PipelineNode.Ipv4Lookup, [PipelineNode.Ipv4Forward], [.. s_ofRoutes, PuntReason.TosRoute]);
        Declare(PipelineNode.Ipv4Forward, [PipelineNode.InterfaceOutput], PuntReason.TtlExpired, PuntReason.FragmentationNeeded, PuntReason.RedirectNeeded);
        Declare(
            PipelineNode.Ipv6Input, [PipelineNode.Ipv6Rule, PipelineNode.Ipv6Lookup],
            PuntReason.HeaderError, PuntReason.Truncated, PuntReason.MartianSource, PuntReason.MartianDestination, PuntReason.Multicast,
            PuntReason.ExtensionHeader, PuntReason.LinkLocal);
        Declare(PipelineNode.Ipv6Rule, [PipelineNode.Ipv6Forward], [.. s_ofRoutes, PuntReason.SourceRoute, PuntReason.AmbiguousRoute, PuntReason.RuleUnsupported]);
        Declare(PipelineNode.Ipv6Lookup, [PipelineNode.Ipv6Forward], [.. s_ofRoutes, PuntReason.SourceRoute, PuntReason.AmbiguousRoute]);
        Declare(PipelineNode.Ipv6Forward, [PipelineNode.InterfaceOutput], PuntReason.TtlExpired, PuntReason.FragmentationNeeded, PuntReason.RedirectNeeded);
        Declare(PipelineNode.InterfaceOutput, [PipelineNode.L4Checksum, PipelineNode.PacketTap]);
        Declare(PipelineNode.L4Checksum, [PipelineNode.PacketTap]);
        Declare(PipelineNode.PacketTap, [], PuntReason.PacketSocket);
    }

    public static IEnumerable<PipelineNode> Nodes => Enumerable.Range(0, (int)PipelineNode.Count).Select(n => (PipelineNode)n);

    public static IReadOnlyList<PipelineNode> Next(PipelineNode node) => s_edges[(int)node].Next;

    public static IReadOnlyList<PuntReason> Punts(PipelineNode node) => s_edges[(int)node].Punts;

    /// <summary>A forwarded packet leaves the graph here.</summary>
    public static bool Forwards(PipelineNode node) => node is PipelineNode.InterfaceOutput or PipelineNode.L4Checksum or PipelineNode.PacketTap;

    private static void Declare(PipelineNode node, PipelineNode[] next, params PuntReason[] punts) =>
        s_edges[(int)node] = (next, [.. punts.Distinct().Order()]);
}
