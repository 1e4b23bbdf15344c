using System.Globalization;
using System.Numerics;

namespace FastPathSync.SharedMemory.Tables;

/// <summary>
/// How large the tables of a VRF are. One with ports has the full ones (they cost memory only as they fill, but a few pages
/// each); one without is mirrored for people to look at, and begins small: a thousand of them are as many customers.
/// </summary>
/// <param name="Demotions">Entries of the demotion table.</param>
/// <param name="Interfaces">Entries of the interface table.</param>
/// <param name="Addresses">Entries of the address table.</param>
/// <param name="Routes">Entries of the route table.</param>
/// <param name="Nexthops">Nexthops, and as many group members.</param>
/// <param name="Neighbours">Neighbours; hash and stamps go with them.</param>
/// <param name="Adjacencies">Without ports there is no neighbour to send to.</param>
/// <param name="FibTrieUnits">Of the tries.</param>
/// <param name="Fib4Groups">0: no DIR-24-8; the main table is compiled into a trie.</param>
public sealed record VrfSizes(
    int Demotions, int Interfaces, int Addresses, int Routes, int Routes6, int Nexthops, int Neighbours, int Adjacencies, int FibTrieUnits, int Fib4Groups)
{
    public static readonly VrfSizes Full = new(
        Capacities.Demotions, Capacities.Interfaces, Capacities.Addresses, Capacities.Routes, Capacities.Routes6, Capacities.Nexthops, Capacities.Neighbours,
        Capacities.Adjacencies, Capacities.FibTrieUnits, Capacities.Fib4Groups);

    public static readonly VrfSizes Small = new(4, 16, 16, 64, 64, 64, 32, 1, 1024, 0);

    /// <summary>The sizes that <see cref="Parse"/> knows.</summary>
    public const string Names = "interfaces, addresses, routes, routes6, nexthops, neighbours";

    private const int Fewest = 16;

    /// <summary>Full, but for what the text says, such as "routes=100000,neighbours=4096".</summary>
    /// <exception cref="FormatException">The message names the wrong part, and what would be right.</exception>
    public static VrfSizes Parse(string text) => text.Split(',').Aggregate(Full, (sizes, part) =>
    {
        string[] halves = part.Split('=');
        int n = halves.Length == 2 && int.TryParse(halves[1], NumberStyles.None, CultureInfo.InvariantCulture, out int parsed) ? parsed : -1;
        return halves[0] switch
        {
            "interfaces" => sizes with { Interfaces = Within(Capacities.Interfaces) },
            "addresses" => sizes with { Addresses = Within(Capacities.Addresses) },
            "routes" => sizes with { Routes = Within(Capacities.Routes) },
            "routes6" => sizes with { Routes6 = Within(Capacities.Routes6) },
            "nexthops" => sizes with { Nexthops = Within(Capacities.Nexthops) },
            "neighbours" => sizes with { Neighbours = (int)BitOperations.RoundUpToPowerOf2((uint)Within(Capacities.Neighbours)) }, // their hash wants that
            _ => throw new FormatException($"{part}: write NAME=NUMBER; the names are {Names}"),
        };

        int Within(int most) => n >= Fewest && n <= most ? n : throw new FormatException($"{part}: a number from {Fewest} to {most}");
    });

    /// <summary>The next larger set for a VRF that has outgrown this one; itself when there is none.</summary>
    public VrfSizes Larger() => this with
    {
        Interfaces = Math.Min(Interfaces * 4, Capacities.Interfaces),
        Addresses = Math.Min(Addresses * 4, Capacities.Addresses),
        Routes = Math.Min(Routes * 4, Capacities.Routes),
        Routes6 = Math.Min(Routes6 * 4, Capacities.Routes6),
        Nexthops = Math.Min(Nexthops * 4, Capacities.Nexthops),
        Neighbours = Math.Min(Neighbours * 4, Capacities.Neighbours),
        FibTrieUnits = Math.Min(FibTrieUnits * 4, Capacities.FibTrieUnits),
    };

    /// <summary>Of one kind of segment, as its header says it.</summary>
    public int Of(SegmentKind kind) => kind switch
    {
        SegmentKind.Vrf => Demotions,
        SegmentKind.VrfDirectory => Capacities.Vrfs,
        SegmentKind.Interface => Interfaces,
        SegmentKind.Address => Addresses,
        SegmentKind.Route => Routes,
        SegmentKind.Route6 => Routes6,
        SegmentKind.Rule => Capacities.Rules,
        SegmentKind.Capture => CaptureSegment.Sockets,
        SegmentKind.Nexthop => Nexthops,
        SegmentKind.Neighbour or SegmentKind.UseStamps => Neighbours,
        SegmentKind.Adjacency => Adjacencies,
        SegmentKind.FibTrie => FibTrieUnits,
        SegmentKind.Fib4 => Fib4Groups,
        _ => 0,
    };
}
