using FastPathSync.Fpctl.Inspection;
using FastPathSync.Linux;
using FastPathSync.NetFpc.Protocol;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.Fpctl.Features.Trace;

/// <summary>Names what a traced packet met, by the tables as they are now.</summary>
/// <param name="home">Of the home VRF.</param>
internal sealed unsafe class TracedNames(InstanceTables home)
{
    /// <summary>[VRF/]IF</summary>
    public string Port(uint id) => home.PortName(id);

    /// <summary>What can be said beside a node's name; "": nothing.</summary>
    public string Detail(PipelineNode node, TracedPacket packet) => node switch
    {
        PipelineNode.Ipv4Lookup or PipelineNode.Ipv6Lookup => $"{Prefix(packet)}{Way(packet)}",
        PipelineNode.Ipv4Rule or PipelineNode.Ipv6Rule => Way(packet).Trim(),
        _ => "",
    };

    /// <summary>"forward by r1", "punt: ttl-expired".</summary>
    public string Verdict(TracedPacket packet) => packet.Verdict == NetFpc.Protocol.Verdict.Forward
        ? $"forward by {Port(packet.TxPort)}"
        : $"{Verdicts.Name(packet.Verdict)}: {Verdicts.Reason(packet.Verdict, packet.Reason)}";

    private InstanceTables? TablesOf(uint port) => home.OfVrf(home.Port((int)port)->Vrf.ToString());

    private static string Prefix(TracedPacket packet)
    {
        PacketText text = PacketText.Of(packet.Frame.Span, (int)packet.Length);
        int depth = FibEntry.Depth(packet.Entry), nexthop = FibEntry.Nexthop(packet.Entry);
        if (!text.IsIp || (packet.Entry == 0 && (packet.NexthopWord == 0 || !text.IsIpv4)))
        {
            return ""; // nothing was found; IPv4's default route is entry 0, too
        }

        FibKey prefix = text.IsIpv4 ? FibKey.Ipv4(text.Destination.V4).Prefix(depth) : new FibKey(text.Destination.High, text.Destination.Low).Prefix(depth);
        string name = text.IsIpv4 ? Ipv4Text.Prefix((uint)(prefix.High >> 32), depth) : Ip6Text.Prefix(new IpAddress(prefix.High, prefix.Low), depth);
        return $"{name}, nexthop {nexthop}";
    }

    private string Way(TracedPacket packet)
    {
        NexthopWord word = new(packet.NexthopWord);
        if (word.Action != NexthopAction.Forward || TablesOf(packet.Port) is not InstanceTables tables)
        {
            return "";
        }

        Adjacency a = tables.Adjacency((int)word.Index);
        return $" to {a.Address} dev {tables.InterfaceName(a.IfIndex)}";
    }
}
