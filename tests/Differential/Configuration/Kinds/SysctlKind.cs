namespace FastPathSync.Differential;

/// <summary>Settings that change what is forwarded. Most of them hand a port or everything to Linux, so they don't stay long.</summary>
internal sealed class SysctlKind : ObjectKind
{
    /// <summary>
    /// Not changed while a cable is cut: Linux reckons the shares of nexthops when a link comes or goes, by what the setting is
    /// then, and doesn't say what it was (fib_rebalance; docs/features/nexthop.md).
    /// </summary>
    public const string IgnoreLinkdown = "ignore_routes_with_linkdown";

    /// <summary>Below net., {if}: a port or all. Value by default, values to set.</summary>
    private static readonly (string Key, string Default, string[] Values)[] s_settings =
    [
        ("ipv4.conf.{if}.rp_filter", "0", ["1", "2"]),
        ("ipv4.conf.{if}.rp_filter", "0", ["1", "2"]),
        ("ipv4.conf.{if}.forwarding", "1", ["0"]),
        ("ipv4.conf.{if}.send_redirects", "1", ["0"]),
        ("ipv4.conf.{if}.shared_media", "1", ["0"]),
        ("ipv4.conf.{if}.accept_local", "0", ["1"]),
        ("ipv4.conf.{if}.route_localnet", "0", ["1"]),
        ("ipv4.conf.{if}.accept_source_route", "0", ["1"]),
        ("ipv4.conf.{if}.ignore_routes_with_linkdown", "0", ["1"]),
        ("ipv4.conf.{if}.ignore_routes_with_linkdown", "0", ["1"]),
        ("ipv4.conf.{if}.log_martians", "0", ["1"]),
        ("ipv4.conf.{if}.bc_forwarding", "0", ["1"]),
        ("ipv4.conf.{if}.proxy_arp", "0", ["1"]),
        ("ipv4.conf.{if}.arp_ignore", "0", ["1", "2", "8"]),
        ("ipv4.conf.{if}.src_valid_mark", "0", ["1"]),
        ("ipv4.conf.{if}.drop_unicast_in_l2_multicast", "0", ["1"]),
        ("ipv4.fib_multipath_hash_policy", "0", ["1", "2", "3"]),
        ("ipv4.fib_multipath_hash_policy", "0", ["1"]),
        ("ipv4.fib_multipath_use_neigh", "0", ["1"]),
        ("ipv4.ip_forward", "1", ["0"]),
        ("ipv4.ip_forward_use_pmtu", "0", ["1"]),
        ("ipv4.ip_forward_update_priority", "1", ["0"]),
        ("ipv4.ip_default_ttl", "64", ["100"]),
        ("ipv4.icmp_errors_use_inbound_ifaddr", "0", ["1"]),
        ("ipv6.conf.{if}.forwarding", "1", ["0"]),
        ("ipv6.conf.{if}.ignore_routes_with_linkdown", "0", ["1"]),
        ("ipv6.conf.{if}.accept_source_route", "0", ["1"]),
        ("ipv6.conf.{if}.hop_limit", "64", ["10"]),
        ("ipv6.conf.{if}.proxy_ndp", "0", ["1"]),
        ("ipv6.conf.{if}.drop_unicast_in_l2_multicast", "0", ["1"]),
        ("ipv6.conf.{port}.disable_ipv6", "0", ["1"]),
        ("ipv6.fib_multipath_hash_policy", "0", ["1", "2", "3"]),
        ("ipv6.icmp.echo_ignore_all", "0", ["1"]),
        ("ipv6.anycast_src_echo_reply", "0", ["1"]),
        ("ipv6.auto_flowlabels", "1", ["0"]),
    ];

    public override string Name => "sysctl";

    public override double Weight => 2.5;

    public override int LongestLife => 1;

    public override ConfigurationObject? MakeUp(Configuration configuration, Dice dice)
    {
        (string key, string standard, string[] values) = dice.Pick(s_settings);
        if (key.EndsWith(IgnoreLinkdown, StringComparison.Ordinal) && configuration.Live.Any(o => o.CutsCable))
        {
            return null;
        }

        string port = $"p{dice.Below(RouterPair.Ports)}";
        string name = "net." + key.Replace("{if}", dice.OneIn(4) ? "all" : port, StringComparison.Ordinal).Replace("{port}", port, StringComparison.Ordinal);
        List<string> remove = [$"sysctl -qw {name}={standard}"];
        if (name.EndsWith(".all.forwarding", StringComparison.Ordinal) || name.EndsWith("ip_forward", StringComparison.Ordinal))
        {
            // Setting it for all sets it for each one, and changes what else hangs on being a router.
            remove.AddRange(Baseline.Sysctls().Where(s => s.Contains(name.Contains("ipv4", StringComparison.Ordinal) ? "ipv4.conf" : "ipv6.conf", StringComparison.Ordinal)));
        }

        // accept_source_route, send_redirects …: in force when set for all and for the port, or for either.
        string[] add = name.Contains(".all.", StringComparison.Ordinal) || !key.Contains("{if}", StringComparison.Ordinal) || dice.OneIn(2)
            ? [$"sysctl -qw {name}={dice.Pick(values)}"]
            : [$"sysctl -qw {name}={values[0]}", $"sysctl -qw {name.Replace(port, "all", StringComparison.Ordinal)}={values[0]}"];
        if (add.Length == 2)
        {
            remove.Add($"sysctl -qw {name.Replace(port, "all", StringComparison.Ordinal)}={standard}");
            if (name.EndsWith(".forwarding", StringComparison.Ordinal))
            {
                remove.AddRange(Baseline.Sysctls().Where(s => s.Contains(".forwarding=", StringComparison.Ordinal)));
            }
        }

        return new ConfigurationObject(Name, name, add, [.. remove]) { TakesOthersAlong = name.EndsWith("disable_ipv6", StringComparison.Ordinal) };
    }
}
