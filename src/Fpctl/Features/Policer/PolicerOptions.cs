using System.CommandLine;
using System.CommandLine.Parsing;
using FastPathSync.Bpf;

namespace FastPathSync.Fpctl.Features.Policer;

/// <summary>The options of `fpctl policer add`, `show` and `del`.</summary>
internal static class PolicerOptions
{
    /// <summary>Before what `tc filter add` chooses when nobody says (49152 downwards), which is where fpn0's own program is.</summary>
    public const int DefaultPriority = 100;

    public const int DefaultShown = 10;
    private const string Ingress = "ingress", Egress = "egress", Source = "source", Class = "class";

    public static readonly Option<string?> Dev = new("--dev") { Description = "the interface", HelpName = "IF" };

    public static readonly Option<string?> Direction = Words("--direction", "what it receives, or what it sends", Ingress, Egress);

    public static readonly Option<int?> Priority = new("--priority")
    {
        Description = $"of its tc filter, 1 to 65535 (default {DefaultPriority}): the lowest is asked first",
        HelpName = "N",
    };

    public static readonly Option<string> Rate = new("--rate") { Description = "packets per second: 100, 100/s, 20k", HelpName = "N[/s]|Nk", Required = true };

    public static readonly Option<int> Burst = new("--burst") { Description = "packets that may come at once", HelpName = "N", Required = true };

    public static readonly Option<string?> Per = Words("--per", "one bucket for each source address, or one for all that matches", Source, Class);

    public static readonly Option<string> Match = new("--match")
    {
        Description = $"what is policed; the rest passes untouched: {PolicerMatch.Words}",
        HelpName = "WORDS",
        DefaultValueFactory = _ => "all",
    };

    public static readonly Option<int> Flows = new("--flows")
    {
        Description = "sources that are remembered; of more, those unheard of for longest are forgotten",
        HelpName = "N",
        DefaultValueFactory = _ => (int)PolicerLayout.DefaultFlows,
    };

    public static readonly Option<int?> Shown = new("--flows")
    {
        Description = $"how many flows to show, those with the most drops first (default {DefaultShown}; without N: all)",
        HelpName = "N",
        Arity = ArgumentArity.ZeroOrOne,
    };

    public static readonly Option<bool> All = new("--all") { Description = "every policer of the namespace" };

    public static string Name(TcDirection direction) => direction == TcDirection.Ingress ? Ingress : Egress;

    /// <summary>Null when not given.</summary>
    public static TcDirection? DirectionOf(ParseResult parsed) =>
        parsed.GetValue(Direction) is string d ? d == Ingress ? TcDirection.Ingress : TcDirection.Egress : null;

    public static PolicerPer PerOf(ParseResult parsed) => parsed.GetValue(Per) == Class ? PolicerPer.Class : PolicerPer.Source;

    private static Option<string?> Words(string name, string description, params string[] words)
    {
        Option<string?> option = new(name) { Description = $"{description} (add: {words[0]} if not given)", HelpName = string.Join('|', words) };
        option.Validators.Add((OptionResult r) =>
        {
            if (r.Tokens.Count > 0 && !words.Contains(r.Tokens[^1].Value))
            {
                r.AddError($"{name} {r.Tokens[^1].Value}: must be one of {string.Join(", ", words)}.");
            }
        });
        return option;
    }
}
