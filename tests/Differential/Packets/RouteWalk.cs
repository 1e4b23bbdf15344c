using System.Buffers.Binary;
using System.Net;

namespace FastPathSync.Differential;

/// <summary>
/// Packets that the fast path has no excuse not to forward: to where routes have just come or gone (first to those above which
/// several others stand: which of them takes over?) and to some of the other routes, into a port that they don't lead back to. To each a flow of two: a short packet, and one as long as an MTU in use or a
/// byte longer.
/// </summary>
internal sealed class RouteWalk(Configuration configuration, Dice dice, Func<Probe, IReadOnlyList<Paths.Way>> waysOf)
{
    private const int DontFragment = 0x4000;

    public List<Probe> Next(int number, int routes)
    {
        List<Probe> probes = [];
        string[] others = [.. configuration.Live.SelectMany(o => o.Targets).OrderBy(_ => dice.Seed())];
        IEnumerable<string> heirs = configuration.Gone.Select(g => (Target: g, Above: Above(g))).Where(g => g.Above > 1).OrderByDescending(g => g.Above).Select(g => g.Target);
        IEnumerable<string> touched = heirs.Take(routes / 3).Concat(configuration.Touched.OrderBy(_ => dice.Seed())).Distinct().Take(routes * 2 / 3);
        foreach (string target in touched.Concat(others).Distinct().Take(routes))
        {
            probes.AddRange(Flow(number + probes.Count, target));
        }

        return probes;
    }

    /// <summary>How many live prefixes hold this one.</summary>
    private int Above(string prefix)
    {
        IPNetwork p = Network(prefix);
        return configuration.Live.SelectMany(o => o.Targets).Distinct().Select(Network).Count(n => n.PrefixLength < p.PrefixLength && n.Contains(p.BaseAddress));
    }

    private static IPNetwork Network(string target) =>
        IPNetwork.Parse(target.Contains('/', StringComparison.Ordinal) ? target : $"{target}/{(Hosts.IsIpv6(target) ? 128 : 32)}");

    /// <summary>An address in it that no longer live prefix has.</summary>
    private IPAddress Destination(string target)
    {
        const int Tries = 5;
        IPNetwork t = Network(target);
        IPNetwork[] longer = [.. configuration.Live.SelectMany(o => o.Targets).Distinct().Select(Network).Where(n => n.PrefixLength > t.PrefixLength && t.Contains(n.BaseAddress))];
        IPAddress destination = IPAddress.Parse(Family.Inside(target, dice));
        for (int i = 0; i < Tries && longer.Any(n => n.Contains(destination)); i++)
        {
            destination = IPAddress.Parse(Family.Inside(target, dice));
        }

        return destination;
    }

    private IEnumerable<Probe> Flow(int number, string target)
    {
        Family family = Hosts.IsIpv6(target.Split('/')[0]) ? Family.Ipv6 : Family.Ipv4;
        IPAddress destination = Destination(target);
        int sourcePort = dice.Below(65536), destinationPort = dice.Below(65536), flags = dice.OneIn(2) ? DontFragment : 0;
        int first = dice.Below(RouterPair.Ports), length = dice.PickFrom(configuration.Mtus) + dice.Below(2);
        Func<int, Probe>[] flows = [.. Enumerable.Range(0, RouterPair.Ports).Select(i => Into((first + i) % RouterPair.Ports))];
        Func<int, Probe> flow = flows.FirstOrDefault(f => waysOf(f(0)) is { Count: > 0 } ways && ways.All(w => w.Mac is not null && w.Port != f(0).Port)) ?? flows[0];
        return [flow(0), flow(length)];

        Func<int, Probe> Into(int port)
        {
            IPAddress source = IPAddress.Parse(Family.Inside(family.BehindPrefix(port), dice));
            return length =>
            {
                byte[] tag = dice.Bytes(8);
                byte[] frame = PacketFactory.Plain(port, family, source, destination, sourcePort, destinationPort, tag, length, flags);
                return new Probe(number + (length > 0 ? 1 : 0), port, "walk", frame, BinaryPrimitives.ReadUInt64BigEndian(tag));
            };
        }
    }
}
