namespace FastPathSync.Differential;

/// <summary>What all kinds of routes have in common: prefix, metric, TOS, table, and how one is told from another.</summary>
internal abstract class RouteKind(Family family) : ObjectKind
{
    protected Family Family => family;

    /// <summary>A route with this nexthop text; over a live route with the same identity `replace` is used.</summary>
    protected ConfigurationObject Route(Configuration configuration, Dice dice, string type, string nexthop, bool multipath = false)
    {
        string prefix = Prefix(configuration, dice), identity = prefix;
        if (family.Bits == 32 && dice.OneIn(15))
        {
            identity += $" tos {dice.Pick("0x04", "0x10", "0x08")}";
        }

        if (dice.OneIn(4))
        {
            identity += $" metric {dice.Pick(1, 10, 10, 200, 2000)}";
        }

        if (dice.OneIn(40))
        {
            identity += $" table {dice.Pick("default", "local", "100")}";
        }

        string key = $"route{family.Suffix} {identity}";
        string verb = configuration.Has(key) ? dice.Pick("replace", "replace", "append") : dice.OneIn(12) ? dice.Pick("append", "prepend") : "add";
        if (family.Bits == 128 && verb == "prepend")
        {
            verb = "append";
        }

        int mtu = dice.Pick(1400, 1300, 1280, 600);
        string extra = dice.Below(12) switch
        {
            0 => $" mtu {mtu}",
            1 => $" mtu lock {mtu}",
            2 => $" proto {dice.Pick("bird", "static", "186")}",
            3 when family.Bits == 32 => " src 10.0.0.1",
            4 => " advmss 1000",
            5 when family.Bits == 128 => $" pref {dice.Pick("high", "low")}",
            _ => "",
        };
        return new ConfigurationObject(
            Name,
            verb is "append" or "prepend" ? $"{key} {verb} {nexthop}" : key,
            [$"{family.Ip} route {verb} {type}{identity}{Order(nexthop, extra)}"],
            [$"{family.Ip} route del {type}{identity}"])
        {
            Targets = [prefix],
            Multipath = multipath,
            Mtu = extra.StartsWith(" mtu", StringComparison.Ordinal) ? mtu : 0,
        };
    }

    /// <summary>Often one that a live object has already, or lies in or above it, so that prefixes nest.</summary>
    private string Prefix(Configuration configuration, Dice dice)
    {
        string[] live = [.. configuration.Targets(family).Where(t => t.Contains('/', StringComparison.Ordinal))];
        return live.Length == 0 ? family.RandomPrefix(dice) : dice.Below(8) switch
        {
            0 or 1 => dice.PickFrom(live),
            2 or 3 or 4 => Family.Below(dice.PickFrom(live), dice),
            _ => family.RandomPrefix(dice),
        };
    }

    /// <summary>Attributes of the route stand before a list of nexthops.</summary>
    private static string Order(string nexthop, string extra) =>
        nexthop.StartsWith("nexthop", StringComparison.Ordinal) ? $"{extra} {nexthop}" : nexthop.Length > 0 ? $" {nexthop}{extra}" : extra;
}

/// <summary>Through a gateway, or to whoever is on the cable.</summary>
internal sealed class UnicastRouteKind(Family family) : RouteKind(family)
{
    public override string Name => $"route{Family.Suffix}";

    public override double Weight => 10;

    public override ConfigurationObject? MakeUp(Configuration configuration, Dice dice)
    {
        int port = dice.Below(RouterPair.Ports);
        string nexthop = dice.Below(10) switch
        {
            0 => $"dev p{port}",
            1 => $"via {(Family.Bits == 32 ? $"172.31.{port}.{dice.Between(2, 5)}" : $"2001:db8:ff{port}::{dice.Between(2, 5)}")} dev p{port} onlink",
            2 when Family.Bits == 128 => $"via fe80::{dice.Between(2, 5)} dev p{port}",
            3 => $"via {Family.DeadHost(port, dice)} dev p{port}",
            _ => $"via {Family.LiveHost(port, dice)} dev p{port}",
        };
        return Route(configuration, dice, "", nexthop);
    }
}

/// <summary>An IPv4 route through an IPv6 gateway (RFC 8950).</summary>
internal sealed class ViaInet6RouteKind() : RouteKind(Family.Ipv4)
{
    public override string Name => "route4-via-inet6";

    public override double Weight => 1.5;

    public override ConfigurationObject? MakeUp(Configuration configuration, Dice dice)
    {
        int port = dice.Below(RouterPair.Ports);
        return Route(configuration, dice, "", $"via inet6 {(dice.OneIn(2) ? $"fe80::{dice.Between(2, 5)}" : Family.Ipv6.AnyHost(port, dice))} dev p{port}");
    }
}

/// <summary>Several ways, with weights.</summary>
internal sealed class MultipathRouteKind(Family family) : RouteKind(family)
{
    public override string Name => $"multipath{Family.Suffix}";

    public override double Weight => 3;

    public override int LongestLife => 12;

    public override ConfigurationObject? MakeUp(Configuration configuration, Dice dice)
    {
        int count = dice.Pick(2, 2, 3, 4), first = dice.Below(RouterPair.Ports);
        IEnumerable<string> nexthops = Enumerable.Range(0, count).Select(i =>
        {
            int port = dice.OneIn(5) ? first : (first + i) % RouterPair.Ports;
            string weight = dice.OneIn(2) ? $" weight {dice.Pick(1, 2, 3, 5, 20)}" : "";
            return $"nexthop via {(dice.OneIn(16) ? Family.DeadHost(port, dice) : Family.LiveHost(port, dice))} dev p{port}{weight}";
        });
        return Route(configuration, dice, "", string.Join(' ', nexthops), multipath: true);
    }
}

/// <summary>Routes that answer for themselves, or are for this host.</summary>
internal sealed class SpecialRouteKind(Family family) : RouteKind(family)
{
    public override string Name => $"special{Family.Suffix}";

    public override double Weight => 3;

    public override ConfigurationObject? MakeUp(Configuration configuration, Dice dice)
    {
        string type = dice.Pick("blackhole", "unreachable", "prohibit", "throw", "blackhole", "unreachable", "prohibit", "throw", "local", "broadcast", "multicast", "anycast");
        return type switch
        {
            "local" => Route(configuration, dice, "local ", "dev lo"),
            "broadcast" when Family.Bits == 32 => Route(configuration, dice, "broadcast ", $"dev p{dice.Below(RouterPair.Ports)}"),
            "multicast" or "anycast" => Route(configuration, dice, $"{type} ", $"dev p{dice.Below(RouterPair.Ports)}"),
            "broadcast" => null,
            _ => Route(configuration, dice, $"{type} ", ""),
        };
    }
}

/// <summary>IPv6 routes for some sources only (subtrees).</summary>
internal sealed class SourceRouteKind() : RouteKind(Family.Ipv6)
{
    public override string Name => "route6-from";

    public override double Weight => 0.5;

    public override int LongestLife => 2;

    public override ConfigurationObject? MakeUp(Configuration configuration, Dice dice)
    {
        int port = dice.Below(RouterPair.Ports);
        string source = dice.OneIn(2) ? Family.BehindPrefix(dice.Below(RouterPair.Ports)) : Family.LinkPrefix(dice.Below(RouterPair.Ports));
        string prefix = Family.RandomPrefix(dice), via = Family.LiveHost(port, dice);
        return new ConfigurationObject(
            Name,
            $"{Name} {prefix} {source}",
            [$"{Family.Ip} route add {prefix} from {source} via {via} dev p{port}"],
            [$"{Family.Ip} route del {prefix} from {source} via {via} dev p{port}"])
        {
            Targets = [prefix],
            Sources = [source],
        };
    }
}
