using System.CommandLine;

namespace FastPathSync.Fpctl.Cli;

/// <summary>Options of every command, before or after its name.</summary>
internal static class GlobalOptions
{
    public static readonly Option<string> Instance = new("--instance")
    {
        Description = "the instance to talk to",
        HelpName = "NAME",
        DefaultValueFactory = _ => Hosting.Instance.DefaultName,
        Recursive = true,
    };

    public static readonly Option<bool> Json = new("--json") { Description = "one JSON document on stdout", Recursive = true };

    public static readonly Option<string?> Vrf = new("--vrf")
    {
        Description = "the VRF (network namespace) meant; default: the one the instance was started in (status, verify, vrf show: all)",
        HelpName = "NAME",
        Recursive = true,
    };

    public static void AddTo(RootCommand root)
    {
        root.Options.Add(Instance);
        root.Options.Add(Json);
        root.Options.Add(Vrf);
    }
}
