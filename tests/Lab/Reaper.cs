using System.Globalization;
using FastPathSync.Linux;

namespace FastPathSync.Labs;

/// <summary>Finds and removes what labs leave: namespaces, processes of their instances, instance directories.</summary>
public static class Reaper
{
    private const string NetnsDirectory = "/run/netns", InstanceDirectory = "/run/fastpathsync";

    /// <summary>Removes what runs that are no more (the pid in the name is gone) have left.</summary>
    public static void RemoveLeftovers()
    {
        foreach (string instance in Names(InstanceDirectory).Where(OwnerIsGone))
        {
            KillInstance(instance);
            Directory.Delete(Path.Combine(InstanceDirectory, instance), recursive: true);
        }

        foreach (string name in Names(NetnsDirectory).Where(OwnerIsGone))
        {
            RemoveNamespace(name);
        }
    }

    /// <summary>What still exists under names with this prefix, one sentence each.</summary>
    public static IEnumerable<string> FindLeftovers(string prefix)
    {
        foreach (string name in Names(NetnsDirectory).Where(n => n.StartsWith(prefix, StringComparison.Ordinal)))
        {
            yield return $"namespace {name} is left";
        }

        foreach (string name in Names(InstanceDirectory).Where(n => n.StartsWith(prefix, StringComparison.Ordinal)))
        {
            yield return $"{InstanceDirectory}/{name} is left";
        }

        foreach ((int pid, string command) in Processes().Where(p => p.Command.Contains($" {prefix}", StringComparison.Ordinal)))
        {
            yield return $"process {pid} is left: {command}";
        }
    }

    /// <summary>Ends whatever runs in the namespace (it is ours, and so is all in it) and deletes it.</summary>
    public static void RemoveNamespace(string name)
    {
        if (!File.Exists(Path.Combine(NetnsDirectory, name)))
        {
            return;
        }

        foreach (string pid in Command.Run(["ip", "netns", "pids", name]).Output.Split('\n', StringSplitOptions.RemoveEmptyEntries))
        {
            _ = Libc.kill(int.Parse(pid, CultureInfo.InvariantCulture), Libc.SIGKILL);
        }

        Command.Run(["ip", "netns", "delete", name]).MustSucceed();
    }

    /// <summary>The processes that were started with --instance NAME.</summary>
    public static IEnumerable<(int Pid, string Command)> ProcessesOf(string instance) =>
        Processes().Where(p => $" {p.Command} ".Contains($" --instance {instance} ", StringComparison.Ordinal)
            || p.Command.Contains($"--instance={instance} ", StringComparison.Ordinal));

    /// <summary>Ends them; the supervisor first, so that it starts nothing anew.</summary>
    public static void KillInstance(string instance)
    {
        for (int round = 0; round < 20; round++)
        {
            (int Pid, string Command)[] all = [.. ProcessesOf(instance).OrderByDescending(p => p.Command.Contains(" supervise", StringComparison.Ordinal))];
            if (all.Length == 0)
            {
                return;
            }

            foreach ((int pid, _) in all)
            {
                _ = Libc.kill(pid, Libc.SIGKILL);
            }

            Thread.Sleep(50);
        }
    }

    private static string[] Names(string directory) =>
        Directory.Exists(directory)
            ? Directory.EnumerateFileSystemEntries(directory, Lab.NamePrefix + "*").Select(p => Path.GetFileName(p)).ToArray()
            : [];

    private static bool OwnerIsGone(string name) =>
        name[Lab.NamePrefix.Length..].Split('-') is [string pid, ..]
        && int.TryParse(pid, CultureInfo.InvariantCulture, out int owner)
        && owner != Environment.ProcessId
        && !Directory.Exists($"/proc/{owner}");

    private static IEnumerable<(int Pid, string Command)> Processes()
    {
        foreach (string directory in Directory.EnumerateDirectories("/proc"))
        {
            if (int.TryParse(Path.GetFileName(directory), CultureInfo.InvariantCulture, out int pid) && CommandLine(pid) is { Length: > 0 } command)
            {
                yield return (pid, command);
            }
        }
    }

    private static string CommandLine(int pid)
    {
        try
        {
            return File.ReadAllText($"/proc/{pid}/cmdline").Replace('\0', ' ').TrimEnd();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return ""; // it has just ended
        }
    }
}
