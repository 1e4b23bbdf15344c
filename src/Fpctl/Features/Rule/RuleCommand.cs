using System.CommandLine;
using FastPathSync.Fpctl.Inspection;

namespace FastPathSync.Fpctl.Features.Rule;

internal static class RuleCommand
{
    private static readonly Option<bool> s_ipv4 = new("-4") { Description = "IPv4 only" }, s_ipv6 = new("-6") { Description = "IPv6 only" };

    public static Command Create()
    {
        Command show = ShowCommand.Create(
            "policy rules, in the order in which Linux asks them", FpctlJson.Default.IEnumerableRuleView,
            (_, tables, parsed) => new RuleViews(tables).Show((parsed.GetValue(s_ipv4), parsed.GetValue(s_ipv6)) switch
            {
                (true, false) => 2,
                (false, true) => 10,
                _ => 0,
            }),
            ["family", "priority", "rule", "fast path"],
            v => [[v.Family, $"{v.Priority}", RuleViews.Text(v), Cell.Verdict(v.Fastpath, v.Reason)]]);
        show.Options.Add(s_ipv4);
        show.Options.Add(s_ipv6);
        return new Command("rule", "the policy rules (ip rule), as the fast path knows them") { show };
    }
}
