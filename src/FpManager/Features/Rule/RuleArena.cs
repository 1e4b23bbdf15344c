using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FpManager.Features.Rule;

/// <summary>Runs of compiled rules in the segment. The first rule of the arena is always there: it hands all to Linux.</summary>
internal sealed unsafe class RuleArena
{
    /// <summary>For when there is no room for a list: every packet is Linux's.</summary>
    public static readonly RuleList PuntAll = RuleList.Of(0, 1, needsTransport: false);

    private readonly CompiledRule* _rules;
    private readonly int _capacity;
    private readonly List<RuleList> _used = [PuntAll];

    public RuleArena(CompiledRule* rules, int capacity)
    {
        _rules = rules;
        _capacity = capacity;
        *rules = new CompiledRule
        {
            SourcePortLast = ushort.MaxValue,
            DestinationPortLast = ushort.MaxValue,
            InputPort = CompiledRule.AnyPort,
            Action = RuleAction.Punt,
            Reason = PuntReason.TableFull,
            SuppressDepth = -1,
        };
    }

    public ReadOnlySpan<CompiledRule> this[RuleList list] => new(_rules + list.First, list.Count);

    /// <summary>A list that workers may be walking: an earlier fpmd published it.</summary>
    public void Reserve(RuleList list)
    {
        if (!list.IsDefault && list != PuntAll)
        {
            _used.Add(list);
        }
    }

    /// <summary>Writes the rules where nobody reads; false when there is no such place now.</summary>
    public bool TryWrite(IReadOnlyList<CompiledRule> rules, bool needsTransport, out RuleList list)
    {
        int first = 0;
        foreach (RuleList used in _used.OrderBy(u => u.First))
        {
            if (used.First - first >= rules.Count)
            {
                break;
            }

            first = Math.Max(first, used.First + used.Count);
        }

        list = RuleList.Of(first, rules.Count, needsTransport);
        if (first + rules.Count > _capacity)
        {
            return false;
        }

        for (int i = 0; i < rules.Count; i++)
        {
            _rules[first + i] = rules[i];
        }

        Reserve(list);
        return true;
    }

    /// <summary>Once no worker walks it any more.</summary>
    public void Free(RuleList list) => _used.Remove(list);
}
