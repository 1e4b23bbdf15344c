using System.CommandLine;
using FastPathSync.Fpctl.Features.Instance;

namespace FastPathSync.Fpctl;

/// <summary>The commands, in the order of --help: one line for each.</summary>
internal static class Commands
{
    public static IEnumerable<Command> All() =>
    [
        StartCommand.Create(),
        StopCommand.Create(),
        StatusCommand.Create(),
        SuperviseCommand.Create(),
    ];
}
