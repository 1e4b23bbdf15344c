using FastPathSync.Hosting;
using FastPathSync.Linux;

namespace FastPathSync.Fpctl.Supervisor;

/// <summary>The directory of an instance: made by `fpctl start`, removed by whoever ends the instance.</summary>
internal static class InstanceDirectory
{
    private const UnixFileMode Private = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;

    /// <exception cref="IOException">It can't be made.</exception>
    /// <exception cref="UnauthorizedAccessException">It can't be made.</exception>
    public static void Create(Instance instance)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(instance.Directory)!);
        Directory.CreateDirectory(instance.Directory, Private);
    }

    /// <summary>Removes what a dead instance left behind, but the lock, which the caller holds.</summary>
    /// <returns>True when there was anything.</returns>
    public static bool Clean(Instance instance)
    {
        bool any = false;
        foreach (string path in Directory.EnumerateFileSystemEntries(instance.Directory))
        {
            if (path != instance.Lock)
            {
                any = true;
                File.Delete(path);
            }
        }

        return any;
    }

    public static void Remove(Instance instance)
    {
        try
        {
            Directory.Delete(instance.Directory, recursive: true);
            Directory.Delete(Path.GetDirectoryName(instance.Directory)!); // only if it was the last instance
        }
        catch (IOException)
        {
            // Somebody was faster, or other instances live there.
        }
    }

    /// <summary>The daemons that daemons.json names and that are still alive, the supervisor included.</summary>
    public static IReadOnlyList<(string Name, ProcessIdentity Process)> LiveProcesses(Instance instance) =>
        DaemonList.TryRead(instance) is DaemonList list
            ? [.. list.Daemons.Select(d => (d.Name, new ProcessIdentity(d.Pid, d.StartTime))).Where(d => d.Item2.Pid > 0 && d.Item2.IsAlive)]
            : [];
}
