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

        uint mtu = MtuOf(in r, in i);
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
    /// IPv4: the route's own MTU, or the interface's (ip_dst_mtu_maybe_forward). IPv6: the smaller of the two, since ip6_forward
    /// asks for the interface's own IPv6 MTU, and ip6_fragment then for the route's. (It passes what a locked MTU above the
    /// interface's allows; we leave that to Linux.)
    /// </summary>
    private static uint MtuOf(in NexthopRecord r, in InterfaceRecord i) =>
        r.Family != NexthopSpec.Ipv6 ? r.Mtu != 0 ? r.Mtu : i.Mtu
        : r.Mtu != 0 ? Math.Min(r.Mtu, i.Mtu6) : i.Mtu6;

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
                && ((r.Flags & NexthopSpec.LinkDown) == 0 || !IgnoresLinkDown(in r, in i)),
            _ => true, // a group in a group isn't Linux's; a worker that meets one punts
        };

    private static bool IgnoresLinkDown(in NexthopRecord r, in InterfaceRecord i) =>
        (r.Family == NexthopSpec.Ipv6 ? i.IgnoreRoutesWithLinkdown6 : i.IgnoreRoutesWithLinkdown) != 0;
}
