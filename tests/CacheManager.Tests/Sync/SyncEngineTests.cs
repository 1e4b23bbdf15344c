using FastPathSync.Fpc.Protocol;
using FastPathSync.Linux;
using FastPathSync.Netlink;
using FastPathSync.Netlink.Rtnetlink;

namespace FastPathSync.CacheManager.Tests.Sync;

/// <summary>The engine against the real kernel, in a namespace of its own.</summary>
public sealed class SyncEngineTests(ITestOutputHelper output)
{
    [Fact]
    public void FirstSynchronizationIsTheKernelsState()
    {
        using Router r = new();
        r.Agree();
        Assert.Equal(["start"], r.Manager.Synchronizations);
        Assert.Equal(5, r.Manager.All<Fpc.Protocol.Interface>(ObjectKind.Interface).Count);
        Assert.NotNull(r.Route("10.1.0.0/24"));
    }

    [Fact]
    public void OfAppendedAndPrependedRoutesTheFirstIsPublished()
    {
        using Router r = new();
        r.Ip("route add 10.9.0.0/16 via 10.1.0.2");
        r.Agree();
        r.Ip("route append 10.9.0.0/16 via 10.1.0.3", "route append 10.9.0.0/16 via 10.1.0.6");
        r.Agree();
        Assert.Equal(new byte[] { 10, 1, 0, 2 }, r.Route("10.9.0.0/16")!.Nexthops.Single().Gateway.ToByteArray());
        r.Ip("route prepend 10.9.0.0/16 via 10.1.0.4");
        r.Agree();
        r.Ip("route replace 10.9.0.0/16 via 10.2.0.5");
        r.Agree();
        Assert.Equal(new byte[] { 10, 2, 0, 5 }, r.Route("10.9.0.0/16")!.Nexthops.Single().Gateway.ToByteArray());
        r.Ip("route del 10.9.0.0/16 via 10.1.0.2");
        r.Agree();
        r.Ip("route del 10.9.0.0/16 via 10.2.0.5");
        r.Agree();
        Assert.Equal(new byte[] { 10, 1, 0, 3 }, r.Route("10.9.0.0/16")!.Nexthops.Single().Gateway.ToByteArray());
        r.Ip("route del 10.9.0.0/16 via 10.1.0.3");
        r.Agree();
        Assert.Equal(new byte[] { 10, 1, 0, 6 }, r.Route("10.9.0.0/16")!.Nexthops.Single().Gateway.ToByteArray());
        Assert.Equal(0, r.Refreshes); // or the order was not known from the events
        r.Ip("route del 10.9.0.0/16");
        r.Agree();
        Assert.Null(r.Route("10.9.0.0/16"));
    }

    [Fact]
    public void RoutesOfEveryTypeAreMirrored()
    {
        using Router r = new();
        r.Ip("route add blackhole 10.10.0.0/16", "route add unreachable 10.11.0.0/16 metric 7", "route add prohibit 10.12.0.0/16",
            "route add throw 10.13.0.0/16 table 100", "route add 10.14.0.0/16 via 10.1.0.2 mtu 1400 table 5000",
            "route add 10.15.0.0/16 tos 0x10 via 10.2.0.2", "route add 10.16.0.0/16 src 10.1.0.1 via 10.2.0.2",
            "route add 10.17.0.0/16 nexthop via 10.1.0.2 weight 3 nexthop via 10.2.0.2 weight 200", "route add default via 10.1.0.254",
            "route add 10.18.0.0/16 via 192.0.2.1 dev r0 onlink");
        r.Agree();
        Assert.Equal(RouteConstants.RTN_UNREACHABLE, r.Route("10.11.0.0/16")!.Type);
        Assert.Equal([3u, 200u], r.Route("10.17.0.0/16")!.Nexthops.Select(n => n.Weight));
    }

    [Fact]
    public void ANexthopObjectTakesItsRoutesAndItsPlaceInGroups()
    {
        using Router r = new();
        r.Ip("nexthop add id 5 via 10.1.0.2 dev r0", "nexthop add id 6 via 10.2.0.2 dev r1", "nexthop add id 7 group 5/6", "nexthop add id 8 group 6",
            "route add 10.50.0.0/16 nhid 5", "route add 10.51.0.0/16 nhid 6", "route add 10.52.0.0/16 nhid 7", "route add 10.53.0.0/16 nhid 8");
        r.Agree();
        r.Ip("nexthop del id 6");
        r.Agree();
        Assert.NotNull(r.Route("10.50.0.0/16"));
        Assert.Null(r.Route("10.51.0.0/16"));
        Assert.Equal([5u], r.Manager.All<Fpc.Protocol.Nexthop>(ObjectKind.Nexthop).Single(n => n.Id == 7).Members.Select(m => m.Id));
        Assert.Null(r.Route("10.53.0.0/16"));
        r.Ip("nexthop replace id 5 via 10.2.0.9 dev r1");
        r.Agree();
        Assert.Empty(r.Surprises);
    }

    [Fact]
    public void AdminDownTakesRoutesThatTheKernelDoesNotMention()
    {
        using Router r = new();
        r.Ip("route add 10.20.0.0/16 via 10.1.0.2", "route add 10.21.0.0/16 nexthop via 10.1.0.2 nexthop via 10.2.0.2",
            "nexthop add id 5 via 10.1.0.2 dev r0", "nexthop add id 6 via 10.2.0.2 dev r1", "nexthop add id 7 group 5/6",
            "route add 10.22.0.0/16 nhid 5", "route add 10.23.0.0/16 nhid 7");
        r.Agree();
        r.Ip("link set r0 down");
        r.Until(() => r.Route("10.20.0.0/16") is null, "the route to go");
        r.Agree();
        Assert.Null(r.Route("10.22.0.0/16"));
        Assert.NotEqual(0u, r.Route("10.21.0.0/16")!.Nexthops[0].Flags & RouteConstants.RTNH_F_DEAD);
        r.Until(() => r.Refreshes > 0, "a refresh");
        Assert.Empty(r.Surprises);
        r.Ip("link set r0 up");
        r.Until(() => (r.Route("10.21.0.0/16")!.Nexthops[0].Flags & RouteConstants.RTNH_F_DEAD) == 0, "the member to live again");
        r.Agree();
    }

    [Fact]
    public void CarrierLossIsSeenInRoutes()
    {
        using Router r = new();
        r.Ip("route add 10.20.0.0/16 via 10.1.0.2", "route add 10.21.0.0/16 nexthop via 10.1.0.2 nexthop via 10.2.0.2",
            "nexthop add id 5 via 10.1.0.2 dev r0", "route add 10.22.0.0/16 nhid 5");
        r.Agree();
        r.Ip("link set c0 down");
        r.Until(() => (r.Route("10.20.0.0/16")!.Nexthops[0].Flags & RouteConstants.RTNH_F_LINKDOWN) != 0, "the link to be down");
        r.Agree();
        Assert.Empty(r.Surprises);
        r.Sysctl("net.ipv4.conf.all.ignore_routes_with_linkdown=1");
        r.Agree();
        Assert.True(r.Interface("r0").IgnoreRoutesWithLinkdown);
        r.Until(() => (r.Route("10.20.0.0/16")!.Nexthops[0].Flags & RouteConstants.RTNH_F_DEAD) != 0, "the route to be ignored");
        r.Ip("link set c0 up");
        r.Agree();
    }

    [Fact]
    public void DeletedAddressesAndLinksTakeTheirRoutes()
    {
        using Router r = new();
        r.Ip("addr add 10.1.1.1/24 dev r0", "route add 10.20.0.0/16 via 10.2.0.2 src 10.1.1.1", "route add 10.21.0.0/16 via 10.1.0.2",
            "route add 10.22.0.0/16 nexthop via 10.1.0.2 nexthop via 10.2.0.2", "route add 10.23.0.0/16 dev r0");
        r.Agree();
        r.Ip("addr del 10.1.1.1/24 dev r0");
        r.Agree();
        Assert.Null(r.Route("10.20.0.0/16"));
        r.Ip("addr del 10.1.0.1/24 dev r0");
        r.Agree();
        Assert.Null(r.Route("10.23.0.0/16"));
        r.Ip("link del r1");
        r.Agree();
        Assert.Null(r.Route("10.22.0.0/16"));
        Assert.Empty(r.Surprises);
    }

    [Fact]
    public void InterfaceSettingsAreTheEffectiveOnes()
    {
        using Router r = new();
        r.Sysctl("net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=1 net.ipv4.conf.r0.rp_filter=2 net.ipv4.conf.r1.rp_filter=0");
        r.Until(() => r.Interface("r0").Forwarding && r.Interface("r1").Forwarding, "forwarding");
        r.Until(() => r.Interface("r0").RpFilter == 2 && r.Interface("r1").RpFilter == 1, "rp_filter = max(all, interface)");
        r.Sysctl("net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.r0.forwarding=0");
        r.Until(() => !r.Interface("r0").Forwarding && r.Interface("r1").RpFilter == 0 && r.Interface("r0").RpFilter == 2, "them to change");
        r.Ip("link add r2 type veth peer name c2");
        r.Agree();
        r.Until(() => r.Interface("r2").Forwarding, "a new interface to inherit the default");
        r.Ip("link add b0 type bridge", "link set r2 master b0", "link set r2 nomaster", "link del b0", "link set r2 name r9");
        r.Agree();
        Assert.Equal(0u, r.Interface("r9").Master);
    }

    [Fact]
    public void NeighboursComeChangeAndGo()
    {
        using Router r = new();
        r.Ip("neigh add 10.1.0.2 lladdr 02:00:00:00:00:02 dev r0 nud permanent", "neigh add 10.1.0.3 lladdr 02:00:00:00:00:03 dev r0 nud stale",
            "neigh add proxy 10.1.0.77 dev r0");
        r.Agree();
        Assert.Equal(2, r.Manager.All<Fpc.Protocol.Neighbour>(ObjectKind.Neighbour).Count);
        r.Ip("neigh replace 10.1.0.3 lladdr 02:00:00:00:00:33 dev r0 nud reachable", "neigh del 10.1.0.2 dev r0");
        r.Agree();
        r.Ip("link set r0 down");
        r.Agree();
    }

    [Fact]
    public void LostEventsCostOneSynchronization()
    {
        using Router r = new(receiveBuffer: 1); // the kernel makes it 2 KB: two events
        AddRoutes(r, 20_000);
        AddNeighbours(r, 2_000); // of routes the kernel tells politely, yielding to a listener that is behind; of neighbours it doesn't
        r.Until(() => r.Manager.Synchronizations.Contains("overrun"), "a synchronization because of the overrun");
        r.Agree();
        Assert.NotEqual(0ul, r.Manager.State.Overruns);
        Assert.True(r.Manager.All<Fpc.Protocol.Route>(ObjectKind.Route).Count > 20_000);
    }

    [Fact]
    public void ALargeReceiveBufferLosesNothing()
    {
        using Router r = new();
        AddRoutes(r, 50_000);
        r.Agree();
        Assert.Equal(["start"], r.Manager.Synchronizations);
    }

    [Fact]
    public void ANewConnectionGetsEverything()
    {
        using Router r = new();
        r.Until(() => r.Manager.State.Idle, "the end of the first synchronization"); // cut off before it knew of that, cmgrd would still be at its start
        r.Manager.Disconnect();
        r.Ip("route add 10.20.0.0/16 via 10.1.0.2");
        r.Until(() => r.Manager.Synchronizations.Count == 2, "the second synchronization");
        r.Agree();
        Assert.Equal("reconnect", r.Manager.Synchronizations[1]);
    }

    [Fact]
    public void AQuietKernelIsHeardOfEverySecond()
    {
        using Router r = new();
        r.Agree();
        int before = r.Manager.StatesHeard;
        r.Until(() => r.Manager.StatesHeard >= before + 3, "three heartbeats");
        Assert.True(r.Manager.State.Idle);
        Assert.Equal(["start"], r.Manager.Synchronizations);
    }

    [Fact]
    public void AFullTableIsTriedAgainUntilAllFits()
    {
        using Router r = new(noSpaceRetry: TimeSpan.FromMilliseconds(200));
        r.Agree();
        r.Manager.Full = true;
        r.Ip("route add 10.20.0.0/16 via 10.1.0.2");
        r.Until(() => r.Manager.Synchronizations.Count == 3, "two attempts");
        r.Manager.Full = false;
        r.Until(() => r.Manager.Synchronizations.Count == 4, "the one that fits");
        Thread.Sleep(2000); // longer than another retry would take
        Assert.Equal(["start", "no-space", "no-space", "no-space"], r.Manager.Synchronizations);
        r.Agree();
    }

    [Fact]
    public void ADemotionDoesNotWaitForTheEndOfASynchronization()
    {
        using Router r = new();
        AddRoutes(r, 100_000);
        r.Agree();
        r.Manager.RouteMilliseconds = 15;
        r.RequestResync();
        r.Until(() => r.Manager.Synchronizing, "the synchronization to begin");
        r.Ip("xfrm policy add dir fwd src 10.99.0.0/16 dst 0.0.0.0/0 action block");
        r.Until(() => r.Manager.All<Fpc.Protocol.Demotion>(ObjectKind.Demotion).Any(d => d.Object == "ip xfrm policy dir fwd"), "the demotion");
        Assert.Equal(["start"], r.Manager.Synchronizations);
        r.Manager.RouteMilliseconds = 0;
        r.Until(() => r.Manager.Synchronizations.Count == 2, "the synchronization to end");
        r.Agree();
        Assert.Contains(r.Manager.All<Fpc.Protocol.Demotion>(ObjectKind.Demotion), d => d.Object == "ip xfrm policy dir fwd");
    }

    [Fact]
    public void APeerThatDiesWithTheWindowFullIsReplaced()
    {
        using Router r = new();
        r.Agree();
        r.Manager.Answering = false;
        for (int i = 0; i < 80; i++)
        {
            r.Ip($"route replace 10.20.0.0/16 via 10.1.0.{i + 2}"); // one batch each
        }

        r.Manager.Answering = true;
        r.Manager.Disconnect();
        r.Until(() => r.Manager.Synchronizations.Count == 2, "the second synchronization");
        r.Agree();
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void RandomChangesEndInAgreement(int seed)
    {
        using Router r = new();
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
        string prefix = $"10.{100 + random.Next(8)}.0.0/16";
        string dev = $"r{random.Next(2)}";
        string via = $"10.{1 + random.Next(2)}.0.{2 + random.Next(4)}";
        int id = 1 + random.Next(6);
        return random.Next(20) switch
        {
            0 or 1 => $"route add {prefix} via {via}",
            2 or 3 => $"route append {prefix} via {via}",
            4 => $"route prepend {prefix} via {via}",
            5 or 6 => $"route replace {prefix} via {via} metric {random.Next(2)}",
            7 => $"route replace {prefix} nexthop via 10.1.0.2 nexthop via 10.2.0.{2 + random.Next(3)} weight {1 + random.Next(3)}",
            8 or 9 => $"route del {prefix}",
            10 => $"route del {prefix} via {via}",
            11 => $"nexthop replace id {id} via 10.{dev[1] - '0' + 1}.0.{2 + random.Next(4)} dev {dev}",
            12 => $"nexthop replace id {10 + random.Next(3)} group {id}/{1 + (id % 6)}",
            13 => $"nexthop del id {(random.Next(3) == 0 ? 10 + random.Next(3) : id)}",
            14 or 15 => $"route replace {prefix} nhid {(random.Next(2) == 0 ? 10 + random.Next(3) : id)} metric {100 + random.Next(2)}",
            16 => $"link set {(random.Next(2) == 0 ? dev : $"c{dev[1]}")} {(random.Next(3) == 0 ? "down" : "up")}",
            17 => $"addr {(random.Next(3) == 0 ? "del" : "add")} 10.{dev[1] - '0' + 1}.0.1/24 dev {dev}",
            18 => $"addr {(random.Next(2) == 0 ? "del" : "add")} 10.77.0.1/24 dev {dev}",
            _ => $"route replace {prefix} via {via} src 10.77.0.1 metric 9",
        };
    }

    /// <summary>By raw netlink, 256 messages per send: as fast as the kernel takes them.</summary>
    private static void AddRoutes(Router r, int count)
    {
        using NetlinkSocket socket = NetworkNamespace.Run(r.NamespacePath, () => new NetlinkSocket(NetlinkSocket.NETLINK_ROUTE));
        int index = (int)r.Interface("r0").Ifindex;
        NetlinkRequest request = new();
        byte[] destination = new byte[4];
        for (int i = 0; i < count;)
        {
            request.Clear();
            for (int n = 0; n < 256 && i < count; n++, i++)
            {
                InetAddress.FromV4(0x14000000u + ((uint)i << 8)).CopyTo(destination);
                RtMsg header = new()
                {
                    Family = Rtm.AF_INET,
                    DestinationLength = 24,
                    Table = (byte)RouteConstants.RT_TABLE_MAIN,
                    Protocol = 4,
                    Type = RouteConstants.RTN_UNICAST,
                };
                request.Begin(Rtm.RTM_NEWROUTE, Nlm.NLM_F_REQUEST | Nlm.NLM_F_CREATE, header)
                    .Attribute(RouteConstants.RTA_DST, destination)
                    .Attribute(RouteConstants.RTA_GATEWAY, [10, 1, 0, 2])
                    .Attribute(RouteConstants.RTA_OIF, (uint)index);
            }

            socket.Send(request);
        }
    }

    private static void AddNeighbours(Router r, int count)
    {
        using NetlinkSocket socket = NetworkNamespace.Run(r.NamespacePath, () => new NetlinkSocket(NetlinkSocket.NETLINK_ROUTE));
        NetlinkRequest request = new();
        byte[] destination = new byte[4];
        for (int i = 0; i < count;)
        {
            request.Clear();
            for (int n = 0; n < 256 && i < count; n++, i++)
            {
                InetAddress.FromV4(0x0a010100u + (uint)i).CopyTo(destination);
                NdMsg header = new() { Family = Rtm.AF_INET, Index = (int)r.Interface("r0").Ifindex, State = 0x80 }; // NUD_PERMANENT
                request.Begin(Rtm.RTM_NEWNEIGH, Nlm.NLM_F_REQUEST | Nlm.NLM_F_CREATE, header)
                    .Attribute(1, destination) // NDA_DST
                    .Attribute(2, [2, 0, 0, 0, 0, 1]); // NDA_LLADDR
            }

            socket.Send(request);
        }
    }
}
