using System.Net;

namespace FastPathSync.Differential;

/// <summary>From whom to whom, through which port: the addresses of a packet, drawn from what is configured.</summary>
internal sealed class Aim(Configuration configuration, Dice dice)
{
    private readonly List<(int Port, Family Family, IPAddress Source, IPAddress Destination, int SourcePort, int DestinationPort, int FlowLabel)> _flows = [];

    /// <summary>Now and then a flow again that was used before in this round, so that each is seen to keep its way.</summary>
    public (int Port, IPAddress Source, IPAddress Destination, int SourcePort, int DestinationPort, int FlowLabel) Flow(Family family)
    {
        if (_flows.Count > 0 && dice.OneIn(4))
        {
            var old = dice.PickFrom(_flows);
            if (old.Family == family)
            {
                return (old.Port, old.Source, old.Destination, dice.OneIn(4) ? dice.Below(65536) : old.SourcePort, old.DestinationPort, old.FlowLabel);
            }
        }

        int port = dice.Below(RouterPair.Ports);
        IPAddress source = IPAddress.Parse(Source(family, port)), destination = IPAddress.Parse(Destination(family, port));
        int sourcePort = dice.Below(65536), destinationPort = dice.Pick(5000, 5001, 53, 80, dice.Below(65536)), label = dice.OneIn(2) ? 0 : dice.Below(1 << 20);
        _flows.Add((port, family, source, destination, sourcePort, destinationPort, label));
        return (port, source, destination, sourcePort, destinationPort, label);
    }

    private string Source(Family family, int port) => dice.Below(24) switch
    {
        < 6 => family.Host(port, dice.Between(2, 4)),
        < 16 => Family.Inside(family.BehindPrefix(port), dice),
        16 => Family.Inside(family.BehindPrefix(dice.Below(RouterPair.Ports)), dice),
        17 => family.Host(dice.Below(RouterPair.Ports), dice.Between(2, 4)),
        18 => OddSource(family),
        19 => family.OwnAddress(dice.Below(RouterPair.Ports)),
        20 or 21 when configuration.Sources(family) is { Count: > 0 } sources => Family.Inside(dice.PickFrom(sources), dice),
        22 when configuration.Targets(family) is { Count: > 0 } targets => Family.Inside(dice.PickFrom(targets), dice),
        23 when family.Bits == 128 => $"fe80::{dice.Between(2, 4)}",
        _ => Family.Inside(family.BehindPrefix(port), dice),
    };

    private string OddSource(Family family) => dice.PickFrom(family.OddAddresses);

    private string Destination(Family family, int port)
    {
        IReadOnlyList<string> targets = configuration.Targets(family);
        return dice.Below(24) switch
        {
            < 13 when targets.Count > 0 => Family.Inside(dice.PickFrom(targets), dice),
            13 => Family.Inside(family.RandomPrefix(dice), dice),
            < 17 => family.LiveHost(OtherThan(port), dice),
            17 => family.DeadHost(dice.Below(RouterPair.Ports), dice),
            18 => family.Host(port, dice.Between(2, 4)),
            19 => family.OwnAddress(dice.Below(RouterPair.Ports)),
            20 => dice.PickFrom(family.OddAddresses),
            _ => Family.Inside(family.BehindPrefix(OtherThan(port)), dice),
        };
    }

    private int OtherThan(int port) => (port + dice.Between(1, RouterPair.Ports - 1)) % RouterPair.Ports;
}
