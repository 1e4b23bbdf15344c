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
        (InstanceTables tables, IReadOnlyList<InstanceTables> vrfs) = ShowCommand.OpenAll(context);
        using (tables)
        {
            if (VrfState(vrfs[0]).EverSynchronized == 0)
            {
                throw new CliError($"instance '{context.Instance}' was never synchronized yet; see `fpctl status`");
            }

            VerifyReport report = Verify(context, vrfs);
            if (!report.Equal && parsed.GetValue(s_repair))
            {
                Repair(context, vrfs);
                report = Verify(context, vrfs) with { Repaired = true };
            }

            Write(context, report);
            return report.Equal ? 0 : CliError.Different;
        }
    }

    /// <summary>One VRF after the other.</summary>
    private static VerifyReport Verify(CliContext context, IReadOnlyList<InstanceTables> vrfs)
    {
        VerifyReport? all = null;
        foreach (InstanceTables v in vrfs)
        {
            VerifyReport? report = null;
            try
            {
                using RtnetlinkDump dump = RtnetlinkDump.InNamespace(NamespacePath(context, v));
                report = new Verifier(v, () => KernelReader.Read(dump), () => Thread.Sleep(s_betweenLooks)).Run();
            }
            catch (LinuxException e) when (v.VrfName.Length > 0 && e.ErrorNumber is Errno.ENOENT or Errno.EINVAL)
            {
                // Its namespace has just gone, and the VRF with it.
            }

            if (report is not null)
            {
                all = all is null ? report.In(v.VrfName) : all.And(report.In(v.VrfName));
            }
        }

        return all ?? throw new CliError("the VRF has gone");
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
            context.Console, Console.Out, ["vrf", "kind", "object", "kernel", "fast path"],
            [.. report.Differences.Select(d => new[] { d.Vrf ?? NetworkNamespace.Unnamed, d.Kind, d.Object, d.Kernel, d.Fastpath })]);
        if (report.Omitted is int omitted)
        {
            context.Console.WriteLine($"... and {omitted} more.");
        }
    }

    private static unsafe VrfState VrfState(InstanceTables tables) => *tables.Vrf;

    /// <summary>The network namespace of a VRF.</summary>
    internal static string NamespacePath(CliContext context, InstanceTables v) =>
        v.VrfName.Length > 0 ? $"{NetworkNamespace.Directory}/{v.VrfName}" : $"/proc/{NamespacePid(context, v)}/ns/net";

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
    private static void Repair(CliContext context, IReadOnlyList<InstanceTables> vrfs)
    {
        (_, ProcessIdentity cmgrd) = InstanceDirectory.LiveProcesses(context.Instance).FirstOrDefault(d => d.Name == "cmgrd");
        if (cmgrd.Pid <= 0)
        {
            throw new CliError($"instance '{context.Instance}': cmgrd is not running, so nobody can resend; see `fpctl status`");
        }

        ulong[] before = [.. vrfs.Select(v => VrfState(v).Resyncs)];
        ulong deadline = MonotonicClock.Nanoseconds + (ulong)s_resync.TotalNanoseconds;
        LinuxException.ThrowIfNegative(Libc.kill(cmgrd.Pid, Libc.SIGHUP), "kill", "cmgrd");
        while (vrfs.Where((v, i) => VrfState(v).Resyncs == before[i]).Any())
        {
            if (MonotonicClock.Nanoseconds > deadline)
            {
                throw new CliError($"instance '{context.Instance}': cmgrd made no resync within {s_resync.TotalSeconds:0} s; see its log {context.Instance.Log("cmgrd")}");
            }

            Thread.Sleep(20);
        }
    }
}
