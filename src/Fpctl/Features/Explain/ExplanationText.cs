using FastPathSync.Fpctl.Features.Route;
using FastPathSync.Fpctl.Features.Rule;

namespace FastPathSync.Fpctl.Features.Explain;

/// <summary>An explanation on a few lines: the way first, then why, then the verdict, then the kernel.</summary>
internal static class ExplanationText
{
    public static IEnumerable<string> Lines(ExplanationView v)
    {
        yield return $"{v.Port}: {v.Packet}";
        yield return v.Verdict == Inspection.Verdicts.Pass ? "  way        xdp" : $"  way        xdp > {string.Join(" > ", v.Nodes)}";
        if (v.Rule is RuleView rule)
        {
            yield return $"  rule       {rule.Priority}: {RuleViews.Text(rule)}";
        }

        if (v.Nexthop is NexthopReference nexthop)
        {
            yield return $"  route      {(v.Route is RouteView r ? Route(r) : $"{nexthop.Prefix} (more than one, or one that is chosen by more than the destination)")}";
            yield return $"  nexthop    {nexthop.Index} ({nexthop.Kind}{(nexthop.Id is null ? "" : $", id {nexthop.Id}")})";
        }

        if (v.Neighbour is Neighbour.NeighbourView n)
        {
            yield return $"  neighbour  {n.Dst} dev {n.Dev}{(n.Lladdr is null ? "" : $" lladdr {n.Lladdr}")} {string.Join(',', n.State)}";
        }

        yield return $"  verdict    {Verdict(v)}";
        if (v.Kernel is KernelView kernel)
        {
            yield return $"  kernel     {Kernel(kernel)}{v.Agrees switch { true => ": agrees", false => "", null => "" }}";
        }

        if (v.Mismatch is string mismatch)
        {
            yield return $"  MISMATCH   {mismatch}";
        }
    }

    private static string Verdict(ExplanationView v) => v.Verdict switch
    {
        "forward" => $"forward by {v.Out} to {v.Lladdr}",
        "punt" => $"punt to Linux: {v.Reason}{(v.Nodes.Length == 0 ? "" : $", at {v.Nodes[^1]}")}",
        Inspection.Verdicts.Pass => $"pass to Linux at once: {v.Reason}",
        _ => $"{v.Verdict}: {v.Reason}{(v.Nodes.Length == 0 ? "" : $", at {v.Nodes[^1]}")}",
    };

    private static string Route(RouteView r) =>
        $"{(r.Type == "unicast" ? "" : r.Type + " ")}{r.Dst}{(r.Gateway is null ? "" : $" via {r.Gateway}")}{(r.Dev is null ? "" : $" dev {r.Dev}")}"
        + $"{string.Concat((r.Nexthops ?? []).Select(n => $" nexthop{(n.Gateway is null ? "" : $" via {n.Gateway}")} dev {n.Dev} weight {n.Weight}"))}"
        + $" table {r.Table} proto {r.Protocol}{(r.Metric is null ? "" : $" metric {r.Metric}")}{(r.Nhid is null ? "" : $" nhid {r.Nhid}")}";

    private static string Kernel(KernelView k) => k.Error
        ?? $"{(k.Type == "unicast" ? "" : k.Type + " ")}{k.Dst}{string.Join(" or", (k.Ways ?? []).Select(w => $"{(w.Gateway is null ? "" : $" via {w.Gateway}")} dev {w.Dev}"))}{(k.Table is null ? "" : $" table {k.Table}")}";
}
