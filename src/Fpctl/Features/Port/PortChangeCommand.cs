using System.CommandLine;
using FastPathSync.Fpctl.Cli;
using FastPathSync.Fpctl.Features.Instance;
using FastPathSync.Fpctl.Supervisor;
using FastPathSync.Hosting;
using FastPathSync.Linux;
using Spectre.Console;

namespace FastPathSync.Fpctl.Features.Port;

/// <summary>`port add` and `port del`: the supervisor makes all daemons work with the other ports, or leaves all as they are.</summary>
internal static class PortChangeCommand
{
    private static readonly TimeSpan s_settle = TimeSpan.FromSeconds(5);

    public static Command Add() => Create("add", "serve another interface; what is served already loses nothing", ControlProtocol.AddPort);

    public static Command Delete() => Create("del", "give an interface back to Linux; the other ports lose nothing", ControlProtocol.DeletePort);

    private static Command Create(string verb, string description, byte operation)
    {
        Argument<string> name = new("[VRF/]IF") { Description = "the interface" };
        Command command = new(verb, description) { name };
        return CliContext.Action(command, (context, parsed) => Change(context, operation, parsed.GetValue(name)!));
    }

    private static int Change(CliContext context, byte operation, string text)
    {
        if (!InstanceStop.IsRunning(context.Instance) || InstancePlan.TryRead(context.Instance) is not InstancePlan plan)
        {
            throw context.NotRunning();
        }

        bool adds = operation == ControlProtocol.AddPort;
        PortName port = StartCheck.Port(text, plan.NetworkNamespace, [.. plan.Named().Select(p => PortName.Parse(p.Name))], mustExist: adds);
        if (adds)
        {
            StartCheck.Conflicts(context.Instance, [port], plan.NetworkNamespace);
        }

        Ask(context, operation, port.ToString());
        StatusReport report = StatusReport.Take(context, s_settle);
        PortReport? served = report.Ports.FirstOrDefault(p => p.Name == port.Interface && p.Vrf == (port.Vrf.Length == 0 ? NetworkNamespace.Unnamed : port.Vrf));
        if (context.Json)
        {
            CliContext.WriteJson(w =>
            {
                w.WriteStartObject();
                w.WriteString("ifname", port.Interface);
                w.WriteString("vrf", port.Vrf.Length == 0 ? NetworkNamespace.Unnamed : port.Vrf);
                w.WriteString("state", served?.State ?? "deleted");
                w.WriteEndObject();
            });
        }
        else
        {
            context.Console.WriteLine(adds
                ? $"Port {port} is served ({served?.Mode}, {served?.Queues} queue{(served?.Queues == 1 ? "" : "s")}, MTU {served?.Mtu}); its interface is {served?.State}."
                : $"Port {port} is Linux's again.");
        }

        return 0;
    }

    private static void Ask(CliContext context, byte operation, string port)
    {
        try
        {
            (int ErrorNumber, string Line) reply = ControlProtocol.ChangePort(context.Instance, operation, port)
                ?? throw new CliError($"port '{port}': the supervisor ended before it had answered; see `fpctl status` for the ports there are now");
            if (reply.ErrorNumber != 0)
            {
                throw new CliError(reply.Line);
            }
        }
        catch (LinuxException e) when (e.ErrorNumber == Errno.EAGAIN)
        {
            throw new CliError($"port '{port}': the supervisor does not answer; is it halted? see `fpctl status`");
        }
        catch (LinuxException e)
        {
            throw new CliError($"port '{port}': the supervisor can't be asked just now ({e.Message}); a new one is started within a second, then try again");
        }
    }
}
