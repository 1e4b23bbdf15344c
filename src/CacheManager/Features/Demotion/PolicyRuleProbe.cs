using FastPathSync.Fpc.Protocol;
using FastPathSync.Netlink;
using FastPathSync.Netlink.Rtnetlink;

namespace FastPathSync.CacheManager.Features.Demotion;

/// <summary>
/// IPv4 policy routing: anything but exactly the three rules that a namespace is born with (0: local, 32766: main,
/// 32767: default, each for all packets).
/// </summary>
internal sealed class PolicyRuleProbe : Probe
{
    private static readonly Dictionary<uint, (uint Table, string Name)> Born = new() { [0] = (255, "local"), [32766] = (254, "main"), [32767] = (253, "default") };
    private EventSocket? _events;
    private RtnetlinkDump? _dump;

    public override string Name => "policy rules";

    public override int Descriptor => _events!.Descriptor;

    public override TimeSpan Period => TimeSpan.FromSeconds(5);

    public override void Open()
    {
        _events = new EventSocket(NetlinkSocket.NETLINK_ROUTE, Rtm.RTNLGRP_IPV4_RULE, "rtnetlink");
        _dump = new RtnetlinkDump();
    }

    public override void Drain() => _events!.Drain();

    public override void Look(InterfaceSet interfaces, List<Finding> findings)
    {
        Judge(_dump!.Rules4(), findings);
    }

    /// <summary>What of the rules demotes: one finding per priority.</summary>
    internal static void Judge(IReadOnlyList<RuleMessage> rules, List<Finding> findings)
    {
        foreach (IGrouping<uint, RuleMessage> at in rules.GroupBy(r => r.Priority))
        {
            bool born = Born.TryGetValue(at.Key, out (uint Table, string Name) table);
            if (born && at.Count() == 1 && at.First().IsPlainLookup && at.First().Table == table.Table)
            {
                continue;
            }

            string text = at.Count() switch
            {
                > 1 => $"{at.Count()} rules stand at priority {at.Key}",
                _ when born => $"the rule at priority {at.Key} is not the default one (from all lookup {table.Name})",
                _ => $"a rule beyond the default three chooses the routing table ({Describe(at.First())})",
            };
            findings.Add(new Finding($"ip rule {at.Key}", $"{text}; the fast path knows one table", DemotionEffect.Vrf, 0, Families.Ipv4));
        }

        foreach ((uint priority, (uint _, string name)) in Born)
        {
            if (!rules.Any(r => r.Priority == priority))
            {
                findings.Add(new Finding($"ip rule {priority}", $"the default rule {priority} (from all lookup {name}) is missing; the fast path knows one table", DemotionEffect.Vrf, 0, Families.Ipv4));
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
