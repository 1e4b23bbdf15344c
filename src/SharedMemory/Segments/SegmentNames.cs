namespace FastPathSync.SharedMemory;

/// <summary>
/// The names under which the segment store keeps the segments of an instance. Those of a VRF other than the home VRF have its
/// name in front: "blue/route" (a namespace's name has no slash).
/// </summary>
public static class SegmentNames
{
    // Written by fpmd, one for the instance.
    public const string VrfDirectory = "vrfs";

    /// <summary>Of a VRF without ports, in place of all that follow: its tables in one memfd.</summary>
    public const string VrfTables = "tables";

    // Written by fpmd.
    public const string Vrf = "vrf", Interface = "interface", Address = "address", Route = "route", Route6 = "route6", Nexthop = "nexthop",
        Neighbour = "neighbour", Adjacency = "adjacency", Fib4 = "fib4", FibTrie = "fib-trie", Rule = "rule", Capture = "capture", UseStamps = "use-stamps";

    // Written by fastpath.
    public const string FastPathState = "fastpath", PuntLimits = "punt-limits";

    // Written by fpsd.
    public const string TimeSeries = "time-series";

    /// <summary>The name of a VRF's segment; the home VRF is "".</summary>
    public static string Of(string vrf, string name) => vrf.Length == 0 ? name : $"{vrf}/{name}";

    /// <summary>Written by worker <paramref name="id"/> of fastpath.</summary>
    public static string Worker(int id) => $"worker-{id}";
}

/// <summary>Table sizes. They cost address space at once and memory only as they fill.</summary>
public static class Capacities
{
    public const int Ports = 64, Workers = 16, Interfaces = 4096, Addresses = 16384, Routes = 2 << 20, Routes6 = 1 << 19, Nexthops = 1 << 20,
        GroupMembers = 1 << 20, Neighbours = 1 << 17, NeighbourBuckets = 1 << 19, Adjacencies = 1 << 18, Fib4Groups = 1 << 16,
        FibTrieUnits = 1 << 24, Demotions = 512, Vrfs = 8192,
        Rules = 8192, CompiledRules = 1 << 16;
}
