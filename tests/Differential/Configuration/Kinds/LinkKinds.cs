namespace FastPathSync.Differential;

/// <summary>A cable without its far end, a port that is down: the routes through it end, some of them without a word.</summary>
internal sealed class LinkStateKind : ObjectKind
{
    public override string Name => "link-state";

    public override double Weight => 1.5;

    public override int LongestLife => 2;

    public override ConfigurationObject? MakeUp(Configuration configuration, Dice dice)
    {
        int port = dice.Below(RouterPair.Ports);
        return configuration.Has($"link p{port}") ? null : dice.Below(6) switch
        {
            0 or 1 or 2 => new ConfigurationObject(Name, $"link p{port}", [$"wire ip link set {{far}}{port} down"], [$"wire ip link set {{far}}{port} up"])
            {
                CutsCable = true,
                Lifetime = configuration.IgnoresLinkdown ? 1 : int.MaxValue, // whole again when the setting, which came before, goes
            },
            3 or 4 => new ConfigurationObject(Name, $"link p{port}", [$"ip link set p{port} down"], [$"ip link set p{port} up"]) { TakesOthersAlong = true },
            _ => new ConfigurationObject(Name, $"link p{port}", [$"ip link set p{port} down", $"ip link set p{port} up"], []) { TakesOthersAlong = true, Lifetime = 1 },
        };
    }
}

/// <summary>Other MTUs; below 1280 IPv6 leaves the port.</summary>
internal sealed class MtuKind : ObjectKind
{
    public override string Name => "mtu";

    public override double Weight => 1.5;

    public override int LongestLife => 5;

    public override ConfigurationObject? MakeUp(Configuration configuration, Dice dice)
    {
        int port = dice.Below(RouterPair.Ports), mtu = dice.Pick(1280, 1300, 1400, 1400, 1492, 600, 2000);
        return new ConfigurationObject(Name, $"mtu p{port}", [$"ip link set p{port} mtu {mtu}"], [$"ip link set p{port} mtu {RouterPair.Mtu}"]) { TakesOthersAlong = mtu < 1280, Mtu = mtu };
    }
}

/// <summary>Flags of a port.</summary>
internal sealed class LinkFlagKind : ObjectKind
{
    public override string Name => "link-flag";

    public override double Weight => 0.5;

    public override int LongestLife => 2;

    public override ConfigurationObject? MakeUp(Configuration configuration, Dice dice)
    {
        int port = dice.Below(RouterPair.Ports);
        string flag = dice.Pick("arp", "promisc", "allmulticast", "multicast"), on = flag is "arp" or "multicast" ? "off" : "on";
        return new ConfigurationObject(Name, $"{flag} p{port}", [$"ip link set p{port} {flag} {on}"], [$"ip link set p{port} {flag} {(on == "on" ? "off" : "on")}"]);
    }
}
