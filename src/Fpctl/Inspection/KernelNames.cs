using System.Globalization;

namespace FastPathSync.Fpctl.Inspection;

/// <summary>Numbers of linux/rtnetlink.h, linux/neighbour.h and linux/if.h, in the words of iproute2.</summary>
internal static class KernelNames
{
    public const byte AF_INET = 2, AF_INET6 = 10;
    public const uint TableDefault = 253, TableMain = 254, TableLocal = 255;
    public const byte RTN_UNICAST = 1, RTN_LOCAL = 2, RTN_BROADCAST = 3, RTN_ANYCAST = 4, RTN_MULTICAST = 5, RTN_BLACKHOLE = 6,
        RTN_UNREACHABLE = 7, RTN_PROHIBIT = 8, RTN_THROW = 9;
    public const uint RTNH_F_DEAD = 1, RTNH_F_LINKDOWN = 16;

    /// <summary>NUD_PERMANENT | NUD_NOARP | NUD_REACHABLE | NUD_PROBE | NUD_STALE | NUD_DELAY (NUD_VALID of net/neighbour.h).</summary>
    public const ushort NUD_VALID = 0xde, NUD_NOARP = 0x40;

    private static readonly string[] s_routeTypes =
        ["unspec", "unicast", "local", "broadcast", "anycast", "multicast", "blackhole", "unreachable", "prohibit", "throw", "nat", "xresolve"];

    private static readonly string[] s_operStates =
        ["UNKNOWN", "NOTPRESENT", "DOWN", "LOWERLAYERDOWN", "TESTING", "DORMANT", "UP"];

    private static readonly (ushort Bit, string Name)[] s_neighbourStates =
    [
        (0x01, "INCOMPLETE"), (0x02, "REACHABLE"), (0x04, "STALE"), (0x08, "DELAY"), (0x10, "PROBE"), (0x20, "FAILED"),
        (0x40, "NOARP"), (0x80, "PERMANENT"),
    ];

    private static readonly (uint Bit, string Name)[] s_nexthopFlags =
        [(1, "dead"), (2, "pervasive"), (4, "onlink"), (8, "offload"), (16, "linkdown"), (32, "unresolved"), (64, "trap")];

    private static readonly (uint Bit, string Name)[] s_interfaceFlags =
    [
        (0x8, "LOOPBACK"), (0x2, "BROADCAST"), (0x10, "POINTOPOINT"), (0x1000, "MULTICAST"), (0x80, "NOARP"), (0x200, "ALLMULTI"),
        (0x100, "PROMISC"), (0x1, "UP"), (0x10000, "LOWER_UP"),
    ];

    public static string Table(uint table) => table switch
    {
        TableDefault => "default",
        TableMain => "main",
        TableLocal => "local",
        _ => Number(table),
    };

    public static string RouteType(byte type) => type < s_routeTypes.Length ? s_routeTypes[type] : Number(type);

    /// <summary>As ip -j writes it.</summary>
    public static string Family(bool ipv4) => ipv4 ? "inet" : "inet6";

    /// <summary>RFC 4191, of RTA_PREF; null for medium, which is what most are.</summary>
    public static string? Preference(byte preference) => preference switch
    {
        1 => "high",
        3 => "low",
        _ => null,
    };

    public static string Scope(byte scope) => scope switch
    {
        0 => "global",
        200 => "site",
        253 => "link",
        254 => "host",
        255 => "nowhere",
        _ => Number(scope),
    };

    public static string Protocol(byte protocol) => protocol switch
    {
        0 => "unspec",
        1 => "redirect",
        2 => "kernel",
        3 => "boot",
        4 => "static",
        8 => "gated",
        9 => "ra",
        10 => "mrt",
        11 => "zebra",
        12 => "bird",
        13 => "dnrouted",
        14 => "xorp",
        15 => "ntk",
        16 => "dhcp",
        17 => "mrouted",
        18 => "keepalived",
        42 => "babel",
        186 => "bgp",
        187 => "isis",
        188 => "ospf",
        189 => "rip",
        192 => "eigrp",
        _ => Number(protocol),
    };

    public static string OperState(byte state) => state < s_operStates.Length ? s_operStates[state] : Number(state);

    /// <summary>["REACHABLE"], as ip -j neigh prints it; ["NONE"] for no state at all.</summary>
    public static string[] NeighbourState(ushort state)
    {
        string[] names = [.. from s in s_neighbourStates where (state & s.Bit) != 0 select s.Name];
        return names.Length == 0 ? ["NONE"] : names;
    }

    public static string[] NexthopFlags(uint flags) => [.. from f in s_nexthopFlags where (flags & f.Bit) != 0 select f.Name];

    public static string[] InterfaceFlags(uint flags) => [.. from f in s_interfaceFlags where (flags & f.Bit) != 0 select f.Name];

    private static string Number(uint n) => n.ToString(CultureInfo.InvariantCulture);
}
