namespace FastPathSync.Differential;

/// <summary>A nexthop object, and a route that uses it. Its end takes the route along, in the kernel and so in the tables.</summary>
internal sealed class NexthopKind(Family family) : ObjectKind
{
    public override string Name => $"nexthop{family.Suffix}";

    public override double Weight => 3;

    public override ConfigurationObject? MakeUp(Configuration configuration, Dice dice)
    {
        int id = dice.Between(1, 40) + (family.Bits == 32 ? 0 : 40);
        string prefix = family.RandomPrefix(dice), what = Spec(family, dice, dice.Below(RouterPair.Ports));
        return new ConfigurationObject(
            Name,
            $"nexthop {id}",
            [$"{family.Ip} nexthop {(configuration.Has($"nexthop {id}") ? "replace" : "add")} id {id} {what}", $"{family.Ip} route add {prefix}{(dice.OneIn(4) ? " metric 7" : "")} nhid {id}"],
            [$"{family.Ip} nexthop del id {id}"])
        {
            Targets = [prefix],
        };
    }

    public static string Spec(Family family, Dice dice, int port) => dice.Below(12) switch
    {
        0 => "blackhole",
        1 => $"dev p{port}",
        2 => $"via {(family.Bits == 32 ? $"172.31.{port}.{dice.Between(2, 5)}" : $"2001:db8:ff{port}::{dice.Between(2, 5)}")} dev p{port} onlink",
        3 => $"via {family.DeadHost(port, dice)} dev p{port}",
        4 when family.Bits == 32 => $"via {Family.Ipv6.LiveHost(port, dice)} dev p{port}",
        _ => $"via {family.LiveHost(port, dice)} dev p{port}",
    };
}

/// <summary>A group of nexthop objects, now and then a resilient one, and the routes that use it.</summary>
internal sealed class NexthopGroupKind(Family family) : ObjectKind
{
    public override string Name => $"nexthop-group{family.Suffix}";

    public override double Weight => 2.5;

    public override int LongestLife => 12;

    public override ConfigurationObject? MakeUp(Configuration configuration, Dice dice)
    {
        int group = dice.Between(100, 115) + (family.Bits == 32 ? 0 : 100), count = dice.Pick(2, 2, 3, 4), first = dice.Below(RouterPair.Ports);
        if (configuration.Has($"nexthop {group}"))
        {
            return null;
        }

        List<string> add = [], members = [], remove = [$"{family.Ip} nexthop del id {group}"];
        for (int i = 0; i < count; i++)
        {
            int id = (group * 10) + i, port = (first + i) % RouterPair.Ports;
            add.Add($"{family.Ip} nexthop add id {id} via {(dice.OneIn(16) ? family.DeadHost(port, dice) : family.LiveHost(port, dice))} dev p{port}");
            remove.Add($"{family.Ip} nexthop del id {id}");
            members.Add(dice.OneIn(2) ? $"{id}" : $"{id},{dice.Pick(1, 2, 3, 5, 20)}");
        }

        string type = dice.OneIn(4) ? $" type resilient buckets {dice.Pick(8, 32, 64)} idle_timer 60 unbalanced_timer 0" : "";
        string prefix = family.RandomPrefix(dice), second = family.RandomPrefix(dice);
        add.Add($"{family.Ip} nexthop add id {group} group {string.Join('/', members)}{type}");
        add.Add($"{family.Ip} route add {prefix} nhid {group}");
        add.Add($"{family.Ip} route add {second} nhid {group}");
        if (dice.OneIn(4))
        {
            // A member changes under the routes.
            int port = dice.Below(RouterPair.Ports);
            add.Add($"{family.Ip} nexthop replace id {group * 10} via {family.LiveHost(port, dice)} dev p{port}");
        }
        else if (dice.OneIn(4) && type.Length == 0)
        {
            add.Add($"{family.Ip} nexthop replace id {group} group {string.Join('/', members.AsEnumerable().Reverse().Take(count - 1))}");
        }

        return new ConfigurationObject(Name, $"nexthop {group}", [.. add], [.. remove]) { Targets = [prefix, second], Multipath = true };
    }
}
