using System.CommandLine;
using FastPathSync.Fpctl.Cli;

namespace FastPathSync.Fpctl.Features.Instance;

internal static class StatusCommand
{
    public static Command Create() => CliContext.Action(new Command("status", "being written"), (context, _) => throw context.NotRunning());
}
