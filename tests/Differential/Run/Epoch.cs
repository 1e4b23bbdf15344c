using System.Buffers.Binary;
using System.Diagnostics;
using System.Net;

namespace FastPathSync.Differential;

/// <summary>
/// An epoch: new routers, then rounds, each a changed configuration, and in each many packets, each a case. Everything follows
/// from the seed and the epoch's number, so an epoch can be run again alone.
/// </summary>
internal sealed class Epoch(RouterPair routers, RunOptions options, int number)
{
    private const int Rounds = 10, ProbesPerRound = 50, WalkedRoutes = 12, FlowsPerSpread = 160, WarmUp = 16, MostSuspects = 25;
    private readonly Judge _judge = new(routers);
    private readonly List<string> _history = [];
    private readonly Configuration _configuration = new();

    public int Cases { get; private set; }

    public List<Mismatch> Mismatches { get; } = [];

    /// <summary>In one of three epochs there is a port that the fast path doesn't have: what leaves by it is Linux's.</summary>
    public static int? LinuxPort(int seed, int number)
    {
        Dice dice = new(unchecked((seed * 17) + (number * 1_000_033)));
        return dice.OneIn(3) ? dice.Below(RouterPair.Ports) : null;
    }

    /// <summary>Runs until so many cases are done, or a mismatch is found that ends the run.</summary>
    public void Run(int cases)
    {
        bool Enough() => Cases >= cases || (Mismatches.Count > 0 && !options.KeepGoing);
        Dice dice = new(unchecked((options.Seed * 31) + (number * 1_000_003)));
        Change(_configuration.Begin());
        for (int round = 0; round < Rounds && !Enough(); round++)
        {
            Stopwatch clock = Stopwatch.StartNew();
            Change(_configuration.Step(dice, dice.Between(3, round == 0 ? 20 : 8)));
            Trace(() => $"epoch {number} round {round}: {_configuration.Live.Count} objects, followed after {clock.ElapsedMilliseconds} ms; "
                + $"demotions: {string.Join("; ", routers.Product.Status().Demotions.Select(d => d.Object))}");
            if (!dice.OneIn(8))
            {
                Resolve();
            }

            PacketFactory factory = new(_configuration, dice);
            Send([.. Enumerable.Range(0, ProbesPerRound).Select(i => factory.Next(Cases + i))]);
            if (!Enough())
            {
                Send(new RouteWalk(_configuration, dice, _judge.Paths.Of).Next(Cases, WalkedRoutes));
            }

            if (!Enough() && round % 2 == 1)
            {
                Spread(dice);
            }

            Trace(() => $"  sent after {clock.ElapsedMilliseconds} ms");
        }
    }

    private void Change(List<Change> changes)
    {
        HashSet<int> failed = routers.Apply([.. changes.Select(c => c.Command)]);
        Trace(() => string.Join('\n', changes.Select((c, i) => $"    {c.Command}{(failed.Contains(i) ? "   # fails" : "")}")));
        _configuration.Forget(changes, failed);
        _history.AddRange(changes.Select(c => c.Command).Where((_, i) => !failed.Contains(i)));
        _judge.Changed();
        if (Following.Wait(routers.Product, changes.Select(c => c.Command), options.Verify) is string complaint)
        {
            Report(new Mismatch(complaint, [], new Comparison([], [])));
        }
    }

    /// <summary>
    /// Has both routers ask for the hosts that routes lead to: otherwise most packets would find a neighbour that is only just
    /// being asked for, and go by Linux. Not in all rounds, since that has to be right too.
    /// </summary>
    private void Resolve()
    {
        HashSet<string> known = [.. routers.Ip(Side.Kernel, "neighbor show").Split('\n').Where(l => l.Contains("lladdr", StringComparison.Ordinal)).Select(l => l.Split(' ')[0])];
        List<Probe> probes = [];
        foreach (Family family in Family.Both)
        {
            for (int port = 0; port < RouterPair.Ports; port++)
            {
                int from = (port + 1) % RouterPair.Ports;
                foreach (IPAddress host in Enumerable.Range(Family.FirstHost, Family.LiveHosts).Select(h => IPAddress.Parse(family.Host(port, h))).Where(h => !known.Contains(h.ToString())))
                {
                    probes.Add(new Probe(0, from, "resolve", PacketFactory.Plain(from, family, IPAddress.Parse(family.Host(from, Family.FirstHost)), host, 1, 2, []), 0));
                }
            }
        }

        if (probes.Count > 0)
        {
            _judge.Try(probes);
        }
    }

    private void Send(List<Probe> probes)
    {
        Cases += probes.Count;
        Comparison difference = _judge.Try(probes);
        if (!difference.Equal)
        {
            Isolate(difference, probes);
        }
    }

    /// <summary>Sends those again, one by one, that may have caused the difference.</summary>
    private void Isolate(Comparison batch, List<Probe> probes)
    {
        Emission[] odd = [.. batch.OnlyKernel, .. batch.OnlyProduct];
        List<Probe> suspects = [.. probes.Where(p => odd.Any(e => p.Marks(e.Bytes)))];
        if (odd.Any(e => !probes.Exists(p => p.Marks(e.Bytes))))
        {
            suspects = [.. suspects, .. probes.Except(suspects)];
        }

        foreach (Probe probe in suspects.Take(MostSuspects))
        {
            if (_judge.TryAlone(probe) is Comparison alone)
            {
                Report(new Mismatch("the routers differ", [probe], alone));
                return; // the others are most likely for the same reason
            }
        }

        batch = new Comparison(Lasting(batch.OnlyKernel), Lasting(batch.OnlyProduct));
        if (!batch.Equal && !(WaysDependOnNeighbours() && _judge.Try(suspects).Equal))
        {
            Report(new Mismatch("the routers differ", [.. suspects.Take(6)], batch) { Reproducible = false });
        }
    }

    /// <summary>
    /// A group's members whose neighbours are only just being asked for are left out meanwhile (fib_good_nh): each of the two kernels
    /// asks at a moment of its own, so that what is right for a group can be said once they have their answers.
    /// </summary>
    private bool WaysDependOnNeighbours() => _configuration.Live.Any(o => o.ToString().Contains("fib_multipath_use_neigh=1", StringComparison.Ordinal));

    /// <summary>
    /// Without "host unreachable". Each alone has brought the right ones; of many at once that wait for one neighbour, Linux
    /// throws some away silently if another packet comes while it answers them (neigh_invalidate lets go of its lock). And without
    /// redirects: one that found no neighbour counts as sent (ip_rt_send_redirect), and the next has to wait for its time.
    /// </summary>
    private static List<Emission> Lasting(List<Emission> emissions) => [.. emissions.Where(e => !Redirects.Is(e) && e.Bytes is not
        ([_, _, _, _, _, _, _, _, _, _, _, _, 0x08, 0x00, 0x45, _, _, _, _, _, _, _, _, 1, _, _, _, _, _, _, _, _, _, _, 3, 1, ..]
        or [_, _, _, _, _, _, _, _, _, _, _, _, 0x86, 0xdd, _, _, _, _, _, _, 58, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, 1, 3, ..]))];

    /// <summary>Many flows into one multipath route, so that each nexthop's part of the hashes is met.</summary>
    private void Spread(Dice dice)
    {
        // Into a port that none of the ways leads back to: such packets go by Linux.
        var bundles =
            from target in _configuration.Live.Where(o => o.Multipath).SelectMany(o => o.Targets).OrderBy(_ => dice.Seed()).ToArray()
            let destination = IPAddress.Parse(Family.Inside(target, dice))
            from port in Enumerable.Range(0, RouterPair.Ports).OrderBy(_ => dice.Seed()).ToArray()
            where port != routers.LinuxPort && _judge.Paths.Of(Make(destination, port, Cases)) is { Count: > 1 } ways && ways.All(w => w.Mac is not null && w.Port != port)
            select (destination, port);
        if (bundles.FirstOrDefault() is not (IPAddress to, int from))
        {
            Trace(() => "  no route to spread flows over");
            return;
        }

        List<Probe> probes = [.. Enumerable.Range(0, FlowsPerSpread).Select(i => Make(to, from, Cases + i))];
        Send(probes[..WarmUp]); // the neighbours are asked for
        Send(probes[WarmUp..]);

        Probe Make(IPAddress destination, int port, int number)
        {
            byte[] tag = dice.Bytes(8);
            Family family = Hosts.IsIpv6(destination.ToString()) ? Family.Ipv6 : Family.Ipv4;
            IPAddress source = IPAddress.Parse(Family.Anywhere(family.BehindPrefix(port), dice)); // by policy 0, those from an edge would all go one way
            byte[] frame = PacketFactory.Plain(port, family, source, destination, dice.Below(65536), dice.Below(65536), tag);
            return new Probe(number, port, "spread", frame, BinaryPrimitives.ReadUInt64BigEndian(tag));
        }
    }

    private void Report(Mismatch mismatch)
    {
        mismatch = mismatch with { History = [.. _history], Live = [.. _configuration.Live], LinuxPort = routers.LinuxPort, Neighbours = [.. Neighbours()] };
        Mismatches.Add(mismatch);
        foreach (string line in mismatch.Describe())
        {
            Console.WriteLine(line);
        }

        Console.WriteLine($"  again: ./dev test differential --seed {options.Seed} --epoch {number} --cases {Cases}");
    }

    private IEnumerable<string> Neighbours() =>
        from line in routers.Ip(Side.Kernel, "neighbor show").Split('\n')
        let words = line.Split(' ')
        where words is [_, "dev", _, "lladdr", _, ..] && !line.Contains("PERMANENT", StringComparison.Ordinal) && !line.Contains("FAILED", StringComparison.Ordinal)
        select $"ip -{(words[0].Contains(':', StringComparison.Ordinal) ? 6 : 4)} neighbor replace {words[0]} lladdr {words[4]} dev {words[2]} nud reachable";

    private void Trace(Func<string> line)
    {
        if (options.Verbose)
        {
            Console.WriteLine(line());
        }
    }
}
