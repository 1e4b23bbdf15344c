using System.CommandLine;
using FastPathSync.Fpctl.Cli;
using FastPathSync.Fpctl.Supervisor;
using Spectre.Console;

namespace FastPathSync.Fpctl.Features.Instance;

internal static class StopCommand
{
    public static Command Create() =>
        CliContext.Action(new Command("stop", "stop the instance; Linux forwards on"), (context, _) =>
        {
            if (!InstanceStop.Stop(context.Instance))
            {
                throw context.NotRunning();
            }

            if (context.Json)
            {
                CliContext.WriteJson(w =>
                {
                    w.WriteStartObject();
                    w.WriteString("instance", context.Instance.Name);
                    w.WriteString("state", "stopped");
                    w.WriteEndObject();
                });
            }
            else
            {
                context.Console.WriteLine($"Instance '{context.Instance}' is stopped; Linux forwards on.");
            }

            return 0;
        });
}
