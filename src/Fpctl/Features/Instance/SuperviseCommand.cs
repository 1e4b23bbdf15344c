using System.CommandLine;
using FastPathSync.Fpctl.Cli;
using FastPathSync.Fpctl.Supervisor;
using FastPathSync.Linux;

namespace FastPathSync.Fpctl.Features.Instance;

/// <summary>The supervisor process. Hidden: `fpctl start` and SupervisorLink (src/Hosting) start it.</summary>
internal static class SuperviseCommand
{
    public static Command Create()
    {
        Option<string?> directory = new("--directory") { Description = "the instance's directory", HelpName = "DIR" };
        Option<bool> adopt = new("--adopt") { Description = "take over the daemons of a supervisor that died" };
        Option<bool> inheritLock = new("--inherit-lock") { Description = "the instance's lock is descriptor 3" };
        Command command = new("supervise", "the supervisor of an instance") { directory, adopt, inheritLock };
        command.Hidden = true;
        return CliContext.Action(command, (context, parsed) =>
        {
            Hosting.Instance instance = new(context.Instance.Name, parsed.GetValue(directory));
            FileDescriptor? held = parsed.GetValue(inheritLock) ? InstanceLock.Inherit() : InstanceLock.TryTake(instance);
            if (held is null)
            {
                return 0; // another supervisor lives: nothing to do
            }

            InstancePlan plan = InstancePlan.TryRead(instance)
                ?? throw new CliError($"instance '{instance}': {instance.InstanceFile} is missing or damaged; start it with fpctl start");
            using Supervisor.Supervisor supervisor = new(instance, plan, held, parsed.GetValue(adopt));
            supervisor.Run();
            return 0;
        });
    }
}
