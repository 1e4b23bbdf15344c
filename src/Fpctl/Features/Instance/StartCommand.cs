using System.CommandLine;
using FastPathSync.Fpctl.Cli;

namespace FastPathSync.Fpctl.Features.Instance;

internal static class StartCommand
{
    public static Command Create() => CliContext.Action(new Command("start", "being written"), (context, _) => throw context.NotRunning());
}
