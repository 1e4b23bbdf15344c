using System.Net;
using FastPathSync.Fpc.Protocol;
using FastPathSync.Netlink.Rtnetlink;

namespace FastPathSync.CacheManager.Tests.Sync;

/// <summary>What the kernel says of IPv6 and what it leaves unsaid, against the real one.</summary>
public sealed class Ipv6SyncTests(ITestOutputHelper output)
{
    [Fact]
    public void AddressesRoutesAndNeighboursAreMirrored()
    {
        using Router r = new(ipv6: true);
        r.Ip("neigh add 2001:db8:1::2 lladdr 02:00:00:00:00:02 dev r0 nud permanent", "neigh add proxy 2001:db8:1::77 dev r0",
            "addr add 2001:db8:3::1/128 peer 2001:db8:3::2/128 dev r0 nodad",
            "route add 2001:db8:10::/48 via 2001:db8:1::2", "route add blackhole 2001:db8:11::/48", "route add unreachable 2001:db8:12::/48 metric 7",
            "route add prohibit 2001:db8:13::/48", "route add throw 2001:db8:14::/48 table 100", "route add 2001:db8:15::/48 via 2001:db8:1::2 mtu 1400 table 5000",
            "route add 2001:db8:16::/48 from 2001:db8:5::/48 via 2001:db8:1::2", "route add 2001:db8:17::/48 via fe80::9 dev r1",
            "route add 2001:db8:18::/48 nexthop via 2001:db8:1::2 weight 3 nexthop via 2001:db8:2::2", "route add default via 2001:db8:1::2 pref high",
            "route add local 2001:db8:19::/48 dev lo", "route add 2001:db8:1a::/48 via 2001:db8:99::1 dev r0 onlink",
            "route add 10.22.0.0/16 via inet6 fe80::2 dev r0");
        r.Agree();
        Assert.Single(r.Manager.All<Fpc.Protocol.Neighbour>(ObjectKind.Neighbour), n => n.State == NeighbourConstants.NUD_PERMANENT);
        Assert.Equal([3u, 1u], r.Route6("2001:db8:18::/48")!.Nexthops.Select(n => n.Weight));
        Assert.Equal(48u, r.Route6("2001:db8:16::/48")!.Key.SourceLength);
        Assert.Equal(1u, r.Route6("::/0")!.Preference);
        Assert.Equal(0, r.Refreshes);
    }

    [Fact]
    public void ANewMtuIsNeverToldWithoutWhatItDoesToIpv6()
    {
        using Router r = new(ipv6: true);
        r.Agree();
        r.Ip("link set r0 mtu 1400");
        r.Agree();
        r.Ip("link set r0 mtu 1200");
        r.Agree();
        Assert.Equal(0u, r.Interface("r0").Mtu6); // too small for IPv6 (RFC 8200, 5)
        Assert.DoesNotContain(
            r.Manager.Heard<Interface>(ObjectKind.Interface), i => i.Name == "r0" && i.Mtu6 != (i.Mtu < 1280 ? 0 : i.Mtu));
    }

    [Fact]
    public void SiblingsJoinAndLeaveOneMultipathRoute()
    {
        using Router r = new(ipv6: true);
        r.Ip("route add 2001:db8:10::/48 via 2001:db8:1::2", "route append 2001:db8:10::/48 via 2001:db8:2::2", "route append 2001:db8:10::/48 via 2001:db8:2::3");
        r.Agree();
        Assert.Equal(3, r.Route6("2001:db8:10::/48")!.Nexthops.Count);
        r.Ip("route del 2001:db8:10::/48 via 2001:db8:1::2");
        r.Agree();
        r.Ip("route append 2001:db8:10::/48 nexthop via 2001:db8:1::5 nexthop via 2001:db8:1::6");
        r.Agree();
        Assert.Equal(4, r.Route6("2001:db8:10::/48")!.Nexthops.Count);
        r.Ip("route replace 2001:db8:10::/48 via 2001:db8:1::7");
        r.Agree();
        Assert.Single(r.Route6("2001:db8:10::/48")!.Nexthops);
        r.Ip("route del 2001:db8:10::/48");
        r.Agree();
        Assert.Null(r.Route6("2001:db8:10::/48"));
        Assert.Equal(0, r.Refreshes); // the events alone tell it
    }

    /// <summary>Their order decides which hashes each gets; an event about one that joins tells it first, though it stands last.</summary>
    [Fact]
    public void SiblingsStandInTheKernelsOrder()
    {
        using Router r = new(ipv6: true);
        void AgreeOn(params string[] gateways)
        {
            r.Agree();
            Assert.Equal(gateways, r.Route6("2001:db8:10::/48")!.Nexthops.Select(n => new IPAddress(n.Gateway.Span).ToString()));
        }

        r.Ip("route add 2001:db8:10::/48 nexthop via 2001:db8:2::9 weight 3 nexthop via 2001:db8:1::2");
        AgreeOn("2001:db8:2::9", "2001:db8:1::2");
        r.Ip("route append 2001:db8:10::/48 via 2001:db8:1::11", "route append 2001:db8:10::/48 via 2001:db8:2::11");
        AgreeOn("2001:db8:2::9", "2001:db8:1::2", "2001:db8:1::11", "2001:db8:2::11");
        r.Ip("route prepend 2001:db8:10::/48 nexthop via 2001:db8:2::8 nexthop via 2001:db8:2::7");
        AgreeOn("2001:db8:2::9", "2001:db8:1::2", "2001:db8:1::11", "2001:db8:2::11", "2001:db8:2::8", "2001:db8:2::7");
        r.Ip("route append 2001:db8:10::/48 nexthop via 2001:db8:1::8 nexthop via 2001:db8:1::7", "route del 2001:db8:10::/48 via 2001:db8:2::9", "route del 2001:db8:10::/48 via 2001:db8:1::11");
        AgreeOn("2001:db8:1::2", "2001:db8:2::11", "2001:db8:2::8", "2001:db8:2::7", "2001:db8:1::8", "2001:db8:1::7");
        r.Ip("route replace 2001:db8:10::/48 nexthop via 2001:db8:2::11 nexthop via 2001:db8:1::2");
        AgreeOn("2001:db8:2::11", "2001:db8:1::2");
        r.Ip("route replace 2001:db8:10::/48 nexthop via 2001:db8:1::2 nexthop via 2001:db8:2::11");
        AgreeOn("2001:db8:1::2", "2001:db8:2::11");
        Assert.Equal(0, r.Refreshes); // the events alone tell it
    }

    [Fact]
    public void RoutesThatAreNoSiblingsAreSaidToBeAmbiguous()
    {
        using Router r = new(ipv6: true);
        r.Ip("route add 2001:db8:10::/48 dev r0", "route append 2001:db8:10::/48 dev r1");
        r.Agree();
        Assert.True(r.Route6("2001:db8:10::/48")!.Ambiguous);
        r.Ip("route del 2001:db8:10::/48 dev r0");
        r.Agree();
        Assert.False(r.Route6("2001:db8:10::/48")!.Ambiguous);

        // One that a dump hides between siblings.
        r.Ip("route add 2001:db8:11::/48 via 2001:db8:1::2", "route append 2001:db8:11::/48 dev r0", "route append 2001:db8:11::/48 via 2001:db8:1::3");
        r.RequestResync();
        r.Until(() => r.Manager.Synchronizations.Count == 2, "a synchronization");
        r.Agree();
        Assert.True(r.Route6("2001:db8:11::/48")!.Ambiguous);
        r.Ip("route del 2001:db8:11::/48 dev r0");
        r.Until(() => !r.Route6("2001:db8:11::/48")!.Ambiguous, "it to be a matter of siblings");
        r.Agree();
    }

    [Fact]
    public void SiblingsWithAnMtuOfTheirOwnAreAmbiguous()
    {
        using Router r = new(ipv6: true);
        r.Ip("route add 2001:db8:10::/48 via 2001:db8:1::2", "route append 2001:db8:10::/48 via 2001:db8:2::2 mtu 1300");
        r.Agree();
        Assert.True(r.Route6("2001:db8:10::/48")!.Ambiguous);
        r.Ip("route del 2001:db8:10::/48 via 2001:db8:1::2");
        r.Agree();
        r.Until(() => r.Route6("2001:db8:10::/48")!.Mtu == 1300, "the MTU of the sibling that is left");
        Assert.False(r.Route6("2001:db8:10::/48")!.Ambiguous);
    }

    [Fact]
    public void LinkChangesShowInSiblingsThatTheKernelDoesNotMention()
    {
        using Router r = new(ipv6: true);
        r.Ip("route add 2001:db8:10::/48 nexthop via 2001:db8:1::2 nexthop via 2001:db8:2::2", "route add 2001:db8:11::/48 via 2001:db8:2::2",
            "nexthop add id 5 via 2001:db8:2::2 dev r1", "route add 2001:db8:12::/48 nhid 5");
        r.Agree();
        r.Ip("link set r1 down");
        r.Until(() => r.Route6("2001:db8:10::/48")!.Nexthops.Any(n => (n.Flags & RouteConstants.RTNH_F_DEAD) != 0), "a dead sibling");
        r.Agree();
        Assert.Null(r.Route6("2001:db8:11::/48"));
        Assert.Null(r.Route6("2001:db8:12::/48"));
        r.Until(() => r.Refreshes > 0, "a refresh");
        Assert.Empty(r.Surprises);
        r.Ip("link set r1 up");
        r.Until(() => r.Route6("2001:db8:10::/48")!.Nexthops.All(n => (n.Flags & RouteConstants.RTNH_F_DEAD) == 0), "it to live again");
        r.Agree();
        r.Ip("link set c1 down");
        r.Until(() => r.Route6("2001:db8:10::/48")!.Nexthops.Any(n => (n.Flags & RouteConstants.RTNH_F_LINKDOWN) != 0), "a sibling without link");
        r.Agree();
        r.Sysctl("net.ipv6.conf.all.ignore_routes_with_linkdown=1");
        r.Until(() => r.Route6("2001:db8:10::/48")!.Nexthops.Any(n => (n.Flags & RouteConstants.RTNH_F_DEAD) != 0), "it to be ignored");
        Assert.True(r.Interface("r1").IgnoreRoutesWithLinkdown6);
        r.Ip("link set c1 up", "link set r0 down", "link set r1 down");
        r.Agree();
        Assert.Null(r.Route6("2001:db8:10::/48"));
    }

    [Fact]
    public void SiblingsLiveAndDieWithTheIpv6OfTheirLink()
    {
        using Router r = new(ipv6: true);
        r.Ip("route add 2001:db8:10::/48 nexthop via 2001:db8:1::2 nexthop via 2001:db8:2::2");
        r.Agree();
        r.Sysctl("net.ipv6.conf.r1.disable_ipv6=1");
        r.Until(() => r.Route6("2001:db8:10::/48")!.Nexthops.Any(n => (n.Flags & RouteConstants.RTNH_F_DEAD) != 0), "a dead sibling");
        r.Agree();
        Thread.Sleep(300); // what the end of IPv6 put in doubt has been asked for
        r.Sysctl("net.ipv6.conf.r1.disable_ipv6=0");
        r.Until(() => r.Route6("2001:db8:10::/48")!.Nexthops.All(n => (n.Flags & RouteConstants.RTNH_F_DEAD) == 0), "it to live again");
        r.Agree();
    }

    [Fact]
    public void RoutesThatTheKernelDropsSilentlyGo()
    {
        using Router r = new(ipv6: true);
        r.Sysctl("net.ipv6.route.skip_notify_on_dev_down=1 net.ipv4.nexthop_compat_mode=0");
        r.Ip("route add 2001:db8:11::/48 via 2001:db8:2::2", "nexthop add id 5 via 2001:db8:1::2 dev r0", "route add 2001:db8:12::/48 nhid 5",
            "addr add 2001:db8:77::1/128 dev r0 nodad", "route add 2001:db8:13::/48 via 2001:db8:1::2 src 2001:db8:77::1");
        r.Agree();
        r.Ip("link set r1 down", "nexthop del id 5", "addr del 2001:db8:77::1/128 dev r0");
        r.Until(() => r.Route6("2001:db8:11::/48") is null && r.Route6("2001:db8:12::/48") is null, "the routes to go");
        r.Agree();
        Assert.Empty(r.Route6("2001:db8:13::/48")!.PreferredSource);
    }

    [Fact]
    public void ExpiredRoutesAreWithdrawnBeforeTheKernelSaysSo()
    {
        using Router r = new(ipv6: true);
        r.Ip("route add 2001:db8:10::/48 via 2001:db8:1::2 expires 4", "route add 2001:db8:11::/48 via 2001:db8:1::2 expires 600");
        r.Agree();
        Assert.False(r.Route6("2001:db8:10::/48")!.Expired);
        Thread.Sleep(1000);
        Assert.False(r.Route6("2001:db8:10::/48")!.Expired);
        long begin = System.Diagnostics.Stopwatch.GetTimestamp();
        r.Until(() => r.Route6("2001:db8:10::/48")?.Expired ?? true, "it to be withdrawn");
        Assert.InRange(System.Diagnostics.Stopwatch.GetElapsedTime(begin).TotalSeconds, 0, 3.2);
        Assert.False(r.Route6("2001:db8:11::/48")!.Expired);
        r.Ip("route replace 2001:db8:10::/48 via 2001:db8:1::2");
        r.Until(() => r.Route6("2001:db8:10::/48") is { Expired: false }, "it to live again");
        r.Agree();
    }

    [Fact]
    public void InterfaceSettingsOfIpv6AreTheEffectiveOnes()
    {
        using Router r = new(ipv6: true);
        Assert.True(r.Interface("r0").Forwarding6);
        Assert.Equal(1500u, r.Interface("r0").Mtu6);
        r.Sysctl("net.ipv6.conf.r0.forwarding=0");
        r.Sysctl("net.ipv6.conf.r0.mtu=1400 net.ipv6.conf.r1.disable_ipv6=1 net.ipv6.conf.r0.proxy_ndp=1");
        r.Until(() => r.Interface("r0") is { Mtu6: 1400, ProxyNdp: true } && r.Interface("r1").Ipv6Disabled, "what no event tells");
        Assert.True(r.Interface("r0").Forwarding6); // ip6_forward asks conf.all only
        r.Sysctl("net.ipv6.conf.all.forwarding=0");
        r.Until(() => !r.Interface("r0").Forwarding6, "forwarding off");
        r.Ip("link set r0 mtu 1200");
        r.Until(() => r.Interface("r0").Mtu6 == 0, "no IPv6 under an MTU of 1280");
        r.Agree();
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void RandomChangesEndInAgreement(int seed)
    {
        using Router r = new(ipv6: true);
        Random random = new(seed);
        for (int round = 0; round < 6; round++)
        {
            r.IpForce(Enumerable.Range(0, 200).Select(_ => RandomCommand(random)));
            r.Agree();
            output.WriteLine($"round {round}: {r.Refreshes} refreshes so far, surprised by: {string.Join("; ", r.Surprises)}");
        }

        r.Ip("link set r0 up", "link set r1 up");
        r.Agree();
    }

    private static string RandomCommand(Random random)
    {
        string prefix = $"2001:db8:{100 + random.Next(8)}::/48";
        string dev = $"r{random.Next(2)}";
        string via = $"2001:db8:{1 + random.Next(2)}::{2 + random.Next(4)}";
        int id = 1 + random.Next(6);
        return random.Next(24) switch
        {
            0 or 1 => $"route add {prefix} via {via}",
            2 or 3 or 4 => $"route append {prefix} via {via}",
            5 => $"route append {prefix} dev {dev}",
            6 or 7 => $"route replace {prefix} via {via} metric {1 + random.Next(2)}",
            8 => $"route replace {prefix} nexthop via 2001:db8:1::2 nexthop via 2001:db8:2::{2 + random.Next(3)} weight {1 + random.Next(3)}",
            9 => $"route append {prefix} nexthop via 2001:db8:1::{6 + random.Next(3)} nexthop via 2001:db8:2::{6 + random.Next(3)}",
            10 => $"route del {prefix}",
            11 or 12 => $"route del {prefix} via {via}",
            13 => $"route del {prefix} dev {dev}",
            14 => $"route replace {prefix} via {via} src 2001:db8:77::1 metric 9",
            15 => $"nexthop replace id {id} via 2001:db8:{dev[1] - '0' + 1}::{2 + random.Next(4)} dev {dev}",
            16 => $"nexthop replace id {10 + random.Next(3)} group {id}/{1 + (id % 6)}",
            17 => $"nexthop del id {(random.Next(3) == 0 ? 10 + random.Next(3) : id)}",
            18 or 19 => $"route replace {prefix} nhid {(random.Next(2) == 0 ? 10 + random.Next(3) : id)} metric {100 + random.Next(2)}",
            20 => $"link set {(random.Next(2) == 0 ? dev : $"c{dev[1]}")} {(random.Next(3) == 0 ? "down" : "up")}",
            21 => $"addr {(random.Next(3) == 0 ? "del" : "add")} 2001:db8:{dev[1] - '0' + 1}::1/64 dev {dev} nodad",
            22 => $"addr {(random.Next(2) == 0 ? "del" : "add")} 2001:db8:77::1/64 dev {dev} nodad",
            _ => $"route append {prefix} via {via} mtu {1300 + (100 * random.Next(2))} from 2001:db8:5::/48",
        };
    }
}
