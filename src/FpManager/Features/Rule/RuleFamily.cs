using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FpManager.Features.Rule;

/// <summary>AF_INET and AF_INET6, and the rules that a namespace is born with.</summary>
internal static class RuleFamily
{
    public const byte Ipv4 = 2, Ipv6 = 10;

    /// <summary>fib_default_rules_init, net/ipv4/fib_rules.c.</summary>
    private static readonly (uint Priority, uint Table)[] s_born4 = [(0, 255), (32766, 254), (32767, 253)];

    /// <summary>Exactly the rules that IPv4 is born with.</summary>
    public static bool IsBorn(IReadOnlyList<RuleRecord> rules) =>
        rules.Count == s_born4.Length && rules.Zip(s_born4).All(p => IsPlainLookup(p.First, p.Second.Priority, p.Second.Table));

    private static bool IsPlainLookup(RuleRecord r, uint priority, uint table) =>
        (r with { IdHigh = 0, IdLow = 0, Order = 0, Generation = 0, Protocol = 0 }).Is(new RuleRecord { Family = r.Family, Priority = priority, Table = table, Action = 1 });
}
