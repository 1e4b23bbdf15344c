using FastPathSync.Fpctl.Features.Verify;
using FastPathSync.Fpctl.Inspection;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.Fpctl.Tests.Verify;

/// <summary>IPv6: two connected networks, an address, a neighbour, and routes through it in kernel and tables alike.</summary>
public sealed unsafe class Verifier6Tests : IDisposable
{
    private const string Gateway = "2001:db8:2::2";
    private readonly TestInstance _instance = new();
    private readonly KernelState _kernel = new();
    private readonly int _via, _local, _ambiguous;

    public Verifier6Tests()
    {
        foreach ((uint index, string name, uint mtu) in new[] { (1u, "lo", 65536u), (10u, "r0", 1500u), (11u, "r1", 1500u) })
        {
            _kernel.Interfaces.Add(new KernelInterface(index, name, mtu, 0x10001, 0x020000000000ul | index, true, true, false, true, false, mtu));
        }

        _instance.Neighbour(Gateway, TestInstance.R1, 0x42);
        _kernel.Neighbours.Add(new KernelNeighbour(TestInstance.R1, TestInstance.Any(Gateway), 4, 0x020000000142, true));
        _via = _instance.Via(Gateway, TestInstance.R1);
        _local = _instance.Punt(PuntReason.Local);
        _ambiguous = _instance.Punt(PuntReason.AmbiguousRoute);
        Both("2001:db8:1::/64", OnLink(TestInstance.R0), Hop(TestInstance.R0));
        Both("2001:db8:9::/48", _via, Via());
        Both("2001:db8:2::1/128", _local, Hop(TestInstance.R1), KernelNames.RTN_LOCAL, KernelNames.TableLocal, 0);
        Both("::/0", _via, Via());
    }

    public void Dispose() => _instance.Dispose();

    [Fact]
    public void EqualTablesAreEqual()
    {
        VerifyReport r = Run();
        Assert.Empty(r.Differences);
        Assert.Equal(4, r.Checked["route6"]);
        Assert.True(r.Checked["fib6"] > 8);
    }

    [Fact]
    public void MissingSuperfluousAndDifferentRoutesAreNamed()
    {
        _kernel.Routes6.Add(Kernel("2001:db8:7::/48", Via()));
        _instance.Route6("2001:db8:6::/48", _via, compiled: false);
        _kernel.Routes6[1] = _kernel.Routes6[1] with { Mtu = 1400 };
        IReadOnlyList<Difference> d = Run().Differences;
        Assert.Contains(d, x => x is { Kind: "route6", Object: "2001:db8:7::/48 table main metric 1024", Kernel: "unicast via 2001:db8:2::2 dev r1 proto boot", Fastpath: "absent" });
        Assert.Contains(d, x => x is { Kind: "route6", Object: "2001:db8:6::/48 table main metric 1024", Kernel: "absent" });
        Assert.Contains(d, x => x is { Kind: "route6", Object: "2001:db8:9::/48 table main metric 1024", Kernel: "unicast via 2001:db8:2::2 dev r1 proto boot mtu 1400" });
    }

    [Theory]
    [InlineData("2001:db8:9::/48", 0, "fib6", "2001:db8:9::")] // lost: ::/0 leads there as well, but the trie lacks a prefix
    [InlineData("2001:db8:9:1::/64", 1, "fib6", "2001:db8:9::")] // none of the kernel's, in the midst of one
    [InlineData("2001:db8:1::/64", 2, "fib6", "2001:db8:1::")]
    [InlineData("2001:db8:2::1/128", 2, "fib6", "2001:db8:2::1")]
    public void ATrieThatSaysOtherwiseIsFound(string prefix, int how, string kind, string @object)
    {
        _instance.Compile6(prefix, how == 0 ? 0 : how == 1 ? OnLink(TestInstance.R0) : _via);
        IReadOnlyList<Difference> d = Run().Differences;
        Assert.Contains(d, x => x.Kind == kind && (x.Object == @object || x.Object == "table main"));
    }

    [Fact]
    public void WhatLinuxDecidesByMoreThanTheDestinationMustBePunted()
    {
        Both("2001:db8:a::/48", _via, Via(), compiled: false, state: Route6Record.Ambiguous);
        _kernel.Routes6.Add(Kernel("2001:db8:a::/48", Hop(TestInstance.R0)));
        _instance.Compile6("2001:db8:a::/48", _ambiguous);
        Both("2001:db8:b::/48", _via, Via(), compiled: false, from: "2001:db8:5::/48");
        _instance.Compile6("2001:db8:b::/48", _instance.Punt(PuntReason.SourceRoute));
        Assert.Empty(Run().Differences);
        _instance.Compile6("2001:db8:a::/48", _via);
        _instance.Compile6("2001:db8:b::/48", _via);
        IReadOnlyList<Difference> d = Run().Differences;
        Assert.Contains(d, x => x is { Kind: "fib6", Object: "2001:db8:a::", Kernel: "punt ambiguous-route" });
        Assert.Contains(d, x => x is { Kind: "fib6", Object: "2001:db8:b::", Kernel: "punt source-route" });
    }

    [Fact]
    public void TheLowestMetricThatLivesDecides()
    {
        Both("2001:db8:c::/48", _via, Via(), metric: 5);
        Both("2001:db8:c::/48", OnLink(TestInstance.R0), Hop(TestInstance.R0), metric: 9, compiled: false);
        Assert.Empty(Run().Differences);
        _instance.Compile6("2001:db8:c::/48", OnLink(TestInstance.R0));
        Assert.Contains(Run().Differences, x => x is { Kind: "fib6", Object: "2001:db8:c::", Kernel: "via 2001:db8:2::2 dev r1", Fastpath: "dev r0" });
    }

    [Fact]
    public void LocalPrefixesThatAreNotLookedUpFirstAreFound()
    {
        Both("2001:db8:d::/48", _local, Hop(TestInstance.Lo), KernelNames.RTN_LOCAL, KernelNames.TableLocal);
        Assert.Contains(Run().Differences, x => x is { Kind: "fib6", Object: "order of tables", Kernel: "local first" });
        _instance.Vrf->LocalFirst6 = 1;
        Assert.Empty(Run().Differences);
    }

    [Fact]
    public void AnMtuThatIsNotIpv6sIsFound()
    {
        _kernel.Interfaces[2] = _kernel.Interfaces[2] with { Mtu6 = 1400 };
        foreach ((int slot, InterfaceRecord r) in _instance.Interfaces.Reader.All().ToList())
        {
            _instance.Interfaces.Write(slot, r.IfIndex == TestInstance.R1 ? r with { Mtu6 = 1400 } : r);
        }

        Assert.Contains(Run().Differences, x => x is { Kind: "nexthop", Object: "via 2001:db8:2::2 dev r1", Fastpath: "mtu 1500, not 1400" });
    }

    [Fact]
    public void TentativeAddressesAreNotCompared()
    {
        _kernel.Addresses.Add(new KernelAddress(TestInstance.R0, TestInstance.Any("fe80::1"), TestInstance.Any("fe80::1"), 64, 253, 0xc0));
        Assert.Empty(Run().Differences);
        _kernel.Addresses[0] = _kernel.Addresses[0] with { Flags = 0x80 };
        Assert.Contains(Run().Differences, x => x is { Kind: "address", Object: "fe80::1/64 dev r0", Fastpath: "absent" });
    }

    [Fact]
    public void TwoHundredThousandRoutesTakeSeconds()
    {
        int root = _instance.Tries.Open(FibFamily.Ipv6, KernelNames.TableMain);
        for (ulong i = 0; i < 200_000; i++)
        {
            IpAddress destination = new(0x2400_0000_0000_0000 | (i << 16), 0);
            _kernel.Routes6.Add(new KernelRoute6(new Route6Key(KernelNames.TableMain, destination, 48, default, 0, 1024), 1, 3, 0, 0, false, default, 0, [Via()], false));
            _instance.Routes6.Write(_instance.Routes6.Allocate(), new Route6Record
            {
                Table = KernelNames.TableMain,
                Destination = destination,
                PrefixLength = 48,
                Metric = 1024,
                Type = 1,
                Protocol = 3,
                Nexthop = _via,
            });
            Assert.True(_instance.Tries.TrySet(root, new FibKey(destination.High, 0), 48, _via));
        }

        long start = System.Diagnostics.Stopwatch.GetTimestamp();
        Assert.True(Run().Equal);
        Assert.True(System.Diagnostics.Stopwatch.GetElapsedTime(start) < TimeSpan.FromSeconds(10));
    }

    private static KernelHop Hop(uint ifindex) => new(ifindex, default, 1, 0, false);

    private static KernelHop Via() => new(TestInstance.R1, TestInstance.Any(Gateway), 1, 0, false);

    private static KernelRoute6 Kernel(
        string prefix, KernelHop hop, byte type = 1, uint table = KernelNames.TableMain, uint metric = 1024, string from = "::/0")
    {
        System.Net.IPNetwork n = System.Net.IPNetwork.Parse(prefix), source = System.Net.IPNetwork.Parse(from);
        return new KernelRoute6(
            new Route6Key(
                table, TestInstance.Any(n.BaseAddress.ToString()), (byte)n.PrefixLength, TestInstance.Any(source.BaseAddress.ToString()), (byte)source.PrefixLength, metric),
            type, 3, 0, 0, false, default, 0, [hop], false);
    }

    private int OnLink(uint ifindex) => _instance.Nexthop(
        new NexthopRecord { Kind = NexthopKind.Single, IfIndex = ifindex, Family = KernelNames.AF_INET6 }, NexthopWord.OnLink(ifindex, 1500));

    private void Both(
        string prefix, int nexthop, KernelHop hop, byte type = 1, uint table = KernelNames.TableMain, uint metric = 1024, bool compiled = true,
        string from = "::/0", byte state = 0)
    {
        _kernel.Routes6.Add(Kernel(prefix, hop, type, table, metric, from));
        _instance.Route6(prefix, nexthop, type, table, metric, compiled, from, state);
    }

    private VerifyReport Run() => new Verifier(_instance.Tables, () => _kernel, () => { }).Run();
}
