using System.CommandLine;
using FastPathSync.Fpctl.Cli;

namespace FastPathSync.Fpctl.Features.Instance;

internal static class StopCommand
{
    public static Command Create() => CliContext.Action(new Command("stop", "being written"), (context, _) => throw context.NotRunning());
}
