namespace FastPathSync.Differential;

/// <summary>What both routers begin with, and are brought back to.</summary>
internal static class Baseline
{
    /// <summary>Of the far ends: longer than the ports', so that frames of any length can be sent to them; native XDP allows 3498.</summary>
    public const int FarMtu = 3000;

    /// <summary>Makes what the kernel does repeatable: no rate limits, no waiting, no answers after a random delay.</summary>
    public static readonly (string Key, string Value)[] NamespaceSysctls =
    [
        ("net.ipv4.icmp_ratelimit", "0"),
        ("net.ipv4.icmp_ratemask", "0"),
        ("net.ipv4.icmp_msgs_per_sec", "1000000"),
        ("net.ipv4.icmp_msgs_burst", "1000000"),
        ("net.ipv6.icmp.ratelimit", "0"),
        // Seen first at random, equal on both: what the kernel hashes itself goes the same way.
        ("net.ipv4.fib_multipath_hash_seed", "20260917"),
        // Incomplete datagrams for the router itself: forgotten, with an ICMP message, long after the run.
        ("net.ipv4.ipfrag_time", "3600"),
        ("net.ipv6.ip6frag_time", "3600"),
    ];

    private static readonly string[] s_allSysctls =
    [
        "net.ipv4.ip_forward=1", "net.ipv4.fib_multipath_hash_policy=0", "net.ipv4.fib_multipath_use_neigh=0", "net.ipv4.ip_forward_use_pmtu=0",
        "net.ipv4.ip_forward_update_priority=1", "net.ipv4.ip_default_ttl=64", "net.ipv4.icmp_errors_use_inbound_ifaddr=0", "net.ipv4.fwmark_reflect=0",
        "net.ipv6.fib_multipath_hash_policy=0",
    ];

    private static readonly string[] s_ipv4PerInterface =
    [
        "rp_filter=0", "forwarding=1", "send_redirects=1", "accept_redirects=0", "accept_local=0", "route_localnet=0", "log_martians=0", "accept_source_route=0",
        "ignore_routes_with_linkdown=0", "shared_media=1", "proxy_arp=0", "bc_forwarding=0", "arp_ignore=0", "src_valid_mark=0", "promote_secondaries=0",
    ];

    private static readonly string[] s_ipv6PerInterface =
    [
        "disable_ipv6=0", "forwarding=1", "accept_ra=0", "accept_redirects=0", "accept_dad=0", "dad_transmits=0", "autoconf=0", "accept_source_route=0",
        "ignore_routes_with_linkdown=0", "router_solicitations=0", "keep_addr_on_down=0", "proxy_ndp=0", "mldv2_unsolicited_report_interval=100",
    ];

    private static readonly string[] s_neighbour = ["retrans_time_ms=100", "mcast_solicit=1", "proxy_delay=0", "unres_qlen_bytes=10000000", "base_reachable_time_ms=3600000", "gc_stale_time=3600"];

    /// <summary>Everything away but for rules, then all settings as they were.</summary>
    public static List<string> Reset()
    {
        List<string> commands = [];
        commands.AddRange("ip nexthop flush", "ip -4 route flush table all", "ip -6 route flush table all", "ip -4 route flush cache");
        commands.AddRange("ip link set lo down", "ip -4 address flush dev lo", "ip -6 address flush dev lo", "ip link set lo up");
        commands.AddRange(Ports(p => $"wire ip link set {{far}}{p} up"));
        commands.AddRange(Ports(p => $"ip link set p{p} down"));
        commands.AddRange(Ports(p => $"ip link set p{p} mtu {RouterPair.Mtu}"));
        commands.AddRange(Ports(p => $"ip -4 address flush dev p{p}"));
        commands.AddRange(Ports(p => $"ip -4 neighbor flush dev p{p} nud all"));
        commands.AddRange(Sysctls());
        commands.AddRange(Ports(p => $"ip link set p{p} up"));
        return commands;
    }

    public static IEnumerable<string> Sysctls()
    {
        foreach (string setting in s_allSysctls)
        {
            yield return $"sysctl -qw {setting}";
        }

        foreach (string name in (string[])["all", "default", .. Ports(p => $"p{p}")])
        {
            foreach (string setting in s_ipv4PerInterface)
            {
                yield return $"sysctl -qw net.ipv4.conf.{name}.{setting}";
            }

            foreach (string setting in s_ipv6PerInterface)
            {
                yield return $"sysctl -qw net.ipv6.conf.{name}.{setting}";
            }

            if (name != "all")
            {
                foreach (string setting in s_neighbour)
                {
                    yield return $"sysctl -qw net.ipv4.neigh.{name}.{setting}";
                    yield return $"sysctl -qw net.ipv6.neigh.{name}.{setting}";
                }
            }
        }
    }

    private static IEnumerable<string> Ports(Func<int, string> text) => Enumerable.Range(0, RouterPair.Ports).Select(text);
}
