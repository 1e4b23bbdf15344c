using FastPathSync.Fpc.Protocol;
using FastPathSync.Netlink;
using FastPathSync.Netlink.Rtnetlink;

namespace FastPathSync.CacheManager.Features.Demotion;

/// <summary>
/// Policy routing: anything but exactly the rules that a namespace is born with (0: local, 32766: main, and of IPv4
/// 32767: default, each for all packets).
/// </summary>
internal sealed class PolicyRuleProbe : Probe
{
    private static readonly Dictionary<uint, (uint Table, string Name)>
        Born = new() { [0] = (255, "local"), [32766] = (254, "main"), [32767] = (253, "default") },
        Born6 = new() { [0] = (255, "local"), [32766] = (254, "main") };

    private EventSocket? _events;
    private RtnetlinkDump? _dump;

    public override string Name => "policy rules";

    public override int Descriptor => _events!.Descriptor;

    public override TimeSpan Period => TimeSpan.FromSeconds(5);

    public override void Open()
    {
        _events = new EventSocket(NetlinkSocket.NETLINK_ROUTE, Rtm.RTNLGRP_IPV4_RULE, "rtnetlink");
        _events.Join(Rtm.RTNLGRP_IPV6_RULE);
        _dump = new RtnetlinkDump();
    }

    public override void Drain() => _events!.Drain();

    public override void Look(InterfaceSet interfaces, List<Finding> findings)
    {
        Judge(_dump!.Rules4(), findings);
        Judge(_dump.Rules6(), findings, ipv6: true);
    }

    /// <summary>What of the rules demotes: one finding per priority.</summary>
    internal static void Judge(IReadOnlyList<RuleMessage> rules, List<Finding> findings, bool ipv6 = false)
    {
        Dictionary<uint, (uint Table, string Name)> bornRules = ipv6 ? Born6 : Born;
        string tool = ipv6 ? "ip -6 rule" : "ip rule";
        Families families = ipv6 ? Families.Ipv6 : Families.Ipv4;
        foreach (IGrouping<uint, RuleMessage> at in rules.GroupBy(r => r.Priority))
        {
            bool born = bornRules.TryGetValue(at.Key, out (uint Table, string Name) table);
            if (born && at.Count() == 1 && at.First().IsPlainLookup && at.First().Table == table.Table)
            {
                continue;
            }

            string text = at.Count() switch
            {
                > 1 => $"{at.Count()} rules stand at priority {at.Key}",
                _ when born => $"the rule at priority {at.Key} is not the default one (from all lookup {table.Name})",
                _ => $"a rule beyond the default ones chooses the routing table ({Describe(at.First())})",
            };
            findings.Add(new Finding($"{tool} {at.Key}", $"{text}; the fast path knows one table", DemotionEffect.Vrf, 0, families));
        }

        foreach ((uint priority, (uint _, string name)) in bornRules)
        {
            if (!rules.Any(r => r.Priority == priority))
            {
                findings.Add(new Finding($"{tool} {priority}", $"the default rule {priority} (from all lookup {name}) is missing; the fast path knows one table", DemotionEffect.Vrf, 0, families));
            }
        }
    }

    public override void Dispose()
    {
        _events?.Dispose();
        _dump?.Dispose();
        _events = null;
        _dump = null;
    }

    private static string Describe(RuleMessage rule) => rule.Action == RuleConstants.FR_ACT_TO_TBL ? $"lookup {rule.Table}" : $"action {rule.Action}";
}
