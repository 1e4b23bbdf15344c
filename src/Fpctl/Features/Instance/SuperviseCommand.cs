using System.CommandLine;
using FastPathSync.Fpctl.Cli;

namespace FastPathSync.Fpctl.Features.Instance;

/// <summary>The supervisor process. Hidden: `fpctl start` and SupervisorLink start it.</summary>
internal static class SuperviseCommand
{
    public static Command Create() =>
        CliContext.Action(new Command("supervise", "the supervisor of an instance") { Hidden = true }, (context, _) => throw context.NotRunning());
}
