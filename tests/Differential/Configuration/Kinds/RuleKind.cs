namespace FastPathSync.Differential;

/// <summary>Policy rules with tables of their own.</summary>
internal sealed class RuleKind(Family family) : ObjectKind
{
    public override string Name => $"rule{family.Suffix}";

    public override double Weight => 1.2;

    public override int LongestLife => 1;

    public override ConfigurationObject? MakeUp(Configuration configuration, Dice dice)
    {
        int table = dice.Between(100, 102), priority = dice.Pick(100, 101, 500, 32000, 32766, 40000);
        List<string> add = [], targets = [], sources = [];
        int routes = dice.Between(1, 3);
        for (int i = 0; i < routes; i++)
        {
            int port = dice.Below(RouterPair.Ports);
            string prefix = dice.OneIn(3) ? (family.Bits == 32 ? "0.0.0.0/0" : "::/0") : family.RandomPrefix(dice);
            targets.Add(prefix);
            add.Add(dice.OneIn(6)
                ? $"{family.Ip} route add {dice.Pick("throw", "unreachable", "blackhole")} {prefix} table {table}"
                : $"{family.Ip} route add {prefix} via {family.LiveHost(port, dice)} dev p{port} table {table}");
        }

        string selector = Selector(dice, targets, sources), action = Action(dice, table);
        add.Add($"{family.Ip} rule add {selector} priority {priority} {action}");
        return new ConfigurationObject(
            Name,
            $"{Name} {priority}",
            [.. add],
            [$"{family.Ip} rule del {selector} priority {priority} {action}", $"{family.Ip} route flush table {table}"])
        {
            Targets = targets,
            Sources = sources,
        };
    }

    private string Selector(Dice dice, List<string> targets, List<string> sources)
    {
        List<string> words = [];
        int count = dice.OneIn(4) ? 2 : 1;
        HashSet<int> used = [];
        while (used.Count < count)
        {
            int kind = dice.Below(10);
            if (!used.Add(kind))
            {
                continue;
            }

            string text;
            switch (kind)
            {
                case 0 or 1:
                    text = dice.OneIn(2) ? family.BehindPrefix(dice.Below(RouterPair.Ports)) : family.LinkPrefix(dice.Below(RouterPair.Ports));
                    sources.Add(text);
                    words.Add($"from {text}");
                    used.Add(0);
                    used.Add(1);
                    break;
                case 2:
                    text = family.RandomPrefix(dice);
                    targets.Add(text);
                    words.Add($"to {text}");
                    break;
                case 3:
                    words.Add($"iif p{dice.Below(RouterPair.Ports)}");
                    break;
                case 4:
                    words.Add($"oif p{dice.Below(RouterPair.Ports)}");
                    break;
                case 5:
                    words.Add($"fwmark {dice.Pick("0x1", "0x0/0xf")}");
                    break;
                case 6:
                    words.Add($"tos {dice.Pick("0x10", "0x04")}");
                    break;
                case 7:
                    words.Add($"ipproto {dice.Pick("udp", "tcp", family.Bits == 32 ? "icmp" : "ipv6-icmp")}");
                    break;
                case 8:
                    words.Add($"ipproto udp dport {dice.Pick("5000", "5000-5003")}");
                    used.Add(7);
                    break;
                default:
                    words.Add($"not from {family.BehindPrefix(dice.Below(RouterPair.Ports))}");
                    used.Add(0);
                    used.Add(1);
                    break;
            }
        }

        return string.Join(' ', words.OrderByDescending(w => w.StartsWith("not", StringComparison.Ordinal)));
    }

    private static string Action(Dice dice, int table) => dice.Below(12) switch
    {
        0 => "prohibit",
        1 => "blackhole",
        2 => "unreachable",
        3 => "goto 32766",
        4 => $"table main suppress_prefixlength {dice.Pick(0, 16)}",
        _ => $"table {table}",
    };
}
