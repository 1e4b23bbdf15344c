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
    public void RoutesOfIpv6()
    {
        RouteMessage r = Parse<RouteMessage>(Recorded6.RouteBySource, RouteMessage.TryParse, Rtm.RTM_NEWROUTE);
        Assert.Equal((Rtm.AF_INET6, "2001:db8:11::", 48, 7u, 5000u), (r.Family, r.Destination.ToString(), r.PrefixLength, r.Priority, r.Table));
        Assert.Equal(("2001:db8:5::", 48), (r.Source.ToString(), r.SourceLength));
        Assert.Equal((1300u, true, 1, null), (r.Mtu, r.MtuLocked, r.Preference, r.ExpiresIn));
        Assert.Equal(new RouteNexthop(3, r.Single.Gateway, 1, 0, false), r.Single);
        Assert.Equal("fe80::9", r.Single.Gateway.ToString());
        RouteMessage many = Parse<RouteMessage>(Recorded6.MultipathRoute, RouteMessage.TryParse, Rtm.RTM_NEWROUTE);
        Assert.Equal(["2001:db8:1::2*3", "2001:db8:1::3*1"], many.Multipath!.Select(n => $"{n.Gateway}*{n.Weight}"));
        Assert.Equal((0, 0, false), (many.SourceLength, many.Preference, many.MtuLocked));
        Assert.Equal(600, Parse<RouteMessage>(Recorded6.ExpiringRoute, RouteMessage.TryParse, Rtm.RTM_NEWROUTE).ExpiresIn);
        Assert.Equal(5u, Parse<RouteMessage>(Recorded6.RouteByNexthop, RouteMessage.TryParse, Rtm.RTM_NEWROUTE).NexthopId);
    }

    [Fact]
    public void AnAddedSiblingComesWithAllOthersAndADeletedOneAlone()
    {
        RouteMessage added = Parse<RouteMessage>(Recorded6.AddedSibling, RouteMessage.TryParse, Rtm.RTM_NEWROUTE);
        Assert.Equal(["2001:db8:1::4", "2001:db8:1::2", "2001:db8:1::3"], added.Multipath!.Select(n => n.Gateway.ToString()));
        Assert.Equal(Nlm.NLM_F_APPEND, Flags(Recorded6.AddedSibling) & (Nlm.NLM_F_APPEND | Nlm.NLM_F_REPLACE));
        RouteMessage deleted = Parse<RouteMessage>(Recorded6.DeletedSibling, RouteMessage.TryParse, Rtm.RTM_DELROUTE);
        Assert.Null(deleted.Multipath);
        Assert.Equal("2001:db8:1::2", deleted.Single.Gateway.ToString());
    }

    [Fact]
    public void AddressesNeighboursAndSettingsOfIpv6()
    {
        AddressMessage a = Parse<AddressMessage>(Recorded6.TentativeAddress, AddressMessage.TryParse, Rtm.RTM_NEWADDR);
        Assert.Equal(("2001:db8:77::1", "2001:db8:77::1", 64), (a.Local.ToString(), a.Address.ToString(), a.PrefixLength));
        Assert.NotEqual(0u, a.Flags & AddressConstants.IFA_F_TENTATIVE);
        NeighbourMessage n = Parse<NeighbourMessage>(Recorded6.NewNeighbour, NeighbourMessage.TryParse, Rtm.RTM_NEWNEIGH);
        Assert.Equal((3, "2001:db8:1::9", NeighbourConstants.NUD_PERMANENT), (n.Index, n.Destination.ToString(), n.State));
        NetConfMessage c = Parse<NetConfMessage>(Recorded6.ProxyNdp, NetConfMessage.TryParse, Rtm.RTM_NEWNETCONF);
        Assert.Equal((Rtm.AF_INET6, 3, true, null), (c.Family, c.Index, c.ProxyNeighbour, c.Forwarding));
        Assert.Equal("2001:db8:1::2", Parse<NexthopMessage>(Recorded6.Nexthop, NexthopMessage.TryParse, Rtm.RTM_NEWNEXTHOP).Gateway.ToString());
    }

    [Fact]
    public void RulesSayAllTheirSelectors()
    {
        RuleMessage r = Parse<RuleMessage>(Recorded.RuleFromIifMark, RuleMessage.TryParse, Rtm.RTM_NEWRULE);
        Assert.Equal((100u, 5000u, 7u, "r0", "10.1.0.0", 24), (r.Priority, r.Table, r.Mark, r.InputInterface, r.Source.ToString(), r.SourceLength));
        Assert.Equal((uint.MaxValue, 0, null, null), (r.MarkMask, r.Unknown, r.SuppressPrefixLength, r.Uids));
        RuleMessage port = Parse<RuleMessage>(Recorded.RuleWithPort, RuleMessage.TryParse, Rtm.RTM_NEWRULE);
        Assert.False(port.DestinationPorts.IsAny);
        RuleMessage plain = Parse<RuleMessage>(Recorded.PlainRule, RuleMessage.TryParse, Rtm.RTM_NEWRULE);
        Assert.Equal((78u, RuleConstants.FR_ACT_TO_TBL, true, 0), (plain.Table, plain.Action, plain.SourcePorts.IsAny, plain.Unknown));
    }

    [Fact]
    public void AnAttributeWithoutANameIsToldByItsNumber()
    {
        NetlinkRequest unknown = new NetlinkRequest().Begin(Rtm.RTM_NEWRULE, 0, new FibRuleHdr { Family = Rtm.AF_INET, Action = 1 })
            .Attribute(RuleConstants.FRA_TABLE, 100u).Attribute(99, 1u).Attribute(98, 2u);
        Assert.Equal((100u, 99), (Rule(unknown).Table, Rule(unknown).Unknown));
    }

    /// <summary>Kernel 6.18 on `ip rule`s that this iproute2 can't say: attributes as net/ipv4/fib_rules.c and net/core/fib_rules.c fill them.</summary>
    [Fact]
    public void NewerSelectorsAreRead()
    {
        RuleMessage r = Rule(new NetlinkRequest().Begin(Rtm.RTM_NEWRULE, 0, new FibRuleHdr { Family = Rtm.AF_INET6, Action = 2, Flags = RuleConstants.FIB_RULE_INVERT })
            .Attribute(RuleConstants.FRA_GOTO, 300u).Attribute(RuleConstants.FRA_DSCP, (byte)0x2e).Attribute(RuleConstants.FRA_DSCP_MASK, (byte)0x3c)
            .AttributeBigEndian(RuleConstants.FRA_FLOWLABEL, 0x12345).AttributeBigEndian(RuleConstants.FRA_FLOWLABEL_MASK, 0xffff0)
            .Attribute(RuleConstants.FRA_SPORT_RANGE, [1, 0, 2, 0]).Attribute(RuleConstants.FRA_SPORT_MASK, (ushort)0xff)
            .Attribute(RuleConstants.FRA_UID_RANGE, [1, 0, 0, 0, 2, 0, 0, 0]).Attribute(RuleConstants.FRA_TUN_ID, [0, 0, 0, 0, 0, 0, 0, 9])
            .Attribute(RuleConstants.FRA_SUPPRESS_PREFIXLEN, uint.MaxValue).Attribute(RuleConstants.FRA_SUPPRESS_IFGROUP, 4u));
        Assert.Equal((300u, (byte?)0x2e, (byte?)0x3c, (uint?)0x12345, (uint?)0xffff0), (r.Target, r.Dscp, r.DscpMask, r.FlowLabel, r.FlowLabelMask));
        Assert.Equal((new RulePorts(1, 2, 0xff), (1u, 2u), 9ul, null, (uint?)4), (r.SourcePorts, r.Uids, r.TunnelId, r.SuppressPrefixLength, r.SuppressInterfaceGroup));
    }

    [Fact]
    public void Qdiscs()
    {
        QdiscMessage root = Parse<QdiscMessage>(Recorded.RootQdisc, QdiscMessage.TryParse, Rtm.RTM_NEWQDISC);
        Assert.Equal(("pfifo", 3, QdiscConstants.TC_H_ROOT, 0x10000u), (root.Kind, root.Index, root.Parent, root.Handle));
        QdiscMessage clsact = Parse<QdiscMessage>(Recorded.Clsact, QdiscMessage.TryParse, Rtm.RTM_NEWQDISC);
        Assert.Equal(("clsact", 5, QdiscConstants.TC_H_INGRESS), (clsact.Kind, clsact.Index, clsact.Parent));
    }

    private static RuleMessage Rule(NetlinkRequest request)
    {
        NetlinkMessages messages = new(request.Bytes);
        Assert.True(messages.MoveNext());
        NetlinkMessage m = messages.Current;
        Assert.True(RuleMessage.TryParse(in m, out RuleMessage? rule));
        return rule;
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
