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

        uint mtu = r.Mtu != 0 ? r.Mtu : i.Mtu;
        if (r.Gateway.IsNone)
        {
            return NexthopWord.OnLink(r.IfIndex, mtu);
        }

        int adjacency = neighbours.AdjacencyOf(new NeighbourKey(r.IfIndex, r.Gateway));
        return adjacency < 0 ? NexthopWord.Punt(PuntReason.NoNeighbour) : NexthopWord.Forward(adjacency, mtu);
    }

    /// <summary>Whether a group's member takes its share of the flows.</summary>
    public bool IsAlive(int nexthop) => IsAlive(records[nexthop]);

    private bool IsAlive(in NexthopRecord r) =>
        r.Kind switch
        {
            NexthopKind.Single => (r.Flags & NexthopSpec.Dead) == 0 && interfaces.TryGet(r.IfIndex, out InterfaceRecord i) && i.IsUp
                && ((r.Flags & NexthopSpec.LinkDown) == 0 || i.IgnoreRoutesWithLinkdown == 0),
            _ => true, // a group in a group isn't Linux's; a worker that meets one punts
        };
}
