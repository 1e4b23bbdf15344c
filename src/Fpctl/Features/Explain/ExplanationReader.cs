using FastPathSync.Fpctl.Features.Neighbour;
using FastPathSync.Fpctl.Features.Route;
using FastPathSync.Fpctl.Features.Rule;
using FastPathSync.Fpctl.Inspection;
using FastPathSync.Linux;
using FastPathSync.NetFpc.Protocol;
using FastPathSync.Netlink.Rtnetlink;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.Fpctl.Features.Explain;

/// <summary>Names what an answer of the fast path is about, and puts the kernel's beside it.</summary>
/// <param name="tables">Of the port's VRF.</param>
/// <param name="kernel">null: not asked.</param>
internal sealed class ExplanationReader(InstanceTables tables, KernelAnswers? kernel)
{
    private const PipelineNode AfterLookup4 = PipelineNode.Ipv4Forward, AfterLookup6 = PipelineNode.Ipv6Forward;
    private readonly Dictionary<(bool Ipv4, IpAddress Prefix, int Depth, int Nexthop, uint? Table), RouteView?> _routes = [];
    private readonly WayReader _ways = new(tables);

    /// <param name="frame">As it would be received.</param>
    public ExplanationView View(PortInfo port, ReadOnlyMemory<byte> frame, ExplainedPacket answer)
    {
        PacketText packet = PacketText.Of(frame.Span, frame.Length);
        NexthopWord word = new(answer.NexthopWord);
        bool forward = !answer.Passed && answer.Verdict == Verdict.Forward, rewritten = !answer.Passed && !answer.Frame.Span.SequenceEqual(frame.Span);
        ExplanationView v = new()
        {
            Port = port.Name,
            Packet = packet.ToString(),
            Verdict = answer.Passed ? Verdicts.Pass : Verdicts.Name(answer.Verdict),
            Reason = answer.Passed ? ReasonNames.Of((PassReason)answer.PassReason) : Verdicts.Reason(answer.Verdict, answer.Reason),
            Nodes = answer.Passed ? [] : [.. Verdicts.Nodes(answer.Nodes).Select(ReasonNames.Of)],
            Frame = rewritten ? Convert.ToHexStringLower(answer.Frame.Span) : null,
        };
        if (!answer.Passed && answer.Lookup is Lookup lookup)
        {
            v = v with
            {
                Rule = lookup.HasRule ? Rule(packet.IsIpv4, lookup.Rule) : null,
                Route = Route(in packet, lookup),
                Nexthop = Nexthop(in packet, lookup),
            };
        }

        if (!answer.Passed && IsWay(answer, word))
        {
            Adjacency a = tables.Adjacency((int)word.Index);
            v = v with
            {
                Neighbour = new NeighbourReader(tables).Find(a.IfIndex, a.Address),
                Lladdr = forward ? Ipv4Text.Mac(AdjacencyMac.Destination(in a)) : null,
                Out = forward ? tables.PortName(answer.TxPort) : null,
            };
        }

        return kernel is not null && packet.IsIp ? WithKernel(v, port, in packet, answer, word) : v;
    }

    /// <summary>The lookup came to one neighbour, whatever became of the packet then.</summary>
    private static bool IsWay(ExplainedPacket answer, NexthopWord word) =>
        word.Action == NexthopAction.Forward && (answer.Nodes & ((1u << (int)AfterLookup4) | (1u << (int)AfterLookup6))) != 0;

    private ExplanationView WithKernel(ExplanationView v, PortInfo port, in PacketText packet, ExplainedPacket answer, NexthopWord word)
    {
        (int ErrorNumber, RouteMessage? Route) said = kernel!.Ask(in packet, port.Ifindex);
        string? mismatch = answer.Passed
            ? (PassReason)answer.PassReason == PassReason.LocalAddress ? kernel.Compare(in packet, default, PuntReason.Local, said) : null
            : IsWay(answer, word) ? kernel.Compare(in packet, word, null, said)
            : answer.Lookup is not null && answer.Verdict == Verdict.Punt ? kernel.Compare(in packet, word, (PuntReason)answer.Reason, said)
            : null;
        return v with { Kernel = kernel.View(in packet, said), Agrees = mismatch is null ? null : mismatch.Length == 0, Mismatch = mismatch is { Length: > 0 } ? mismatch : null };
    }

    private RuleView? Rule(bool ipv4, uint priority) =>
        tables.Rules.All().Select(r => r.Value).Where(r => r.Priority == priority && r.Family == (ipv4 ? KernelNames.AF_INET : KernelNames.AF_INET6)).OrderBy(r => r.Order).ToList()
            is [RuleRecord first, ..] ? RuleViews.View(first) : null;

    private RouteView? Route(in PacketText packet, Lookup lookup)
    {
        if (lookup.Nexthop == 0 && !packet.IsIpv4)
        {
            return null; // nothing was found
        }

        bool ipv4 = packet.IsIpv4;
        int depth = (int)lookup.PrefixLength, nexthop = lookup.Nexthop == 0 ? DefaultNexthop.Find(tables) : (int)lookup.Nexthop;
        IpAddress destination = packet.Destination;
        uint? table = lookup.HasRule ? TableOf(ipv4, lookup.Rule) : null;
        var key = (ipv4, Masked(destination, ipv4, depth), depth, nexthop, table);
        if (!_routes.TryGetValue(key, out RouteView? route))
        {
            route = nexthop == 0 ? null
                : ipv4 ? new RouteReader(tables).Of(destination.V4, depth, nexthop, table)
                : new Route6Reader(tables).Of(destination, depth, nexthop, table);
            _routes[key] = route;
        }

        return route;
    }

    private uint? TableOf(bool ipv4, uint priority) =>
        tables.Rules.All().Select(r => r.Value).FirstOrDefault(r => r.Priority == priority && r.Family == (ipv4 ? KernelNames.AF_INET : KernelNames.AF_INET6)).Table is uint t and not 0 ? t : null;

    private NexthopReference? Nexthop(in PacketText packet, Lookup lookup)
    {
        int index = lookup.Nexthop == 0 && packet.IsIpv4 ? DefaultNexthop.Find(tables) : (int)lookup.Nexthop, depth = (int)lookup.PrefixLength;
        if (index == 0)
        {
            return null;
        }

        NexthopRecord record = _ways.ReadNexthop(index);
        IpAddress prefix = Masked(packet.Destination, packet.IsIpv4, depth);
        return new NexthopReference(
            index, packet.IsIpv4 ? Ipv4Text.Prefix(prefix.V4, depth) : Ip6Text.Prefix(prefix, depth), record.ObjectId == 0 ? null : record.ObjectId,
            WayReader.NexthopKindName(record.Kind));
    }

    private static IpAddress Masked(IpAddress a, bool ipv4, int length)
    {
        if (ipv4)
        {
            return IpAddress.FromV4(a.V4 & RouteOrder.Mask(length));
        }

        FibKey prefix = new FibKey(a.High, a.Low).Prefix(length);
        return new IpAddress(prefix.High, prefix.Low);
    }
}
