using System.CommandLine;
using System.CommandLine.Parsing;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.Fpctl.Features.Instance;

/// <summary>The options of `fpctl start`; most go to the fastpath daemon as they are.</summary>
internal sealed class StartOptions
{
    public Option<string[]> Ports { get; } = new("--port")
    {
        Description = "an interface the fast path serves (repeat for each)",
        HelpName = "[VRF/]IF",
        AllowMultipleArgumentsPerToken = true,
    };

    public Option<string?> Vrfs { get; } = new("--vrfs")
    {
        Description = "further VRFs (named network namespaces) to mirror, though they have no ports; followed as they come and go",
        HelpName = "all|NAME,...",
    };

    public Option<int> Workers { get; } = new("--workers") { Description = "packet workers, each on a CPU of its own", HelpName = "N", DefaultValueFactory = _ => 1 };

    public Option<string> Mode { get; } = Word("--mode", "how to attach to the ports: native XDP, generic XDP, or what works best", "native", "generic", "auto");

    public Option<string> Punt { get; } = Word("--punt", "how exceptions reach Linux: through fpn0's egress hook, or written into the TAP", "egress", "tap");

    public Option<string[]> PuntLimits { get; } = new("--punt-limit")
    {
        Description = "packets per second of a punt reason, or of 'all', that Linux is given (repeat for each; see `fpctl punt`)",
        HelpName = "REASON=RATE[:BURST]",
    };

    public Option<bool> Spin { get; } = new("--spin") { Description = "workers never sleep" };

    public Option<string?> FpcTcp { get; } = new("--fpc-tcp") { Description = "let a CacheManager connect over TCP too", HelpName = "ADDRESS:PORT" };

    public Option<string?> Cpus { get; } = new("--cpu") { Description = "the CPUs of the workers, such as 2,3 or 2-5", HelpName = "LIST" };

    public Option<int?> ReceiveBuffer { get; } = new("--receive-buffer")
    {
        HelpName = "BYTES",
        Description = "room for netlink events that wait (default 256 MB); what doesn't fit is lost, and everything is asked for again",
    };

    public Option<int?> Audit { get; } = new("--audit")
    {
        Description = "compare the tables with Linux so often, repair and count (default 300, 0: never)",
        HelpName = "SECONDS",
    };

    public Option<string?> TableSizes { get; } = new("--table-sizes")
    {
        HelpName = "NAME=N,...",
        Description = $"room in the tables of each VRF with ports ({VrfSizes.Names}); default: as much as there can be",
    };

    public Option<string?> Programs { get; } = new("--programs") { Description = "where the daemons' programs are (default: beside fpctl)", HelpName = "DIR" };

    public Option<int> Timeout { get; } = new("--timeout") { Description = "seconds to wait until it forwards", HelpName = "SECONDS", DefaultValueFactory = _ => 30 };

    public IEnumerable<Option> All() => [Ports, Vrfs, Workers, Mode, Punt, PuntLimits, Spin, FpcTcp, Cpus, Audit, ReceiveBuffer, TableSizes, Programs, Timeout];

    private static Option<string> Word(string name, string description, params string[] words)
    {
        Option<string> option = new(name)
        {
            Description = description,
            HelpName = string.Join('|', words),
            DefaultValueFactory = _ => name == "--mode" ? "auto" : words[0],
        };
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
