using FastPathSync.FpManager.Features.Interface;
using FastPathSync.FpManager.Features.Neighbour;
using FastPathSync.SharedMemory;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FpManager.Features.Nexthop;

/// <summary>What a nexthop's record amounts to for workers, as interfaces, neighbours and demotions are now.</summary>
internal sealed class NexthopWords(
    RecordTableWriter<NexthopRecord> records, GroupLayout groups, InterfaceStore interfaces, NeighbourStore neighbours, Func<uint, bool> egressDemoted)
{
    public NexthopWord Of(in NexthopRecord r)
    {
        switch (r.Kind)
        {
            case NexthopKind.Group:
                return groups.Of(r).Any(m => IsAlive(m.Nexthop)) ? NexthopWord.Group(r.FirstMember, r.MemberCount) : NexthopWord.Punt(PuntReason.LinkDown);
            case NexthopKind.Single:
                break;
            default:
                return NexthopWord.Punt(r.Reason);
        }

        if (!IsAlive(r))
        {
            return NexthopWord.Punt(PuntReason.LinkDown);
        }

        interfaces.TryGet(r.IfIndex, out InterfaceRecord i);
        if (i.PortId == InterfaceRecord.NoPort)
        {
            return NexthopWord.Punt(PuntReason.EgressNotAPort);
        }

        if (egressDemoted(r.IfIndex))
        {
            return NexthopWord.Punt(PuntReason.Demoted);
        }

        uint mtu = MtuOf(in r, in i);
        if (r.Gateway.IsNone)
        {
            return NexthopWord.OnLink(r.IfIndex, mtu);
        }

        int adjacency = neighbours.AdjacencyOf(new NeighbourKey(r.IfIndex, r.Gateway));
        return adjacency < 0 ? NexthopWord.Punt(PuntReason.NoNeighbour) : NexthopWord.Forward(adjacency, mtu);
    }

    /// <summary>Whether a group's member takes its share of the flows.</summary>
    public bool IsAlive(int nexthop) => IsAlive(records[nexthop]);

    /// <summary>
    /// IPv4: the route's own MTU, or the interface's (ip_dst_mtu_maybe_forward). IPv6: the smaller of the two, since ip6_forward
    /// asks for the interface's own IPv6 MTU, and ip6_fragment then for the route's. (It passes what a locked MTU above the
    /// interface's allows; we leave that to Linux.)
    /// </summary>
    private static uint MtuOf(in NexthopRecord r, in InterfaceRecord i) =>
        r.Family != NexthopSpec.Ipv6 ? r.Mtu != 0 ? r.Mtu : i.Mtu
        : r.Mtu != 0 ? Math.Min(r.Mtu, i.Mtu6) : i.Mtu6;

    private bool IsAlive(in NexthopRecord r) =>
        r.Kind switch
        {
            NexthopKind.Single => (r.Flags & NexthopSpec.Dead) == 0 && interfaces.TryGet(r.IfIndex, out InterfaceRecord i) && i.IsUp
                && ((r.Flags & NexthopSpec.LinkDown) == 0 || !IgnoresLinkDown(in r, in i)),
            _ => true, // a group in a group isn't Linux's; a worker that meets one punts
        };

    private static bool IgnoresLinkDown(in NexthopRecord r, in InterfaceRecord i) =>
        (r.Family == NexthopSpec.Ipv6 ? i.IgnoreRoutesWithLinkdown6 : i.IgnoreRoutesWithLinkdown) != 0;
}
