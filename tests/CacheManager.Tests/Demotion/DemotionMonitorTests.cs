using FastPathSync.CacheManager.Features.Demotion;
using FastPathSync.Fpc.Protocol;

namespace FastPathSync.CacheManager.Tests.Demotion;

/// <summary>Each cause, made by its own tool in a namespace of its own. Reproduce: `./dev test DemotionMonitorTests`, as root.</summary>
public sealed class DemotionMonitorTests(ITestOutputHelper output)
{
    private const string Forward = "nft chain ip filter FORWARD";

    [Fact]
    public void PlainRouterIsNotDemoted()
    {
        using Watched w = new(output);
        w.ExpectNothing();
    }

    [Fact]
    public void WhatExistsBeforeTheStartIsRaisedWhenStartReturns()
    {
        using Watched w = new(output, "iptables -A FORWARD -j DROP; sysctl -q -w net.ipv4.conf.r0.forwarding=0");
        Assert.Contains(Forward, w.Objects);
        Assert.Contains("r0 forwarding", w.Objects);
    }

    [Fact]
    public void IptablesForwardRuleDemotesTheVrf()
    {
        using Watched w = new(output);
        w.Shell("iptables -A FORWARD -p udp --dport 5001 -j DROP");
        Assert.Contains("iptables-nft", w.Expect(Forward, DemotionEffect.Vrf), StringComparison.Ordinal);
        w.Shell("iptables -D FORWARD -p udp --dport 5001 -j DROP");
        w.ExpectEnd(Forward);
        w.ExpectNothing();
    }

    [Fact]
    public void IptablesPolicyAndNatAndRawDemoteTheVrf()
    {
        using Watched w = new(output);
        w.Shell("iptables -P FORWARD DROP");
        w.Expect(Forward, DemotionEffect.Vrf);
        w.Shell("iptables -P FORWARD ACCEPT");
        w.ExpectEnd(Forward);
        w.Shell("iptables -t nat -A POSTROUTING -o r1 -j MASQUERADE");
        w.Expect("nft chain ip nat POSTROUTING", DemotionEffect.Vrf);
        w.Shell("iptables -t nat -F");
        w.ExpectEnd("nft chain ip nat POSTROUTING");
        w.Shell("iptables -t raw -A PREROUTING -j NOTRACK");
        w.Expect("nft chain ip raw PREROUTING", DemotionEffect.Vrf);
        w.Shell("iptables -t raw -F");
        w.ExpectEnd("nft chain ip raw PREROUTING");
    }

    [Fact]
    public void EmptyTablesAndWhatForwardedPacketsDontMeetDontDemote()
    {
        using Watched w = new(output);
        w.Shell("iptables -L; iptables -t nat -L; iptables -t mangle -L; iptables-legacy -L; iptables-legacy -t nat -L; "
            + "iptables -A INPUT -j ACCEPT; iptables -A OUTPUT -j ACCEPT; iptables -P INPUT DROP; iptables-legacy -A INPUT -j ACCEPT; iptables-legacy -P OUTPUT DROP; "
            + "ip6tables -A INPUT -j DROP; ip6tables-legacy -A INPUT -j DROP; "
            + "nft add table inet t; nft add chain inet t f '{ type filter hook forward priority 0; policy accept; }'; nft add chain inet t unhooked; nft add rule inet t unhooked drop; "
            + "nft add table arp a; nft add chain arp a i '{ type filter hook input priority 0; }'; nft add rule arp a i accept; "
            + "nft add table bridge b; nft add chain bridge b f '{ type filter hook forward priority 0; }'; nft add rule bridge b f accept");
        w.ExpectNothing();
    }

    [Fact]
    public void CausesOfIpv6DemoteIpv6Only()
    {
        using Watched w = new(output);
        w.Shell("ip6tables -A FORWARD -j DROP");
        w.Expect("nft chain ip6 filter FORWARD", DemotionEffect.Vrf, Families.Ipv6);
        w.Shell("ip6tables -F");
        w.ExpectEnd("nft chain ip6 filter FORWARD");
        w.Shell("ip6tables-legacy -t mangle -P FORWARD DROP");
        w.Expect("ip6tables-legacy table mangle", DemotionEffect.Vrf, Families.Ipv6);
        w.Shell("ip6tables-legacy -t mangle -P FORWARD ACCEPT; ip6tables-legacy -t raw -A PREROUTING -s 2001:db8::/32 -j ACCEPT");
        w.ExpectEnd("ip6tables-legacy table mangle");
        w.Expect("ip6tables-legacy table raw", DemotionEffect.Vrf, Families.Ipv6);
        w.Shell("ip6tables-legacy -t raw -F");
        w.ExpectEnd("ip6tables-legacy table raw");
        w.Shell("ip xfrm policy add dir fwd src 2001:db8::/32 dst ::/0 action block");
        w.Expect("ip xfrm policy dir fwd", DemotionEffect.Vrf, Families.Ipv6);
        w.Shell("ip xfrm policy add dir fwd src 10.0.0.0/8 dst 0.0.0.0/0 action block");
        w.Expect("ip xfrm policy dir fwd", DemotionEffect.Vrf, Families.Both);
        w.Shell("ip xfrm policy flush");
        w.ExpectEnd("ip xfrm policy dir fwd");
    }

    [Fact]
    public void NftInetRuleDemotesAndDormantTableDoesNot()
    {
        const string Chain = "nft chain inet t pre";
        using Watched w = new(output);
        w.Shell("nft add table inet t; nft add chain inet t pre '{ type filter hook prerouting priority 0; }'; nft add rule inet t pre counter; nft add rule inet t pre counter");
        w.Expect(Chain, DemotionEffect.Vrf);
        w.Shell("nft add table inet t '{ flags dormant; }'");
        w.ExpectEnd(Chain);
        w.Shell("nft add table inet t '{ flags ; }' || nft add table inet t");
        w.Expect(Chain, DemotionEffect.Vrf);
        w.Shell("nft delete table inet t");
        w.ExpectEnd(Chain);
    }

    [Fact]
    public void NftNetdevDemotesOneSideOfOneInterface()
    {
        using Watched w = new(output);
        w.Shell("nft add table netdev n; nft add chain netdev n in '{ type filter hook ingress device r0 priority 0; }'; nft add rule netdev n in counter");
        w.Expect("nft chain netdev n in dev r0", DemotionEffect.Ingress, "r0");
        w.Shell("nft add chain netdev n out '{ type filter hook egress device r1 priority 0; policy drop; }'");
        w.Expect("nft chain netdev n out dev r1", DemotionEffect.Egress, "r1");
        w.Shell("nft add table inet t; nft add chain inet t i '{ type filter hook ingress device r1 priority 0; policy drop; }'");
        w.Expect("nft chain inet t i dev r1", DemotionEffect.Ingress, "r1");
        w.Shell("nft flush ruleset");
        w.ExpectEnd("nft chain inet t i dev r1");
        w.ExpectEnd("nft chain netdev n out dev r1");
        w.ExpectEnd("nft chain netdev n in dev r0");
    }

    [Fact]
    public void ThousandsOfRulesAreCountedWithoutDumpingThem()
    {
        using Watched w = new(output);
        w.Shell("(echo '*filter'; for i in $(seq 3000); do echo \"-A FORWARD -s 10.$((i / 250)).$((i % 250)).1 -j DROP\"; done; echo COMMIT) | iptables-restore");
        Assert.Contains("3000 rules", w.Expect(Forward, DemotionEffect.Vrf), StringComparison.Ordinal);
        w.Shell("iptables -F");
        w.ExpectEnd(Forward);
    }

    [Fact]
    public void LegacyRulesAndPoliciesDemoteTheVrf()
    {
        const string Table = "iptables-legacy table filter";
        using Watched w = new(output);
        w.Shell("iptables-legacy -A FORWARD -p udp --dport 5001 -j DROP");
        w.Expect(Table, DemotionEffect.Vrf);
        w.Shell("iptables-legacy -F FORWARD");
        w.ExpectEnd(Table);
        w.Shell("iptables-legacy -P FORWARD DROP");
        w.Expect(Table, DemotionEffect.Vrf);
        w.Shell("iptables-legacy -P FORWARD ACCEPT");
        w.ExpectEnd(Table);
        w.Shell("iptables-legacy -t nat -A PREROUTING -p tcp --dport 80 -j DNAT --to-destination 10.0.0.1");
        w.Expect("iptables-legacy table nat", DemotionEffect.Vrf);
        w.Shell("iptables-legacy -t nat -F");
        w.ExpectEnd("iptables-legacy table nat");
        w.ExpectNothing();
    }

    [Fact]
    public void LookingAtLegacyTablesDoesNotMakeThem()
    {
        using Watched w = new(output);
        Thread.Sleep(300);
        w.Shell("test -z \"$(cat /proc/net/ip_tables_names)\"");
    }

    [Fact]
    public void XfrmPoliciesDemoteTheVrf()
    {
        using Watched w = new(output);
        w.Shell("ip xfrm policy add src 10.1.0.0/24 dst 10.2.0.0/24 dir fwd tmpl src 192.0.2.1 dst 192.0.2.2 proto esp mode tunnel");
        w.Expect("ip xfrm policy dir fwd", DemotionEffect.Vrf);
        w.Shell("ip xfrm policy add src 10.1.0.0/24 dst 10.2.0.0/24 dir out action block");
        w.Expect("ip xfrm policy dir out", DemotionEffect.Vrf);
        w.Shell("ip xfrm policy flush");
        w.ExpectEnd("ip xfrm policy dir fwd");
        w.ExpectEnd("ip xfrm policy dir out");
        w.Shell("ip xfrm policy add src 10.1.0.0/24 dst 10.2.0.0/24 dir in action block; ip xfrm policy add src 2001:db8::/64 dst ::/0 dir in action block");
        w.ExpectNothing();
    }

    [Fact]
    public void XfrmDefaultOfBlockDemotesTheVrf()
    {
        using Watched w = new(output);
        w.Shell("ip xfrm policy setdefault fwd block");
        w.Expect("ip xfrm policy default fwd", DemotionEffect.Vrf);
        w.Shell("ip xfrm policy setdefault fwd accept");
        w.ExpectEnd("ip xfrm policy default fwd");
    }

    [Fact]
    public void ForwardingOffDemotesTheIngress()
    {
        using Watched w = new(output);
        w.Shell("echo 0 > /proc/sys/net/ipv4/conf/r0/forwarding");
        w.Expect("r0 forwarding", DemotionEffect.Ingress, "r0");
        w.Shell("echo 1 > /proc/sys/net/ipv4/conf/r0/forwarding");
        w.ExpectEnd("r0 forwarding");
    }

    [Fact]
    public void AcceptedRedirectsDemoteTheEgress()
    {
        using Watched w = new(output);
        w.Shell("echo 0 > /proc/sys/net/ipv4/conf/r1/accept_redirects; echo 1 > /proc/sys/net/ipv4/conf/all/accept_redirects");
        w.Expect("r0 accept_redirects", DemotionEffect.Egress, "r0");
        Assert.DoesNotContain("r1 accept_redirects", w.Objects);
        w.Shell("echo 0 > /proc/sys/net/ipv4/conf/r0/accept_redirects");
        w.ExpectEnd("r0 accept_redirects");
    }

    [Fact]
    public void SettingsThatAreHonouredDontDemote()
    {
        using Watched w = new(output);
        w.Shell("for s in rp_filter accept_local route_localnet log_martians accept_source_route src_valid_mark drop_unicast_in_l2_multicast; do "
            + "echo 1 > /proc/sys/net/ipv4/conf/all/$s; echo 1 > /proc/sys/net/ipv4/conf/r0/$s; done; "
            + "echo 0 > /proc/sys/net/ipv4/conf/all/send_redirects; echo 0 > /proc/sys/net/ipv4/conf/r1/send_redirects; "
            + "echo 3 > /proc/sys/net/ipv4/fib_multipath_hash_policy; echo 48 > /proc/sys/net/ipv4/fib_multipath_hash_fields");
        w.ExpectNothing();
        Assert.Equal(3u, w.Settings.MultipathHashPolicy4);
        Assert.Equal(48u, w.Settings.MultipathHashFields4);
        Assert.Equal([w.IndexOf("r1")], w.Settings.WithoutRedirects);
    }

    [Fact]
    public void ForwardingWithPathMtuDemotesTheVrf()
    {
        using Watched w = new(output);
        w.Shell("echo 1 > /proc/sys/net/ipv4/ip_forward_use_pmtu");
        w.Expect("net.ipv4.ip_forward_use_pmtu", DemotionEffect.Vrf);
        w.Shell("echo 0 > /proc/sys/net/ipv4/ip_forward_use_pmtu");
        w.ExpectEnd("net.ipv4.ip_forward_use_pmtu");
    }

    [Fact]
    public void BridgePortDemotesItsIngress()
    {
        using Watched w = new(output);
        w.Shell("ip link add br0 type bridge; ip link set r0 master br0");
        w.Expect("r0 master br0", DemotionEffect.Ingress, "r0");
        w.Shell("ip link set r0 nomaster");
        w.ExpectEnd("r0 master br0");
    }

    [Fact]
    public void MacvlanDemotesItsLowerOnlyWhenItSharesTheAddress()
    {
        using Watched w = new(output);
        w.Shell("ip link add m0 link r0 type macvlan mode bridge");
        w.ExpectNothing();
        w.Shell("ip link del m0; ip link add m1 link r0 type macvlan mode passthru");
        w.Expect("r0 macvlan m1", DemotionEffect.Ingress, "r0");
        w.Shell("ip link del m1");
        w.ExpectEnd("r0 macvlan m1");
    }

    [Fact]
    public void QueueingDisciplineIsToldAsBypassed()
    {
        using Watched w = new(output);
        w.Shell("tc qdisc add dev r0 root tbf rate 10mbit burst 10k latency 50ms");
        Assert.Contains("AF_XDP transmits past", w.Expect("tc qdisc dev r0", DemotionEffect.Bypassed, "r0"), StringComparison.Ordinal);
        w.Shell("tc qdisc del dev r0 root");
        w.ExpectEnd("tc qdisc dev r0");
        w.Shell("tc qdisc add dev r0 root pfifo_fast; ip link add fpn0 type veth peer name x; tc qdisc add dev fpn0 root tbf rate 1mbit burst 10k latency 50ms; tc qdisc add dev fpn0 clsact; "
            + "tc filter add dev fpn0 ingress prio 1 u32 match u32 0 0");
        w.ExpectNothing();
    }

    [Theory]
    [InlineData("clsact")]
    [InlineData("ingress")]
    public void TcIngressFilterDemotesTheIngress(string qdisc)
    {
        using Watched w = new(output);
        w.Shell($"tc qdisc add dev r0 {qdisc}");
        w.ExpectNothing();
        w.Shell("tc filter add dev r0 ingress prio 1 protocol ip u32 match ip dport 80 0xffff");
        w.Expect("tc filter dev r0 ingress", DemotionEffect.Ingress, "r0");
        w.Shell("tc filter del dev r0 ingress");
        w.ExpectEnd("tc filter dev r0 ingress");
    }

    [Fact]
    public void TcEgressFilterIsToldAsBypassed()
    {
        using Watched w = new(output);
        w.Shell("tc qdisc add dev r1 clsact; tc filter add dev r1 egress prio 1 protocol ip u32 match ip dport 80 0xffff");
        w.Expect("tc filter dev r1 egress", DemotionEffect.Bypassed, "r1");
        w.Shell("tc qdisc del dev r1 clsact");
        w.ExpectEnd("tc filter dev r1 egress");
    }

    [Fact]
    public void TcxProgramsCountLikeTcFilters()
    {
        using Watched w = new(output);
        using (w.AttachTcx("r0", TcxProgram.Ingress))
        {
            w.Expect("tcx dev r0 ingress", DemotionEffect.Ingress, "r0");
            using (w.AttachTcx("r1", TcxProgram.Egress))
            {
                w.Expect("tcx dev r1 egress", DemotionEffect.Bypassed, "r1");
            }

            w.Mark();
            w.ExpectEnd("tcx dev r1 egress");
        }

        w.Mark();
        w.ExpectEnd("tcx dev r0 ingress");
    }

    [Fact]
    public void NewInterfaceIsJudgedToo()
    {
        using Watched w = new(output, "echo 0 > /proc/sys/net/ipv4/conf/default/forwarding");
        w.Shell("ip link add r2 type veth peer name p2");
        w.Expect("r2 forwarding", DemotionEffect.Ingress, "r2");
        w.Shell("ip link del r2");
        w.ExpectEnd("r2 forwarding");
    }
}
