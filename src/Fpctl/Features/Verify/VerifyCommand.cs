using System.CommandLine;
using System.Text.Json;
using FastPathSync.Fpctl.Cli;
using FastPathSync.Fpctl.Inspection;
using FastPathSync.Fpctl.Supervisor;
using FastPathSync.Linux;
using FastPathSync.Netlink.Rtnetlink;
using FastPathSync.SharedMemory.Tables;
using Spectre.Console;

namespace FastPathSync.Fpctl.Features.Verify;

internal static class VerifyCommand
{
    private static readonly TimeSpan s_betweenLooks = TimeSpan.FromMilliseconds(200), s_resync = TimeSpan.FromSeconds(30);

    private static readonly Option<bool> s_repair = new("--repair") { Description = "when something differs, ask for a full resync and verify again" };

    public static Command Create()
    {
        Command verify = CliContext.Action(
            new Command("verify",
                "compare the kernel's tables with the fast path's, object by object, and every FIB entry with what Linux would do. "
                + $"What differs is looked at again, up to {Verifier.Looks - 1} times, {s_betweenLooks.TotalMilliseconds:0} ms apart, so that a "
                + "change under way is no difference. Exit 0 equal, 5 different"),
            Run);
        verify.Options.Add(s_repair);
        return verify;
    }

    private static int Run(CliContext context, ParseResult parsed)
    {
        using InstanceTables tables = ShowCommand.Open(context);
        if (VrfState(tables).EverSynchronized == 0)
        {
            throw new CliError($"instance '{context.Instance}' was never synchronized yet; see `fpctl status`");
        }

        int pid = NamespacePid(context, tables);
        using RtnetlinkDump dump = RtnetlinkDump.InNamespace($"/proc/{pid}/ns/net");
        Verifier verifier = new(tables, () => KernelReader.Read(dump), () => Thread.Sleep(s_betweenLooks));
        VerifyReport report = verifier.Run();
        if (!report.Equal && parsed.GetValue(s_repair))
        {
            Repair(context, tables);
            report = verifier.Run() with { Repaired = true };
        }

        Write(context, report);
        return report.Equal ? 0 : CliError.Different;
    }

    public static void Write(CliContext context, VerifyReport report)
    {
        if (context.Json)
        {
            CliContext.WriteJson(w => JsonSerializer.Serialize(w, report, FpctlJson.Default.VerifyReport));
            return;
        }

        string checkedText = string.Join(", ", report.Checked.Select(c => $"{c.Value} {(c.Key == "fib" ? "FIB entries" : c.Key)}"));
        if (report.Equal)
        {
            context.Console.MarkupLine($"[green]Equal[/]: {checkedText}{(report.Repaired == true ? " (after a resync)" : "")}.");
            return;
        }

        context.Console.MarkupLine($"[red]{report.Differences.Count + (report.Omitted ?? 0)} differences[/] after {report.Rechecks} more looks: {checkedText}.");
        ShowCommand.WriteText(
            context.Console, Console.Out, ["kind", "object", "kernel", "fast path"],
            [.. report.Differences.Select(d => new[] { d.Kind, d.Object, d.Kernel, d.Fastpath })]);
        if (report.Omitted is int omitted)
        {
            context.Console.WriteLine($"... and {omitted} more.");
        }
    }

    private static unsafe VrfState VrfState(InstanceTables tables) => *tables.Vrf;

    /// <summary>A live process in the instance's network namespace: fpmd, or any other of its daemons.</summary>
    private static int NamespacePid(CliContext context, InstanceTables tables)
    {
        IReadOnlyList<(string Name, ProcessIdentity Process)> live = InstanceDirectory.LiveProcesses(context.Instance);
        int pid = live.OrderByDescending(d => d.Name == "fpmd").Select(d => d.Process.Pid).FirstOrDefault();
        return pid > 0 ? pid
            : Directory.Exists($"/proc/{tables.ManagerPid}/ns") ? tables.ManagerPid
            : throw context.NotRunning();
    }

    /// <summary>SIGHUP makes cmgrd dump everything anew; what nobody renews is swept. Waits until fpmd has counted the resync.</summary>
    private static void Repair(CliContext context, InstanceTables tables)
    {
        (_, ProcessIdentity cmgrd) = InstanceDirectory.LiveProcesses(context.Instance).FirstOrDefault(d => d.Name == "cmgrd");
        if (cmgrd.Pid <= 0)
        {
            throw new CliError($"instance '{context.Instance}': cmgrd is not running, so nobody can resend; see `fpctl status`");
        }

        ulong before = VrfState(tables).Resyncs, deadline = MonotonicClock.Nanoseconds + (ulong)s_resync.TotalNanoseconds;
        LinuxException.ThrowIfNegative(Libc.kill(cmgrd.Pid, Libc.SIGHUP), "kill", "cmgrd");
        while (VrfState(tables).Resyncs == before)
        {
            if (MonotonicClock.Nanoseconds > deadline)
            {
                throw new CliError($"instance '{context.Instance}': cmgrd made no resync within {s_resync.TotalSeconds:0} s; see its log {context.Instance.Log("cmgrd")}");
            }

            Thread.Sleep(20);
        }
    }
}
