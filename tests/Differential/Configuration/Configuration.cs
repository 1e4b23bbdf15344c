namespace FastPathSync.Differential;

/// <summary>What is configured on both routers now, and how it changes from round to round.</summary>
internal sealed class Configuration
{
    private static readonly ObjectKind[] s_kinds =
    [
        new UnicastRouteKind(Family.Ipv4), new UnicastRouteKind(Family.Ipv6), new MultipathRouteKind(Family.Ipv4), new MultipathRouteKind(Family.Ipv6),
        new SpecialRouteKind(Family.Ipv4), new SpecialRouteKind(Family.Ipv6), new ViaInet6RouteKind(), new SourceRouteKind(),
        new NexthopKind(Family.Ipv4), new NexthopKind(Family.Ipv6), new NexthopGroupKind(Family.Ipv4), new NexthopGroupKind(Family.Ipv6),
        new NeighbourKind(Family.Ipv4), new NeighbourKind(Family.Ipv6), new AddressKind(Family.Ipv4), new AddressKind(Family.Ipv6),
        new RuleKind(Family.Ipv4), new RuleKind(Family.Ipv6), new SysctlKind(), new LinkStateKind(), new MtuKind(), new LinkFlagKind(),
    ];

    private readonly List<ConfigurationObject> _live = [];

    public IReadOnlyList<ConfigurationObject> Live => _live;

    /// <summary>Prefixes and addresses of what came or went in the last step.</summary>
    public IReadOnlyList<string> Touched { get; private set; } = [];

    /// <summary>Prefixes of what came to its end in the last step: another one above each takes over.</summary>
    public IReadOnlyList<string> Gone { get; private set; } = [];

    public bool Has(string key) => _live.Exists(o => o.Key == key);

    /// <summary>ignore_routes_with_linkdown is set somewhere.</summary>
    public bool IgnoresLinkdown => _live.Exists(o => o.Key.EndsWith(SysctlKind.IgnoreLinkdown, StringComparison.Ordinal));

    /// <summary>Prefixes and addresses that live objects are about.</summary>
    public IReadOnlyList<string> Targets(Family family) => [.. _live.SelectMany(o => o.Targets).Where(t => t.Contains(':', StringComparison.Ordinal) == (family.Bits == 128))];

    public IReadOnlyList<string> Sources(Family family) => [.. _live.SelectMany(o => o.Sources).Where(t => t.Contains(':', StringComparison.Ordinal) == (family.Bits == 128))];

    /// <summary>MTUs that packets may meet: of ports, and of routes.</summary>
    public IReadOnlyList<int> Mtus => [RouterPair.Mtu, .. _live.Where(o => o.Mtu > 0).Select(o => o.Mtu)];

    /// <summary>Forgets all objects and begins again with the address plan.</summary>
    public List<Change> Begin()
    {
        _live.Clear();
        List<Change> changes = [];
        foreach (Family family in Family.Both)
        {
            for (int port = 0; port < RouterPair.Ports; port++)
            {
                string length = family.Bits == 32 ? "24" : "64 nodad";
                Add(changes, new ConfigurationObject("base", $"base{family.Suffix} p{port}", [$"{family.Ip} address add {family.OwnAddress(port)}/{length} dev p{port}"], []));
                Add(changes, new ConfigurationObject("base", $"base{family.Suffix} behind p{port}", [$"{family.Ip} route add {family.BehindPrefix(port)} via {family.Host(port, 2)} dev p{port}"], [])
                {
                    Targets = [family.BehindPrefix(port)],
                });
            }
        }

        return changes;
    }

    /// <summary>One round on: what has lived long enough ends, something new comes.</summary>
    public List<Change> Step(Dice dice, int additions)
    {
        List<Change> changes = [];
        List<string> touched = [], gone = [];
        bool mend = false;
        foreach (ConfigurationObject o in _live.ToArray())
        {
            if (o.Lifetime != int.MaxValue && --o.Lifetime <= 0)
            {
                _live.Remove(o);
                touched.AddRange(o.Targets);
                gone.AddRange(o.Targets);
                mend |= o.TakesOthersAlong;
                changes.AddRange(o.Remove.Select(c => new Change(c, null)));
            }
        }

        if (mend)
        {
            // What vanished with it comes back; what is still there says so and stays.
            changes.AddRange(_live.Where(o => !o.TakesOthersAlong).SelectMany(o => o.Add).Select(c => new Change(c, null)));
        }

        for (int i = 0; i < additions;)
        {
            ObjectKind kind = dice.PickWeighted(s_kinds, k => k.Weight);
            if (kind.MakeUp(this, dice) is ConfigurationObject made)
            {
                made.Lifetime = Math.Min(made.Lifetime, dice.Between(1, kind.LongestLife));
                Add(changes, made);
                touched.AddRange(made.Targets);
                i++;
            }
        }

        foreach (Family family in Family.Both.Where(_ => dice.OneIn(2)))
        {
            foreach (ConfigurationObject route in Nest.MakeUp(family, dice))
            {
                Add(changes, route);
                touched.AddRange(route.Targets);
            }
        }

        Touched = [.. touched.Distinct()];
        Gone = [.. gone.Distinct().Where(g => !_live.Exists(o => o.Targets.Contains(g)))];
        return changes;
    }

    /// <summary>An object whose every command failed on both routers never was.</summary>
    public void Forget(IReadOnlyList<Change> changes, HashSet<int> failed)
    {
        foreach (IGrouping<ConfigurationObject?, int> made in Enumerable.Range(0, changes.Count).GroupBy(i => changes[i].Of))
        {
            if (made.Key is not null && made.All(failed.Contains))
            {
                _live.Remove(made.Key);
            }
        }
    }

    private void Add(List<Change> changes, ConfigurationObject made)
    {
        _live.RemoveAll(o => o.Key == made.Key);
        _live.Add(made);
        changes.AddRange(made.Add.Select(c => new Change(c, made)));
    }
}

/// <summary>A command, and the object that it makes (null: it removes or mends).</summary>
internal sealed record Change(string Command, ConfigurationObject? Of);
