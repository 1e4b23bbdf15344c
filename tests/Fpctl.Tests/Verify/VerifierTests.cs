using FastPathSync.Fpctl.Features.Verify;
using FastPathSync.Fpctl.Inspection;
using FastPathSync.SharedMemory;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.Fpctl.Tests.Verify;

public sealed unsafe class VerifierTests : IDisposable
{
    private readonly TestInstance _instance = new();
    private readonly KernelState _kernel = new();
    private readonly int _via;
    private int _waits;

    /// <summary>Kernel and tables agree: two connected networks, a neighbour, a route through it, a local and a default route.</summary>
    public VerifierTests()
    {
        foreach ((uint index, string name, uint mtu) in new[] { (1u, "lo", 65536u), (10u, "r0", 1500u), (11u, "r1", 1500u) })
        {
            _kernel.Interfaces.Add(new KernelInterface(index, name, mtu, 0x10001, 0x020000000000ul | index, true, true, false));
        }

        _instance.Neighbour("10.2.0.2", TestInstance.R1, 0x42);
        _kernel.Neighbours.Add(new KernelNeighbour(TestInstance.R1, IpAddress.FromV4(TestInstance.Ip("10.2.0.2")), 4, 0x020000000142, true));
        _via = _instance.Via("10.2.0.2", TestInstance.R1);
        Both("10.1.0.0/24", _instance.OnLink(TestInstance.R0), new KernelHop(TestInstance.R0, default, 1, 0, false));
        Both("10.2.0.0/24", _instance.OnLink(TestInstance.R1), new KernelHop(TestInstance.R1, default, 1, 0, false));
        Both("10.9.0.0/16", _via, Hop("10.2.0.2", TestInstance.R1));
        Both("0.0.0.0/0", _via, Hop("10.2.0.2", TestInstance.R1));
        Both("10.1.0.1/32", _instance.Punt(PuntReason.Local), new KernelHop(TestInstance.R0, default, 1, 0, false), KernelNames.RTN_LOCAL, KernelNames.TableLocal);
    }

    public void Dispose() => _instance.Dispose();

    [Fact]
    public void EqualTablesAreEqual()
    {
        VerifyReport r = Run();
        Assert.Empty(r.Differences);
        Assert.True(r.Equal);
        Assert.Equal(0, r.Rechecks);
        Assert.Equal((3, 5, 1), (r.Checked["interface"], r.Checked["route"], r.Checked["neighbour"]));
        Assert.True(r.Checked["fib"] >= 1 << 24, "every entry of the FIB is compared");
    }

    [Fact]
    public void MissingAndSuperfluousRoutesAreNamed()
    {
        _kernel.Routes.Add(Kernel("10.7.0.0/16", Hop("10.2.0.2", TestInstance.R1)));
        _instance.Route("10.6.0.0/16", _via);
        VerifyReport r = Run();
        Assert.False(r.Equal);
        Assert.Contains(new Difference("route", "10.7.0.0/16 table main", "unicast via 10.2.0.2 dev r1 proto boot scope global", "absent"), r.Differences);
        Assert.Contains(new Difference("route", "10.6.0.0/16 table main", "absent", "unicast via 10.2.0.2 dev r1 proto boot scope global"), r.Differences);
        Assert.Equal(Verifier.Looks - 1, _waits);
    }

    [Fact]
    public void FibEntryThatLeadsElsewhereIsFound()
    {
        Fib4Segment.Table24(_instance[SegmentNames.Fib4])[TestInstance.Ip("10.9.77.0") >> 8] = (16u << 24) | (uint)_instance.OnLink(TestInstance.R0);
        Difference d = Assert.Single(Run().Differences);
        Assert.Equal(("fib", "10.9.77.0", "via 10.2.0.2 dev r1", "dev r0"), (d.Kind, d.Object, d.Kernel, d.Fastpath));
    }

    [Fact]
    public void EntryOfAGroupIsFound()
    {
        uint* table = Fib4Segment.Table24(_instance[SegmentNames.Fib4]);
        uint group = table[TestInstance.Ip("10.1.0.0") >> 8] & Fib4Reader.IndexMask;
        Fib4Segment.Groups(_instance[SegmentNames.Fib4])[(group << 8) | 200] = 0;
        Difference d = Assert.Single(Run().Differences);
        Assert.Equal(("fib", "10.1.0.200", "dev r0", "via 10.2.0.2 dev r1"), (d.Kind, d.Object, d.Kernel, d.Fastpath));
    }

    [Fact]
    public void ForgottenDefaultRouteIsFound()
    {
        NexthopSegment.Words(_instance[SegmentNames.Nexthop])[0] = NexthopWord.Punt(PuntReason.NoRoute).Value;
        Assert.Contains(Run().Differences, d => d is { Kind: "fib", Kernel: "via 10.2.0.2 dev r1", Fastpath: "punt no-route" });
    }

    [Fact]
    public void AdjacencyWithAnOldMacIsFound()
    {
        _kernel.Neighbours[0] = _kernel.Neighbours[0] with { Mac = 0x020000000199 };
        string[] kinds = [.. Run().Differences.Select(d => d.Kind).Order(StringComparer.Ordinal)];
        Assert.Equal(["adjacency", "neighbour", "nexthop"], kinds);
    }

    /// <summary>The kernel makes a NOARP entry for a broadcast address when it first sends there, and tells nobody.</summary>
    [Fact]
    public void NeighbourThatNobodyWasToldOfMayBePunted()
    {
        _kernel.Neighbours[0] = _kernel.Neighbours[0] with { State = KernelNames.NUD_NOARP };
        NexthopSegment.Words(_instance[SegmentNames.Nexthop])[_via] = NexthopWord.Punt(PuntReason.NoNeighbour).Value;
        NexthopSegment.Words(_instance[SegmentNames.Nexthop])[0] = NexthopWord.Punt(PuntReason.NoNeighbour).Value;
        Assert.DoesNotContain(Run().Differences, d => d.Kind == "nexthop");
    }

    [Fact]
    public void NeighbourThatIsResolvedButPuntedIsFound()
    {
        NexthopSegment.Words(_instance[SegmentNames.Nexthop])[_via] = NexthopWord.Punt(PuntReason.NoNeighbour).Value;
        NexthopSegment.Words(_instance[SegmentNames.Nexthop])[0] = NexthopWord.Punt(PuntReason.NoNeighbour).Value;
        Assert.Contains(Run().Differences, d => d is { Kind: "nexthop", Object: "via 10.2.0.2 dev r1", Fastpath: "punt no-neighbour" });
    }

    [Fact]
    public void NeighbourStatesThatTheKernelChangesByItselfAreEqual()
    {
        _kernel.Neighbours.Add(new KernelNeighbour(TestInstance.R1, IpAddress.FromV4(TestInstance.Ip("10.2.0.50")), 0x20, 0, false));
        _kernel.Neighbours.Add(new KernelNeighbour(TestInstance.R1, IpAddress.FromV4(TestInstance.Ip("224.0.0.22")), 0x40, 0x01005e000016, true));
        foreach (ushort state in (ushort[])[2, 4, 8, 0x10, 0x80])
        {
            _kernel.Neighbours[0] = _kernel.Neighbours[0] with { State = state };
            Assert.True(Run().Equal);
        }
    }

    [Fact]
    public void InterfaceMtuAddressAndNexthopDifferencesAreFound()
    {
        _kernel.Interfaces[2] = _kernel.Interfaces[2] with { Mtu = 9000 };
        _kernel.Addresses.Add(new KernelAddress(TestInstance.R0, IpAddress.FromV4(TestInstance.Ip("10.1.0.1")), IpAddress.FromV4(TestInstance.Ip("10.1.0.1")), 24, 0, 0));
        _kernel.Nexthops.Add(new KernelNexthop(5, Hop("10.2.0.2", TestInstance.R1), false, []));
        IReadOnlyList<Difference> d = Run().Differences;
        Assert.Contains(d, x => x is { Kind: "interface", Object: "r1 (ifindex 11)" });
        Assert.Contains(d, x => x is { Kind: "address", Object: "10.1.0.1/24 dev r0", Fastpath: "absent" });
        Assert.Contains(d, x => x is { Kind: "nexthop", Object: "id 5", Kernel: "via 10.2.0.2 dev r1", Fastpath: "absent" });
    }

    [Fact]
    public void WhatDiffersOnlyForAMomentIsNotReported()
    {
        _kernel.Routes.Add(Kernel("10.7.0.0/16", Hop("10.2.0.2", TestInstance.R1)));
        VerifyReport r = Run(() => _instance.Route("10.7.0.0/16", _via));
        Assert.True(r.Equal);
        Assert.Equal(1, r.Rechecks);
    }

    [Fact]
    public void LinuxRulesOfChoice()
    {
        // local before main, the lowest metric, a TOS route punts its prefix, groups with weights, table default last
        Both("10.20.0.0/16", _via, Hop("10.2.0.2", TestInstance.R1), metric: 5);
        Both("10.20.0.0/16", _instance.OnLink(TestInstance.R0), new KernelHop(TestInstance.R0, default, 1, 0, false), metric: 50, compiled: false);
        int tos = _instance.Punt(PuntReason.TosRoute);
        Both("10.21.0.0/16", _via, Hop("10.2.0.2", TestInstance.R1), tos: 0x10, compiled: false);
        _instance.Compile(TestInstance.Ip("10.21.0.0"), 16, tos);
        int other = _instance.OnLink(TestInstance.R0);
        Both("10.22.0.0/16", _instance.Group((_via, 1), (other, 3)), [Hop("10.2.0.2", TestInstance.R1), new KernelHop(TestInstance.R0, default, 3, 0, false)]);
        Both("10.23.0.0/16", _instance.Punt(PuntReason.Blackhole), [], KernelNames.RTN_BLACKHOLE);
        Both("10.1.0.255/32", _instance.Punt(PuntReason.Broadcast), new KernelHop(TestInstance.R0, default, 1, 0, false), KernelNames.RTN_BROADCAST, KernelNames.TableLocal);
        VerifyReport r = Run();
        Assert.Empty(r.Differences);

        _instance.Compile(TestInstance.Ip("10.20.0.0"), 16, other);
        Assert.Contains(Run().Differences, d => d is { Kind: "fib", Object: "10.20.0.0", Kernel: "via 10.2.0.2 dev r1", Fastpath: "dev r0" });
        _instance.Compile(TestInstance.Ip("10.20.0.0"), 16, _via);
        _instance.Compile(TestInstance.Ip("10.22.0.0"), 16, _instance.Group((_via, 2), (other, 3)));
        Assert.Contains(Run().Differences, d => d is { Kind: "fib", Object: "10.22.0.0" });
    }

    [Fact]
    public void HundredThousandRoutesTakeSeconds()
    {
        for (uint i = 0; i < 100_000; i++)
        {
            uint destination = 0x14000000 + (i << 8);
            _kernel.Routes.Add(new KernelRoute(new RouteKey(KernelNames.TableMain, destination, 24, 0, 0), 1, 3, 0, 0, 0, 0, [Hop("10.2.0.2", TestInstance.R1)]));
            _instance.Routes.Write(_instance.Routes.Allocate(), new RouteRecord
            {
                Table = KernelNames.TableMain,
                Destination = destination,
                PrefixLength = 24,
                Type = 1,
                Protocol = 3,
                Nexthop = _via,
            });
            Fib4Segment.Table24(_instance[SegmentNames.Fib4])[destination >> 8] = (24u << 24) | (uint)_via;
        }

        long start = System.Diagnostics.Stopwatch.GetTimestamp();
        Assert.True(Run().Equal);
        Assert.True(System.Diagnostics.Stopwatch.GetElapsedTime(start) < TimeSpan.FromSeconds(10));
    }

    private static KernelHop Hop(string gateway, uint ifindex) => new(ifindex, IpAddress.FromV4(TestInstance.Ip(gateway)), 1, 0, false);

    private static KernelRoute Kernel(
        string prefix, KernelHop[] hops, byte type = 1, uint table = KernelNames.TableMain, uint metric = 0, byte tos = 0)
    {
        System.Net.IPNetwork n = System.Net.IPNetwork.Parse(prefix);
        return new KernelRoute(
            new RouteKey(table, TestInstance.Ip(n.BaseAddress.ToString()), (byte)n.PrefixLength, tos, metric), type, 3, 0, 0, 0, 0, hops);
    }

    private static KernelRoute Kernel(string prefix, KernelHop hop) => Kernel(prefix, [hop]);

    private void Both(
        string prefix, int nexthop, KernelHop hop, byte type = 1, uint table = KernelNames.TableMain, uint metric = 0, byte tos = 0, bool compiled = true) =>
        Both(prefix, nexthop, [hop], type, table, metric, tos, compiled);

    private void Both(
        string prefix, int nexthop, KernelHop[] hops, byte type = 1, uint table = KernelNames.TableMain, uint metric = 0, byte tos = 0, bool compiled = true)
    {
        _kernel.Routes.Add(Kernel(prefix, hops, type, table, metric, tos));
        _instance.Route(prefix, nexthop, type, table, metric, compiled: compiled, tos: tos);
    }

    private VerifyReport Run(Action? meanwhile = null) => new Verifier(_instance.Tables, () => _kernel, () =>
    {
        _waits++;
        meanwhile?.Invoke();
    }).Run();
}
