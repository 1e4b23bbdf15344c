using FastPathSync.Hosting;
using FastPathSync.Linux;

namespace FastPathSync.Fpctl.Supervisor;

/// <summary>Stops an instance: through its supervisor, or, when that is dead or hangs, by the pids it wrote down.</summary>
internal static class InstanceStop
{
    private const int SIGCONT = 18;
    private const int Attempts = 3;
    private static readonly TimeSpan s_respawn = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(3);

    /// <summary>True when anything of it runs.</summary>
    public static bool IsRunning(Instance instance) =>
        Directory.Exists(instance.Directory) && (InstanceLock.IsHeld(instance) || InstanceDirectory.LiveProcesses(instance).Count > 0);

    /// <summary>Afterwards nothing is left: no process, no directory.</summary>
    /// <returns>False when nothing ran; what was left behind has been removed.</returns>
    public static bool Stop(Instance instance)
    {
        if (!Directory.Exists(instance.Directory))
        {
            return false;
        }

        bool ran = IsRunning(instance);
        if (ran)
        {
            Ask(instance);
        }

        for (int attempt = 1; Directory.Exists(instance.Directory) && !TryStopByPid(instance, lastResort: attempt == Attempts); attempt++)
        {
            Ask(instance);
        }

        if (Directory.Exists(instance.Directory))
        {
            InstanceDirectory.Remove(instance);
        }

        return ran;
    }

    /// <summary>Asks the supervisor, and the one that a daemon starts within a moment when it was killed.</summary>
    private static void Ask(Instance instance)
    {
        ulong deadline = MonotonicClock.Nanoseconds + (ulong)s_respawn.TotalNanoseconds;
        while (!ControlProtocol.TryStop(instance) && MonotonicClock.Nanoseconds <= deadline && Directory.Exists(instance.Directory))
        {
            Thread.Sleep(50);
        }
    }

    /// <returns>False when a daemon has started another supervisor meanwhile, which would start again what is ended here.</returns>
    private static bool TryStopByPid(Instance instance, bool lastResort)
    {
        IReadOnlyList<(string Name, ProcessIdentity Process)> live = InstanceDirectory.LiveProcesses(instance);
        foreach ((string name, ProcessIdentity process) in live)
        {
            if (name == Supervisor.Name)
            {
                _ = process.TrySignal(Libc.SIGKILL); // it doesn't answer
                Wait([process], s_patience);
            }
        }

        // With the lock in our hands no daemon can start another supervisor.
        using FileDescriptor? held = InstanceLock.TryTake(instance);
        if (held is null && !lastResort)
        {
            return false;
        }

        HashSet<string> first = [.. InstancePlan.TryRead(instance)?.Daemons.Where(d => d.StopFirst).Select(d => d.Name) ?? []];
        ProcessIdentity[] daemons = [.. live.Where(l => l.Name != Supervisor.Name).Select(l => l.Process)];
        End([.. live.Where(l => first.Contains(l.Name)).Select(l => l.Process)]);
        End(daemons);
        return true;
    }

    private static void End(ProcessIdentity[] processes)
    {
        foreach (ProcessIdentity p in processes)
        {
            _ = p.TrySignal(Libc.SIGTERM);
            _ = p.TrySignal(SIGCONT);
        }

        if (!Wait(processes, s_patience))
        {
            foreach (ProcessIdentity p in processes)
            {
                _ = p.TrySignal(Libc.SIGKILL);
            }

            Wait(processes, s_patience);
        }
    }

    private static bool Wait(ProcessIdentity[] processes, TimeSpan patience)
    {
        ulong deadline = MonotonicClock.Nanoseconds + (ulong)patience.TotalNanoseconds;
        while (processes.Any(p => p.IsAlive))
        {
            if (MonotonicClock.Nanoseconds > deadline)
            {
                return false;
            }

            Thread.Sleep(10);
        }

        return true;
    }
}
