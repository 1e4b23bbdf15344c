using System.CommandLine;
using System.Globalization;
using System.Runtime.InteropServices;
using FastPathSync.Fpctl.Cli;
using FastPathSync.Fpctl.Supervisor;
using FastPathSync.Hosting;
using FastPathSync.Linux;
using FastPathSync.SharedMemory;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.Fpctl.Features.Instance;

/// <summary>Starts an instance and returns when it forwards, or says why not and leaves nothing behind.</summary>
internal static class StartCommand
{
    private const int SmallestReceiveBuffer = 4096, LargestReceiveBuffer = 1 << 30;
    private static readonly TimeSpan s_poll = TimeSpan.FromMilliseconds(10);

    public static Command Create()
    {
        StartOptions options = new();
        Command command = new("start", "start the whole system in the current network namespace");
        foreach (Option option in options.All())
        {
            command.Options.Add(option);
        }

        return CliContext.Action(command, (context, parsed) =>
        {
            using FileDescriptor supervisorLock = Prepare(context, parsed, options, out InstancePlan plan);
            bool interrupted = false;
            using PosixSignalRegistration interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, OnSignal);
            using PosixSignalRegistration term = PosixSignalRegistration.Create(PosixSignal.SIGTERM, OnSignal);
            try
            {
                plan.Write(context.Instance);
                int supervisor = DetachedProcess.Start(
                    Environment.ProcessPath!,
                    ["supervise", "--inherit-lock", "--instance", context.Instance.Name, "--directory", context.Instance.Directory],
                    context.Instance.Log(Supervisor.Supervisor.Name),
                    inherited: supervisorLock);
                supervisorLock.Dispose(); // the supervisor's copy holds it from now on
                Await(context, supervisor, TimeSpan.FromSeconds(parsed.GetValue(options.Timeout)), () => Volatile.Read(ref interrupted));
            }
            catch
            {
                supervisorLock.Dispose();
                InstanceStop.Stop(context.Instance);
                throw;
            }

            StatusCommand.Print(context, StatusReport.Take(context, settle: TimeSpan.FromSeconds(1)));
            return 0;

            void OnSignal(PosixSignalContext signal)
            {
                signal.Cancel = true;
                Volatile.Write(ref interrupted, true);
            }
        });
    }

    /// <summary>Checks everything, makes the directory and takes the lock.</summary>
    private static FileDescriptor Prepare(CliContext context, ParseResult parsed, StartOptions options, out InstancePlan plan)
    {
        Hosting.Instance instance = context.Instance;
        string[] requested = parsed.GetValue(options.Ports) ?? [];
        if (parsed.GetValue(options.Workers) is int workers && workers is < 1 or > Capacities.Workers)
        {
            throw new CliError($"--workers {workers}: must be from 1 to {Capacities.Workers}", CliError.Usage);
        }

        if (parsed.GetValue(options.ReceiveBuffer) is int buffer && buffer is < SmallestReceiveBuffer or > LargestReceiveBuffer)
        {
            throw new CliError($"--receive-buffer {buffer}: from {SmallestReceiveBuffer} to {LargestReceiveBuffer} bytes", CliError.Usage);
        }

        if (parsed.GetValue(options.TableSizes) is string sizes)
        {
            try
            {
                _ = VrfSizes.Parse(sizes);
            }
            catch (FormatException e)
            {
                throw new CliError($"--table-sizes {e.Message}", CliError.Usage);
            }
        }

        foreach (string limit in parsed.GetValue(options.PuntLimits) ?? [])
        {
            try
            {
                _ = PuntLimitOption.Parse(limit);
            }
            catch (FormatException e)
            {
                throw new CliError($"--punt-limit {e.Message}", CliError.Usage);
            }
        }

        if (parsed.GetValue(options.Audit) is int audit && audit < 0)
        {
            throw new CliError($"--audit {audit}: seconds between two audits, 0 for none", CliError.Usage);
        }

        if (requested.Length > 0)
        {
            StartCheck.Capabilities();
        }

        _ = StartCheck.Vrfs(parsed.GetValue(options.Vrfs));
        IReadOnlyList<PortName> ports = StartCheck.Ports(requested);
        StartCheck.Conflicts(instance, ports, StartCheck.OwnNamespace);
        plan = Plan(context, parsed, options, ports);
        foreach (DaemonPlan d in plan.Daemons)
        {
            if (!File.Exists(d.Program))
            {
                throw new CliError($"daemon '{d.Name}': there is no program {d.Program}; build them all (./dev build) or name their directory with --programs");
            }
        }

        FileDescriptor? held;
        try
        {
            InstanceDirectory.Create(instance);
            held = InstanceLock.TryTake(instance);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or LinuxException)
        {
            throw new CliError($"{instance.Directory}: cannot be written ({e.Message}); run as root, or set {Hosting.Instance.RunVariable} to a directory of your own");
        }

        if (held is null)
        {
            int? pid = DaemonList.TryRead(instance)?.Daemons.FirstOrDefault(d => d.Name == Supervisor.Supervisor.Name)?.Pid;
            string who = pid is int p ? $"supervisor pid {p}" : "it is just being started";
            throw new CliError($"instance '{instance}' is already running ({who}); stop it with: fpctl stop --instance {instance}");
        }

        if (InstanceDirectory.LiveProcesses(instance) is [var first, ..])
        {
            held.Dispose();
            throw new CliError($"instance '{instance}' is already running, without a supervisor ({first.Name} pid {first.Process.Pid}); stop it with: fpctl stop --instance {instance}");
        }

        if (InstanceDirectory.Clean(instance))
        {
            Console.Error.WriteLine($"fpctl: note: instance '{instance}' had not been stopped cleanly; removed what it left in {instance.Directory}");
        }

        return held;
    }

    private static InstancePlan Plan(CliContext context, ParseResult parsed, StartOptions options, IReadOnlyList<PortName> ports)
    {
        Hosting.Instance instance = context.Instance;
        string programs = Path.GetFullPath(parsed.GetValue(options.Programs) ?? AppContext.BaseDirectory);
        string[] common = ["--instance", instance.Name, "--directory", instance.Directory];
        List<string> fpmd = [.. common];
        if (parsed.GetValue(options.FpcTcp) is string tcp)
        {
            fpmd.AddRange(["--fpc-tcp", tcp]);
        }

        if (parsed.GetValue(options.TableSizes) is string sizes)
        {
            fpmd.AddRange(["--table-sizes", sizes]);
        }

        List<string> cmgrd = [.. common];
        if (parsed.GetValue(options.Vrfs) is string vrfs)
        {
            cmgrd.AddRange(["--vrfs", vrfs]);
        }

        if (parsed.GetValue(options.ReceiveBuffer) is int buffer)
        {
            cmgrd.AddRange(["--receive-buffer", buffer.ToString(CultureInfo.InvariantCulture)]);
        }

        if (parsed.GetValue(options.Audit) is int audit)
        {
            cmgrd.AddRange(["--audit", audit.ToString(CultureInfo.InvariantCulture)]);
        }

        List<string> fastpath =
        [
            .. common,
            "--workers", parsed.GetValue(options.Workers).ToString(CultureInfo.InvariantCulture),
            "--mode", parsed.GetValue(options.Mode)!,
            "--punt", parsed.GetValue(options.Punt)!,
        ];
        foreach (string limit in parsed.GetValue(options.PuntLimits) ?? [])
        {
            fastpath.AddRange(["--punt-limit", limit]);
        }

        if (parsed.GetValue(options.Cpus) is string cpus)
        {
            fastpath.AddRange(["--cpu", cpus]);
        }

        if (parsed.GetValue(options.Spin))
        {
            fastpath.Add("--spin");
        }

        return new InstancePlan(
            SegmentHeader.CurrentLayoutVersion,
            instance.Name,
            StartCheck.OwnNamespace,
            DateTimeOffset.UtcNow,
            [.. ports.Select(p => p.ToString())],
            [
                Daemon("fpmd", fpmd, 0) with { TakesPorts = true },
                Daemon("cmgrd", cmgrd, 1) with { TakesPorts = true },
                Daemon("fastpath", fastpath, 2) with { TakesPorts = true, StopFirst = true },
                Daemon("hitflagsd", common, 3),
                Daemon("fpsd", common, 3),
            ]);

        DaemonPlan Daemon(string name, IReadOnlyList<string> arguments, int stage) => new(name, Path.Combine(programs, name), arguments, stage);
    }

    private static void Await(CliContext context, int supervisor, TimeSpan timeout, Func<bool> interrupted)
    {
        ulong deadline = MonotonicClock.Nanoseconds + (ulong)timeout.TotalNanoseconds;
        while (true)
        {
            if (interrupted())
            {
                throw new CliError($"interrupted; instance '{context.Instance}' is stopped again and nothing is left");
            }

            DaemonList? list = DaemonList.TryRead(context.Instance);
            switch (list?.Phase)
            {
                case SupervisorPhase.Running:
                    return;
                case SupervisorPhase.Failed:
                    throw new CliError(list.Failure ?? "a daemon could not start");
                default:
                    break;
            }

            if (DetachedProcess.TryReap(supervisor, out int status))
            {
                throw new CliError($"the supervisor ended ({DetachedProcess.DescribeStatus(status)}); its last words: {LastLine(context.Instance.Log(Supervisor.Supervisor.Name))}");
            }

            if (MonotonicClock.Nanoseconds > deadline)
            {
                IEnumerable<string> waiting = list?.Daemons.Where(d => d.State != DaemonState.Ready).Select(d => $"{d.Name} is {d.State.ToString().ToLowerInvariant()}{(d.Text is null ? "" : $" ({d.Text})")}") ?? ["the supervisor says nothing"];
                throw new CliError($"instance '{context.Instance}' did not forward within {timeout.TotalSeconds:0} s: {string.Join(", ", waiting)}; try a longer --timeout, or see what the machine is busy with");
            }

            Thread.Sleep(s_poll);
        }
    }

    private static string LastLine(string path)
    {
        try
        {
            return File.ReadLines(path).LastOrDefault(l => !string.IsNullOrWhiteSpace(l)) ?? "none";
        }
        catch (IOException)
        {
            return "none";
        }
    }
}
