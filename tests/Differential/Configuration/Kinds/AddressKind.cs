using System.Net;

namespace FastPathSync.Differential;

/// <summary>Further addresses: of the same network, of others, /31 and /32, with a peer, without a route, on the loopback.</summary>
internal sealed class AddressKind(Family family) : ObjectKind
{
    public override string Name => $"address{family.Suffix}";

    public override double Weight => 2;

    public override ConfigurationObject? MakeUp(Configuration configuration, Dice dice)
    {
        int port = dice.Below(RouterPair.Ports);
        string own = family.Bits == 32 ? $"10.{dice.Pick(0, 64, 70 + port)}.{port}.{dice.Pick(1, 9, 129, 150)}" : $"2001:db8:{dice.Pick("7", "640", "f")}{port}::{dice.Pick(1, 9, 0x81, 0x90):x}";
        int length = family.Bits == 32 ? dice.Pick(24, 24, 25, 28, 30, 31, 32, 16) : dice.Pick(64, 64, 64, 120, 126, 127, 128, 48);
        string dev = dice.OneIn(6) ? "lo" : $"p{port}", extra = "";
        if (family.Bits == 32 && dice.OneIn(8))
        {
            string peer = $"10.70.{port}.{dice.Between(2, 5)}";
            return Make($"{own} peer {peer}", dev, "", [own, $"{peer}/32"]);
        }

        if (dice.OneIn(8))
        {
            extra = " noprefixroute";
        }
        else if (dice.OneIn(8))
        {
            extra = $" metric {dice.Pick(10, 500)}";
        }
        else if (family.Bits == 32 && dice.OneIn(6))
        {
            extra = $" broadcast {own[..own.LastIndexOf('.')]}.77";
        }

        return Make($"{own}/{length}", dev, family.Bits == 128 ? extra + " nodad" : extra, [own, Next(own)]);
    }

    /// <summary>A host beside it, so that few neighbours are asked for.</summary>
    private static string Next(string address)
    {
        byte[] bytes = IPAddress.Parse(address).GetAddressBytes();
        bytes[^1]++;
        return new IPAddress(bytes).ToString();
    }

    private ConfigurationObject Make(string address, string dev, string extra, string[] targets) => new(
        Name,
        $"{Name} {address} {dev}",
        [$"{family.Ip} address add {address} dev {dev}{extra}"],
        [$"{family.Ip} address del {address} dev {dev}"])
    {
        Targets = targets,
    };
}
