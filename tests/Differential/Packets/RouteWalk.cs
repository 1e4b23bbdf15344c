using System.Buffers.Binary;
using System.Net;

namespace FastPathSync.Differential;

/// <summary>
/// Packets that the fast path has no excuse not to forward: to where routes have just come or gone and to some of the other
/// routes, into a port that they don't lead back to. To each a flow of two: a short packet, and one as long as an MTU in use or a
/// byte longer.
/// </summary>
internal sealed class RouteWalk(Configuration configuration, Dice dice, Func<Probe, IReadOnlyList<Paths.Way>> waysOf)
{
    private const int DontFragment = 0x4000;

    public List<Probe> Next(int number, int routes)
    {
        List<Probe> probes = [];
        string[] others = [.. configuration.Live.SelectMany(o => o.Targets).OrderBy(_ => dice.Seed())];
        foreach (string target in configuration.Touched.OrderBy(_ => dice.Seed()).Take(routes * 2 / 3).Concat(others).Distinct().Take(routes))
        {
            probes.AddRange(Flow(number + probes.Count, target));
        }

        return probes;
    }

    private IEnumerable<Probe> Flow(int number, string target)
    {
        Family family = Hosts.IsIpv6(target.Split('/')[0]) ? Family.Ipv6 : Family.Ipv4;
        IPAddress destination = IPAddress.Parse(Family.Inside(target, dice));
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
