using FastPathSync.NetFpc.Protocol;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.Fpctl.Inspection;

/// <summary>Verdicts, reasons and ways through the graph, in words.</summary>
internal static class Verdicts
{
    public const string Pass = "pass";

    public static string Name(Verdict verdict) => verdict switch
    {
        Verdict.Forward => "forward",
        Verdict.Punt => "punt",
        Verdict.Drop => "drop",
        _ => "unknown",
    };

    /// <summary>null: forwarded.</summary>
    public static string? Reason(Verdict verdict, uint reason) => verdict switch
    {
        Verdict.Punt when reason < (uint)PuntReason.Count => ReasonNames.Of((PuntReason)reason),
        Verdict.Drop when reason < (uint)DropReason.Count => ReasonNames.Of((DropReason)reason),
        Verdict.Forward => null,
        _ => $"reason-{reason}",
    };

    /// <summary>The nodes of a way, in their order.</summary>
    public static IEnumerable<PipelineNode> Nodes(uint way) => PipelineGraph.Nodes.Where(n => (way >> (int)n & 1) != 0);
}
