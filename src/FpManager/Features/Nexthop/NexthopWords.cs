using FastPathSync.FpManager.Features.Interface;
using FastPathSync.FpManager.Features.Neighbour;
using FastPathSync.SharedMemory;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FpManager.Features.Nexthop;

/// <summary>What a nexthop's record amounts to for workers, as interfaces, neighbours and demotions are now.</summary>
internal sealed class NexthopWords(
    RecordTableWriter<NexthopRecord> records, GroupLayout groups, InterfaceStore interfaces, NeighbourStore neighbours, Func<uint, bool> egressDemoted)
{
    /// <summary>net.ipv4.fib_multipath_use_neigh: multipath routes pass over members whose neighbour has failed.</summary>
    public bool HeedNeighbours { get; set; }

    public NexthopWord Of(in NexthopRecord r)
    {
        switch (r.Kind)
        {
            case NexthopKind.Group:
                return IsAnyAlive(groups.Of(r)) ? NexthopWord.Group(r.FirstMember, r.MemberCount) : NexthopWord.Punt(PuntReason.LinkDown);
            case NexthopKind.ResilientGroup:
                return r.BucketCount > 0 ? NexthopWord.Buckets(r.FirstMember + r.MemberCount, r.BucketCount) : NexthopWord.Punt(PuntReason.RouteUnsupported);
            case NexthopKind.Single:
                break;
            default:
                return NexthopWord.Punt(r.Reason, r.IfIndex);
        }

        if (!IsAlive(r))
        {
            return NexthopWord.Punt(PuntReason.LinkDown, r.IfIndex);
        }

        interfaces.TryGet(r.IfIndex, out InterfaceRecord i);
        if (i.PortId == InterfaceRecord.NoPort)
        {
            return NexthopWord.Punt(PuntReason.EgressNotAPort, r.IfIndex);
        }

        if (egressDemoted(r.IfIndex))
        {
            return NexthopWord.Punt(PuntReason.Demoted, r.IfIndex);
        }

        uint mtu = r.Mtu != 0 ? r.Mtu : i.Mtu;
        if (r.Gateway.IsNone)
        {
            return NexthopWord.OnLink(r.IfIndex, mtu);
        }

        int adjacency = neighbours.AdjacencyOf(new NeighbourKey(r.IfIndex, r.Gateway));
        return adjacency < 0 ? NexthopWord.Punt(PuntReason.NoNeighbour, r.IfIndex) : NexthopWord.Forward(adjacency, mtu);
    }

    /// <summary>Whether a group's member counts when its hash space is divided.</summary>
    public bool IsAlive(int nexthop) => IsAlive(records[nexthop]);

    /// <summary>
    /// Which of the members of a group are chosen at all. Groups of `ip nexthop` always pass over a member whose neighbour has
    /// failed, as long as there is another (nexthop_select_path_hthr); multipath routes of IPv4 do when
    /// fib_multipath_use_neigh says so (fib_select_multipath).
    /// </summary>
    public Func<int, bool> Sharing(in NexthopRecord group, IEnumerable<int> members)
    {
        bool heed = group.ObjectId != 0 || (HeedNeighbours && group.Family == NexthopSpec.Ipv4);
        return heed && members.Any(IsGood) ? IsGood : IsAlive;
    }

    private bool IsGood(int nexthop)
    {
        NexthopRecord r = records[nexthop];
        return IsAlive(r) && (r.Kind != NexthopKind.Single || r.Gateway.IsNone || !neighbours.HasFailed(new NeighbourKey(r.IfIndex, r.Gateway)));
    }

    private bool IsAnyAlive(ReadOnlySpan<GroupMember> members)
    {
        foreach (GroupMember m in members)
        {
            if (IsAlive(m.Nexthop))
            {
                return true;
            }
        }

        return false;
    }

    private bool IsAlive(in NexthopRecord r) =>
        r.Kind switch
        {
            NexthopKind.Single => (r.Flags & NexthopSpec.Dead) == 0 && interfaces.TryGet(r.IfIndex, out InterfaceRecord i) && i.IsUp
                && ((r.Flags & NexthopSpec.LinkDown) == 0 || i.IgnoreRoutesWithLinkdown == 0),
            _ => true, // a group in a group isn't Linux's; a worker that meets one punts
        };
}
