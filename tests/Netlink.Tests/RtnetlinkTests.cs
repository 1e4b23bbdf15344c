using FastPathSync.Netlink.Rtnetlink;

namespace FastPathSync.Netlink.Tests;

/// <summary>The kernel's own bytes, parsed.</summary>
public sealed class RtnetlinkTests
{
    private delegate bool Parser<T>(in NetlinkMessage message, out T? parsed);

    [Fact]
    public void LinksTellNameKindAndState()
    {
        LinkMessage link = Parse<LinkMessage>(Recorded.NewBridge, LinkMessage.TryParse, Rtm.RTM_NEWLINK);
        Assert.Equal(("b7", "bridge", 1500u), (link.Name, link.Kind, link.Mtu));
        Assert.Equal((6, 6, Rtm.AF_UNSPEC), (link.Index, link.Address.Length, link.Family));
        Assert.False(link.IsUp);
        Assert.Equal("b7", Parse<LinkMessage>(Recorded.DeletedBridge, LinkMessage.TryParse, Rtm.RTM_DELLINK).Name);
    }

    [Fact]
    public void AddressesTellLocalPeerAndBroadcast()
    {
        AddressMessage a = Parse<AddressMessage>(Recorded.NewAddress, AddressMessage.TryParse, Rtm.RTM_NEWADDR);
        Assert.Equal(("10.9.0.1", 24, "10.9.0.255", "r0:x", 3), (a.Local.ToString(), a.PrefixLength, a.Broadcast.ToString(), a.Label, a.Index));
        AddressMessage p = Parse<AddressMessage>(Recorded.PeerAddress, AddressMessage.TryParse, Rtm.RTM_NEWADDR);
        Assert.Equal(("10.8.0.1", "10.8.0.2", 32), (p.Local.ToString(), p.Address.ToString(), p.PrefixLength));
        Parse<AddressMessage>(Recorded.DeletedAddress, AddressMessage.TryParse, Rtm.RTM_DELADDR);
    }

    [Fact]
    public void APlainRouteHasOneWay()
    {
        RouteMessage r = Parse<RouteMessage>(Recorded.RouteWithMtu, RouteMessage.TryParse, Rtm.RTM_NEWROUTE);
        Assert.Equal(("10.20.0.0", 16, 5000u, 7u, 1400u), (r.Destination.ToString(), r.PrefixLength, r.Table, r.Priority, r.Mtu));
        Assert.Equal(1, r.NexthopCount);
        Assert.Equal((3, "10.1.0.2"), (r.Single.Index, r.Single.Gateway.ToString()));
        Assert.Equal(RouteConstants.RTN_UNICAST, r.Type);
    }

    [Fact]
    public void AMultipathRouteHasItsMembersAndWeights()
    {
        RouteMessage r = Parse<RouteMessage>(Recorded.MultipathRoute, RouteMessage.TryParse, Rtm.RTM_NEWROUTE);
        Assert.Equal(2, r.NexthopCount);
        Assert.Equal((3, "10.1.0.2", 3), (r.Nexthop(0).Index, r.Nexthop(0).Gateway.ToString(), r.Nexthop(0).Weight));
        Assert.Equal((5, "10.2.0.2", 200), (r.Nexthop(1).Index, r.Nexthop(1).Gateway.ToString(), r.Nexthop(1).Weight));
    }

    [Fact]
    public void RoutesOfOtherForms()
    {
        RouteMessage via6 = Parse<RouteMessage>(Recorded.RouteViaInet6, RouteMessage.TryParse, Rtm.RTM_NEWROUTE);
        Assert.Equal("fe80::2", via6.Single.Gateway.ToString());
        RouteMessage src = Parse<RouteMessage>(Recorded.ReplacedRoute, RouteMessage.TryParse, Rtm.RTM_NEWROUTE);
        Assert.Equal(("10.1.0.1", true, RouteConstants.RT_SCOPE_LINK), (src.PreferredSource.ToString(), src.Single.Gateway.IsNone, src.Scope));
        RouteMessage blackhole = Parse<RouteMessage>(Recorded.BlackholeRoute, RouteMessage.TryParse, Rtm.RTM_NEWROUTE);
        Assert.Equal((RouteConstants.RTN_BLACKHOLE, 0), (blackhole.Type, blackhole.NexthopCount));
        RouteMessage byDefault = Parse<RouteMessage>(Recorded.DefaultRoute, RouteMessage.TryParse, Rtm.RTM_NEWROUTE);
        Assert.Equal((true, 0), (byDefault.Destination.IsNone, byDefault.PrefixLength));
        Assert.Equal(7u, Parse<RouteMessage>(Recorded.RouteByNexthop, RouteMessage.TryParse, Rtm.RTM_NEWROUTE).NexthopId);
        Parse<RouteMessage>(Recorded.DeletedRoute, RouteMessage.TryParse, Rtm.RTM_DELROUTE);
    }

    [Fact]
    public void EventFlagsTellWhereARouteStands()
    {
        Assert.Equal(Nlm.NLM_F_APPEND, Flags(Recorded.AppendedRoute) & (Nlm.NLM_F_APPEND | Nlm.NLM_F_REPLACE));
        Assert.Equal(Nlm.NLM_F_REPLACE, Flags(Recorded.ReplacedRoute) & (Nlm.NLM_F_APPEND | Nlm.NLM_F_REPLACE));
        Assert.Equal(0, Flags(Recorded.BlackholeRoute) & (Nlm.NLM_F_APPEND | Nlm.NLM_F_REPLACE));
    }

    [Fact]
    public void ResilientGroupsAndTheirBuckets()
    {
        NexthopMessage g = Parse<NexthopMessage>(Recorded.ResilientGroup, NexthopMessage.TryParse, Rtm.RTM_NEWNEXTHOP);
        Assert.Equal(NexthopConstants.NEXTHOP_GRP_TYPE_RES, g.GroupType);
        Assert.Equal([new NexthopGroupMember(1, 1), new NexthopGroupMember(2, 3), new NexthopGroupMember(3, 1)], g.Members);
        Assert.Equal(
            new NexthopBucketMessage(10, 2, 2),
            Parse<NexthopBucketMessage>(Recorded.NexthopBucket, NexthopBucketMessage.TryParse, Rtm.RTM_NEWNEXTHOPBUCKET));
    }

    [Fact]
    public void NexthopObjects()
    {
        NexthopMessage n = Parse<NexthopMessage>(Recorded.Nexthop, NexthopMessage.TryParse, Rtm.RTM_NEWNEXTHOP);
        Assert.Equal((5u, 3, "10.1.0.2"), (n.Id, n.Index, n.Gateway.ToString()));
        NexthopMessage g = Parse<NexthopMessage>(Recorded.NexthopGroup, NexthopMessage.TryParse, Rtm.RTM_NEWNEXTHOP);
        Assert.Equal([new NexthopGroupMember(5, 2), new NexthopGroupMember(6, 255)], g.Members);
        Assert.True(Parse<NexthopMessage>(Recorded.BlackholeNexthop, NexthopMessage.TryParse, Rtm.RTM_NEWNEXTHOP).Blackhole);
        Assert.Equal(8u, Parse<NexthopMessage>(Recorded.DeletedNexthop, NexthopMessage.TryParse, Rtm.RTM_DELNEXTHOP).Id);
    }

    [Fact]
    public void Neighbours()
    {
        NeighbourMessage n = Parse<NeighbourMessage>(Recorded.NewNeighbour, NeighbourMessage.TryParse, Rtm.RTM_NEWNEIGH);
        Assert.Equal((3, "10.1.0.2", NeighbourConstants.NUD_PERMANENT), (n.Index, n.Destination.ToString(), n.State));
        Assert.Equal([2, 0, 0, 0, 0, 2], n.LinkLayerAddress);
        NeighbourMessage failed = Parse<NeighbourMessage>(Recorded.FailedNeighbour, NeighbourMessage.TryParse, Rtm.RTM_NEWNEIGH);
        Assert.Equal((NeighbourConstants.NUD_FAILED, 0), (failed.State, failed.LinkLayerAddress.Length));
        Parse<NeighbourMessage>(Recorded.DeletedNeighbour, NeighbourMessage.TryParse, Rtm.RTM_DELNEIGH);
    }

    [Fact]
    public void SettingsTellOnlyWhatChanged()
    {
        NetConfMessage all = Parse<NetConfMessage>(Recorded.AllRpFilter, NetConfMessage.TryParse, Rtm.RTM_NEWNETCONF);
        Assert.Equal((NetConfConstants.NETCONFA_IFINDEX_ALL, 1u, null), (all.Index, all.RpFilter, all.Forwarding));
        NetConfMessage one = Parse<NetConfMessage>(Recorded.Forwarding, NetConfMessage.TryParse, Rtm.RTM_NEWNETCONF);
        Assert.Equal((3, true, null), (one.Index, one.Forwarding, one.RpFilter));
        NetConfMessage fresh = Parse<NetConfMessage>(Recorded.NewInterfaceSettings, NetConfMessage.TryParse, Rtm.RTM_NEWNETCONF);
        Assert.Equal((false, 0u, false, false), (fresh.Forwarding, fresh.RpFilter, fresh.ProxyNeighbour, fresh.IgnoreRoutesWithLinkDown));
    }

    [Fact]
    public void RulesTellWhetherTheyAreMoreThanALookup()
    {
        RuleMessage r = Parse<RuleMessage>(Recorded.RuleFromIifMark, RuleMessage.TryParse, Rtm.RTM_NEWRULE);
        Assert.Equal((100u, 5000u, 7u, "r0", "10.1.0.0", 24), (r.Priority, r.Table, r.Mark, r.InputInterface, r.Source.ToString(), r.SourceLength));
        Assert.False(r.IsPlainLookup);
        Assert.True(Parse<RuleMessage>(Recorded.RuleWithPort, RuleMessage.TryParse, Rtm.RTM_NEWRULE).HasMore);
        RuleMessage plain = Parse<RuleMessage>(Recorded.PlainRule, RuleMessage.TryParse, Rtm.RTM_NEWRULE);
        Assert.Equal((78u, true), (plain.Table, plain.IsPlainLookup));
    }

    [Fact]
    public void Qdiscs()
    {
        QdiscMessage root = Parse<QdiscMessage>(Recorded.RootQdisc, QdiscMessage.TryParse, Rtm.RTM_NEWQDISC);
        Assert.Equal(("pfifo", 3, QdiscConstants.TC_H_ROOT, 0x10000u), (root.Kind, root.Index, root.Parent, root.Handle));
        QdiscMessage clsact = Parse<QdiscMessage>(Recorded.Clsact, QdiscMessage.TryParse, Rtm.RTM_NEWQDISC);
        Assert.Equal(("clsact", 5, QdiscConstants.TC_H_INGRESS), (clsact.Kind, clsact.Index, clsact.Parent));
    }

    private static T Parse<T>(byte[] datagram, Parser<T> parser, ushort type)
    {
        NetlinkMessages walk = new(datagram);
        T? parsed = default;
        int found = 0;
        while (walk.MoveNext())
        {
            if (walk.Current.Type == type) // a replaced qdisc comes as RTM_DELQDISC and RTM_NEWQDISC in one datagram
            {
                found++;
                Assert.True(parser(walk.Current, out parsed));
            }
        }

        Assert.False(walk.Malformed);
        Assert.Equal(1, found);
        return parsed!;
    }

    private static ushort Flags(byte[] datagram)
    {
        NetlinkMessages walk = new(datagram);
        Assert.True(walk.MoveNext());
        return walk.Current.Flags;
    }
}
