using FastPathSync.FpManager.Features.Route;
using FastPathSync.SharedMemory.Tables;
using Wire = FastPathSync.Fpc.Protocol;

namespace FastPathSync.FpManager.Tests;

public sealed unsafe class Route6Tests
{
    private const string Via = "2001:db8:2::2";

    /// <summary>r0 and r1 up, 2001:db8:1::/64 and 2001:db8:2::/64 connected, the router's own addresses in table local.</summary>
    private static Tables Standard() => new Tables().Standard()
        .Route6("2001:db8:1::/64", Tables.Via("", Tables.R0)).Route6("2001:db8:2::/64", Tables.Via("", Tables.R1))
        .Route6(Local("2001:db8:2::1/128")).Route6(Local("2001:db8:2::/128", type: 4)).Neighbour(Via, mac: 2).Neighbour("2001:db8:1::2", Tables.R0, mac: 1);

    private static Wire.Route6 Local(string prefix, uint type = 2, uint metric = 0) =>
        new() { Key = Tables.Key6(prefix, metric, table: 255), Type = type, Nexthops = { Tables.Via("", Tables.R1) } };

    private static Wire.Route6 Unicast(string prefix, uint metric, string via = Via, uint ifindex = Tables.R1, uint flags = 0) =>
        new() { Key = Tables.Key6(prefix, metric), Type = 1, Nexthops = { Tables.Via(via, ifindex, flags: flags) } };

    [Fact]
    public void UnresolvedGatewayPuntsAndForwardsOnceResolved()
    {
        using Tables t = Standard().NoNeighbour(Via).Route6("2001:db8:9::/48", Tables.Via(Via));
        Assert.Equal("punt no-neighbour", t.Verdict6("2001:db8:9::1"));
        t.Neighbour(Via, mac: 0x42);
        Assert.Equal("port 1 to 42", t.Verdict6("2001:db8:9::1"));
        t.NoNeighbour(Via);
        Assert.Equal("punt no-neighbour", t.Verdict6("2001:db8:9::1"));
    }

    [Fact]
    public void OwnAndAnycastAddressesAreLocalAndNeighboursAreOnLink()
    {
        using Tables t = Standard();
        Assert.Equal("punt local", t.Verdict6("2001:db8:2::1"));
        Assert.Equal("punt local", t.Verdict6("2001:db8:2::"));
        Assert.Equal("port 1 to 02", t.Verdict6(Via));
        Assert.Equal("punt no-neighbour", t.Verdict6("2001:db8:2::99"));
        Assert.Equal("punt no-route", t.Verdict6("2001:db8:99::1"));
    }

    [Fact]
    public void DefaultRouteIsAPrefixOfItsOwnAndNotThatOfIpv4()
    {
        using Tables t = Standard().Neighbour("10.2.0.2", mac: 4).Route("0.0.0.0/0", Tables.Via("10.2.0.2"));
        Assert.Equal("punt no-route", t.Verdict6("2001:db8:99::1"));
        t.Route6("::/0", Tables.Via(Via));
        Assert.Equal("port 1 to 02", t.Verdict6("2001:db8:99::1"));
        Assert.Equal("port 1 to 04", t.Verdict("8.8.8.8"));
        t.NoRoute6(Tables.Key6("::/0"));
        Assert.Equal("punt no-route", t.Verdict6("2001:db8:99::1"));
    }

    [Fact]
    public void LowestMetricWinsAndItsEndGivesTheNext()
    {
        using Tables t = Standard().Route6(Unicast("2001:db8:9::/48", 20)).Route6(Unicast("2001:db8:9::/48", 10, "2001:db8:1::2", Tables.R0));
        Assert.Equal("port 0 to 01", t.Verdict6("2001:db8:9::1"));
        t.NoRoute6(Tables.Key6("2001:db8:9::/48", 10));
        Assert.Equal("port 1 to 02", t.Verdict6("2001:db8:9::1"));
    }

    [Fact]
    public void OfADeadRoutesSuccessorsOneIsTakenAndSeveralAreLinuxsChoice()
    {
        using Tables t = Standard().Route6(Unicast("2001:db8:9::/48", 1, flags: 1)).Route6(Unicast("2001:db8:9::/48", 20));
        Assert.Equal("port 1 to 02", t.Verdict6("2001:db8:9::1"));
        t.Route6(Unicast("2001:db8:9::/48", 30, "2001:db8:1::2", Tables.R0));
        Assert.Equal("punt ambiguous-route", t.Verdict6("2001:db8:9::1"));
        t.Route6(Unicast("2001:db8:9::/48", 1));
        Assert.Equal("port 1 to 02", t.Verdict6("2001:db8:9::1"));
    }

    [Fact]
    public void APrefixWhoseRoutesAreAllDeadIsLookedPast()
    {
        using Tables t = Standard().Route6(Unicast("2001:db8::/32", 1, "2001:db8:1::2", Tables.R0)).Route6(Unicast("2001:db8:9::/48", 1, flags: 1));
        Assert.Equal("port 0 to 01", t.Verdict6("2001:db8:9::1"));
    }

    [Fact]
    public void AmbiguousExpiredAndSourceRoutesArePunted()
    {
        using Tables t = Standard();
        Wire.Route6 r = Unicast("2001:db8:9::/48", 1);
        r.Ambiguous = true;
        Assert.Equal("punt ambiguous-route", t.Route6(r).Verdict6("2001:db8:9::1"));
        r.Ambiguous = false;
        r.Expired = true;
        Assert.Equal("punt no-route", t.Route6(r).Verdict6("2001:db8:9::1"));
        r.Expired = false;
        Assert.Equal("port 1 to 02", t.Route6(r).Verdict6("2001:db8:9::1"));
        Wire.Route6 bySource = new() { Key = Tables.Key6("2001:db8:9::/48", 50, from: "2001:db8:1::/64"), Type = 1, Nexthops = { Tables.Via(Via) } };
        Assert.Equal("punt source-route", t.Route6(bySource).Verdict6("2001:db8:9::1"));
        Assert.Equal("port 1 to 02", t.NoRoute6(bySource.Key).Verdict6("2001:db8:9::1"));
    }

    [Theory]
    [InlineData(5u, "multicast")]
    [InlineData(6u, "blackhole")]
    [InlineData(7u, "unreachable")]
    [InlineData(8u, "prohibit")]
    [InlineData(9u, "throw")]
    [InlineData(11u, "route-unsupported")]
    public void OtherRouteTypesAreLinuxsToAnswer(uint type, string reason)
    {
        using Tables t = Standard().Route6(new Wire.Route6 { Key = Tables.Key6("2001:db8:9::/48"), Type = type });
        Assert.Equal($"punt {reason}", t.Verdict6("2001:db8:9::1"));
    }

    [Fact]
    public void LocalPrefixesShorterThanHostsAreLookedUpFirst()
    {
        using Tables t = Standard().Route6(Unicast("2001:db8:9:9::/64", 1)).Route6(Local("ff00::/8", type: 5, metric: 256));
        Assert.Equal(0u, t.Vrf->LocalFirst6);
        t.Route6(Local("2001:db8:9::/48"));
        Assert.Equal(1u, t.Vrf->LocalFirst6);
        Assert.Equal("punt local", t.Verdict6("2001:db8:9:9::1"));
        t.NoRoute6(Tables.Key6("2001:db8:9::/48", 0, 255));
        Assert.Equal(0u, t.Vrf->LocalFirst6);
        Assert.Equal("port 1 to 02", t.Verdict6("2001:db8:9:9::1"));
    }

    [Fact]
    public void EachTableHasATrieOfItsOwn()
    {
        using Tables t = Standard();
        t.Route6(new Wire.Route6 { Key = Tables.Key6("2001:db8:9::/48", table: 100), Type = 1, Nexthops = { Tables.Via(Via) } });
        Assert.Equal("punt no-route", t.Verdict6("2001:db8:9::1"));
        Assert.Equal("port 1 to 02", t.Verdict6("2001:db8:9::1", 100));
        Assert.Equal("punt local", t.Verdict6("2001:db8:2::1", 255));
        Assert.Equal("punt no-route", t.Verdict6(Via, 255));
    }

    [Fact]
    public void TheMtuIsTheSmallerOfTheRoutesAndTheInterfacesForIpv6()
    {
        using Tables t = Standard().Interface(Tables.R1, "r1", mtu: 1500, mtu6: 1400);
        t.Route6("2001:db8:9::/48", Tables.Via(Via)).Neighbour("10.2.0.2").Route("10.9.0.0/16", Tables.Via("10.2.0.2"));
        Assert.Equal(1400u, t.Lookup6("2001:db8:9::1").Mtu);
        Assert.Equal(1500u, t.Lookup("10.9.0.1").Mtu);
        Wire.Route6 r = Unicast("2001:db8:9::/48", 1024);
        r.Mtu = 1450;
        Assert.Equal(1400u, t.Route6(r).Lookup6("2001:db8:9::1").Mtu);
        r.Mtu = 1300;
        Assert.Equal(1300u, t.Route6(r).Lookup6("2001:db8:9::1").Mtu);
    }

    [Fact]
    public void SiblingsShareByWeightAndObjectsServeBothFamilies()
    {
        using Tables t = Standard();
        t.Route6("2001:db8:9::/48", Tables.Via("2001:db8:1::2", Tables.R0, weight: 3), Tables.Via(Via));
        Assert.Equal("0.75 port 0 to 01 | 0.25 port 1 to 02", t.Verdict6("2001:db8:9::1"));
        t.Object(new Wire.Nexthop { Id = 5, Family = 10, Ifindex = Tables.R1, Gateway = Tables.Bytes(Via) });
        t.Route6(new Wire.Route6 { Key = Tables.Key6("2001:db8:8::/48"), Type = 1, NexthopId = 5 });
        t.Route(new Wire.Route { Key = Tables.Key("10.9.0.0/16"), Type = 1, NexthopId = 5 });
        Assert.Equal("port 1 to 02", t.Verdict6("2001:db8:8::1"));
        Assert.Equal("port 1 to 02", t.Verdict("10.9.0.1"));
        t.NoObject(5);
        Assert.Equal("punt no-route", t.Verdict6("2001:db8:8::1"));
    }

    [Fact]
    public void Ipv4RoutesLeaveByIpv6Gateways()
    {
        using Tables t = Standard().Route("10.9.0.0/16", Tables.Via("fe80::2"));
        Assert.Equal("punt no-neighbour", t.Verdict("10.9.0.1"));
        t.Neighbour("fe80::2", mac: 0x77);
        Assert.Equal("port 1 to 77", t.Verdict("10.9.0.1"));
    }

    [Fact]
    public void SweepEndsWhatASynchronizationDidNotRenew()
    {
        using Tables t = Standard().Route6("2001:db8:9::/48", Tables.Via(Via)).Route6("2001:db8:8::/48", Tables.Via(Via));
        t.Sync(7, () => t.Route6("2001:db8:8::/48", Tables.Via(Via)), Wire.ObjectKind.Route6);
        Assert.Equal("punt no-route", t.Verdict6("2001:db8:9::1"));
        Assert.Equal("port 1 to 02", t.Verdict6("2001:db8:8::1"));
    }

    [Fact]
    public void ARestartFindsEverythingAndMendsWhatIsCompiledWrongly()
    {
        using Tables t = Standard().Route6("2001:db8:9::/48", Tables.Via(Via)).Route6("::/0", Tables.Via("2001:db8:1::2", Tables.R0));
        int root = t.State.Tries.Reader.Find(FibFamily.Ipv6, 254);
        t.State.Tries.TryRemove(root, new FibKey(0x20010db800090000, 0), 48);
        t.State.Tries.TrySet(root, new FibKey(0x20010db800080000, 0), 48, 1);
        Assert.Equal("port 0 to 01", t.Verdict6("2001:db8:9::1"));
        Tables again = new(t.Segments);
        Assert.Equal("port 1 to 02", again.Verdict6("2001:db8:9::1"));
        Assert.Equal("port 0 to 01", again.Verdict6("2001:db8:8::1"));
        Assert.Equal("punt local", again.Verdict6("2001:db8:2::1"));
        again.NoRoute6(Tables.Key6("2001:db8:9::/48"));
        Assert.Equal("port 0 to 01", again.Verdict6("2001:db8:9::1"));
        again.State.Tries.TryRemove(root, new FibKey(0, 0), 0);
        again.Repair(9);
        Assert.Equal("port 0 to 01", again.Verdict6("2001:db8:9::1"));
    }

    /// <summary>Random upserts and deletions, compared with a list that is searched from end to end.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void RandomChangesAgreeWithASearchThroughAllRoutes(int seed)
    {
        Random random = new(seed);
        using Tables t = Standard();
        Dictionary<Wire.Route6Key, Wire.Route6> model = [];
        for (int round = 0; round < 3000; round++)
        {
            Wire.Route6 r = RandomRoute(random);
            if (random.Next(3) == 0)
            {
                model.Remove(r.Key);
                t.NoRoute6(r.Key);
            }
            else
            {
                model[r.Key] = r;
                t.Route6(r);
            }

            if (round % 20 == 0)
            {
                ulong high = 0xfd00_0000_0000_0000 | ((ulong)random.Next(4) << 40) | ((ulong)random.Next(4) << 8), low = (ulong)random.Next(3);
                string address = new IpAddress(high, low).ToString();
                foreach (uint table in (uint[])[254, 255, 100])
                {
                    Assert.Equal(Expected(model.Values, high, low, table), Simple(t.Verdict6(address, t.State.Tries.Reader.Find(FibFamily.Ipv6, table) < 0 ? 255 : table)));
                }
            }
        }

        Tables again = new(t.Segments);
        Assert.Equal(0, again.State.Routes6.Repair());
    }

    private static string Simple(string verdict) => verdict.StartsWith("port", StringComparison.Ordinal) ? verdict[..6] : verdict;

    private static Wire.Route6 RandomRoute(Random random)
    {
        int length = (int[])[0, 8, 22, 24, 48, 56, 64, 128] is int[] l ? l[random.Next(l.Length)] : 0;
        ulong high = 0xfd00_0000_0000_0000 | ((ulong)random.Next(4) << 40) | ((ulong)random.Next(4) << 8), low = (ulong)random.Next(3);
        high &= length == 0 ? 0 : length >= 64 ? ulong.MaxValue : ulong.MaxValue << (64 - length);
        low = length == 128 ? low : 0;
        uint table = random.Next(4) switch { 0 => 255, 1 => 100, _ => 254 };
        uint port = (uint)random.Next(2);
        Wire.Route6 r = new()
        {
            Key = new Wire.Route6Key { Table = table, DestinationHigh = high, DestinationLow = low, PrefixLength = (uint)length, Metric = (uint)random.Next(3) },
            Type = random.Next(5) == 0 ? 6u : 1,
            Ambiguous = random.Next(8) == 0,
            Expired = random.Next(8) == 0,
        };
        if (r.Type == 1)
        {
            r.Nexthops.Add(Tables.Via(port == 0 ? "2001:db8:1::2" : Via, port == 0 ? Tables.R0 : Tables.R1, flags: random.Next(5) == 0 ? 1u : 0));
        }

        return r;
    }

    private static string Expected(IEnumerable<Wire.Route6> routes, ulong high, ulong low, uint table)
    {
        UInt128 address = new(high, low);
        for (int length = 128; length >= 0; length--)
        {
            UInt128 mask = length == 0 ? 0 : UInt128.MaxValue << (128 - length);
            foreach (uint t in table == 254 ? new uint[] { 255, 254 } : [table])
            {
                List<Wire.Route6> here = [.. routes.Where(r => r.Key.Table == t && r.Key.PrefixLength == length
                    && new UInt128(r.Key.DestinationHigh, r.Key.DestinationLow) == (address & mask)).OrderBy(r => r.Key.Metric)];
                if (Chosen(here) is string verdict)
                {
                    return verdict;
                }
            }
        }

        return "punt no-route";
    }

    private static string? Chosen(List<Wire.Route6> byMetric)
    {
        if (byMetric.Count == 0)
        {
            return null;
        }

        List<Wire.Route6> alive = [.. byMetric.Where(r => !r.Expired && !(r.Nexthops.Count == 1 && r.Nexthops[0].Flags != 0))];
        Wire.Route6 first = byMetric[0];
        return first.Ambiguous ? "punt ambiguous-route"
            : alive.Contains(first) ? Verdict(first)
            : alive.Count == 0 ? null
            : alive.Count == 1 && !alive[0].Ambiguous ? Verdict(alive[0])
            : "punt ambiguous-route";
    }

    private static string Verdict(Wire.Route6 r) => r.Type == 6 ? "punt blackhole" : r.Nexthops[0].Ifindex == Tables.R0 ? "port 0" : "port 1";
}
