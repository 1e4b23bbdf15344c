using System.Net;

namespace FastPathSync.Differential;

/// <summary>Neighbours that somebody has entered: with MAC addresses that no host would have answered with, if they stay.</summary>
internal sealed class NeighbourKind(Family family) : ObjectKind
{
    public override string Name => $"neighbour{family.Suffix}";

    public override double Weight => 5;

    public override int LongestLife => 4;

    public override ConfigurationObject? MakeUp(Configuration configuration, Dice dice)
    {
        int port = dice.Below(RouterPair.Ports);
        if (dice.OneIn(8))
        {
            // Not an object that stays: all that was learned is forgotten.
            return new ConfigurationObject(Name, $"{Name} flush", [$"{family.Ip} neighbor flush dev p{port}"], []) { Lifetime = 1 };
        }

        if (dice.OneIn(12))
        {
            string target = family.Host(dice.Below(RouterPair.Ports), dice.Between(2, 6));
            return new ConfigurationObject(Name, $"{Name} proxy {target} p{port}", [$"{family.Ip} neighbor add proxy {target} dev p{port}"], [$"{family.Ip} neighbor del proxy {target} dev p{port}"]);
        }

        string address = dice.Below(8) switch
        {
            0 => family.Bits == 32 ? $"172.31.{port}.{dice.Between(2, 5)}" : $"fe80::{dice.Between(2, 5)}",
            1 => family.DeadHost(port, dice),
            _ => family.LiveHost(port, dice),
        };
        string mac = $"02:0a:00:00:{port:x2}:{dice.Between(1, 250):x2}", state = dice.Pick("permanent", "permanent", "permanent", "noarp", "reachable");
        if (state == "reachable" && Hosts.Answers(IPAddress.Parse(address).GetAddressBytes()))
        {
            // The two kernels may learn the host's own at different moments.
            mac = Hosts.Text(Hosts.MacOf(address));
        }

        return new ConfigurationObject(
            Name,
            $"{Name} {address} p{port}",
            [$"{family.Ip} neighbor replace {address} lladdr {mac} dev p{port} nud {state}"],
            [$"{family.Ip} neighbor del {address} dev p{port}"])
        {
            Targets = [address],
        };
    }
}
