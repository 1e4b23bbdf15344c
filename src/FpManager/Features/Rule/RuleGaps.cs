using FastPathSync.FpManager.Features.Demotion;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FpManager.Features.Rule;

/// <summary>Lists the rules that aren't honoured fully among the demotions: their packets are Linux's, and only theirs.</summary>
internal sealed class RuleGaps(DemotionStore demotions)
{
    /// <summary>Of one family: the table of demotions has room for everybody's.</summary>
    private const int MostListed = 16;

    private readonly Dictionary<byte, Dictionary<string, string>> _told = [];

    public void Tell(byte family, IReadOnlyList<(string Rule, string Reason)> gaps)
    {
        Dictionary<string, string> before = _told.GetValueOrDefault(family) ?? [], now = [];
        foreach (IGrouping<string, string> rule in gaps.GroupBy(g => g.Rule, g => g.Reason).Take(MostListed))
        {
            now[rule.Key] = $"{string.Join("; ", rule.Distinct())}: packets that the rule's other selectors match are Linux's";
        }

        int more = gaps.Select(g => g.Rule).Distinct().Count() - now.Count;
        if (more > 0)
        {
            now[$"ip {(family == RuleFamily.Ipv4 ? "" : "-6 ")}rule"] = $"{more} more rules are not understood fully: packets that they match are Linux's";
        }

        Families families = family == RuleFamily.Ipv4 ? Families.Ipv4 : Families.Ipv6;
        foreach ((string rule, string reason) in now)
        {
            if (!before.TryGetValue(rule, out string? told) || told != reason)
            {
                demotions.TryRaise(rule, reason, DemotionEffect.Partial, 0, families, DemotionStore.Own);
            }
        }

        foreach (string gone in before.Keys.Where(r => !now.ContainsKey(r)))
        {
            demotions.End(gone);
        }

        _told[family] = now;
    }
}
