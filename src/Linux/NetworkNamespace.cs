namespace FastPathSync.Linux;

/// <summary>Runs work inside another network namespace, on a thread of its own that ends with the work.</summary>
public static unsafe class NetworkNamespace
{
    /// <summary>Where `ip netns` keeps the named ones.</summary>
    public const string Directory = "/run/netns";

    /// <summary>How the namespace is called in which nobody named anything.</summary>
    public const string Unnamed = "default";

    private const string Own = "/proc/thread-self/ns/net";

    /// <summary>Inode of the calling thread's.</summary>
    public static ulong OwnInode => InodeOf(Own) ?? 0;

    /// <summary>
    /// Sockets opened by <paramref name="work"/> belong to the namespace for life and may be used from any thread.
    /// </summary>
    /// <param name="path">"/run/netns/NAME" or "/proc/PID/ns/net".</param>
    public static T Run<T>(string path, Func<T> work) => OnThread(() =>
    {
        using FileDescriptor ns = FileDescriptor.FromCall(Libc.open(path, Libc.O_RDONLY | Libc.O_CLOEXEC, 0), "open", path);
        Enter(ns, path);
        return work();
    });

    public static T Run<T>(FileDescriptor ns, string name, Func<T> work) => OnThread(() =>
    {
        Enter(ns, name);
        return work();
    });

    /// <summary>
    /// Opens a named namespace. Null when there is none of that name, or not yet: `ip netns add` makes the file first, and
    /// mounts the namespace on it then. While it is open, the namespace lives.
    /// </summary>
    public static FileDescriptor? TryOpen(string name, out ulong inode)
    {
        inode = 0;
        int fd = Libc.open($"{Directory}/{name}", Libc.O_RDONLY | Libc.O_CLOEXEC | Libc.O_NONBLOCK, 0);
        if (fd < 0)
        {
            return null;
        }

        FileDescriptor file = new(fd);
        (ulong device, inode) = DeviceAndInode(file);
        if (device == NamespaceDevice)
        {
            return file;
        }

        file.Dispose();
        return null;
    }

    /// <summary>The inode of the named namespace, or null when there is none (yet).</summary>
    public static ulong? TryInode(string name)
    {
        using FileDescriptor? file = TryOpen(name, out ulong inode);
        return file is null ? null : inode;
    }

    /// <summary>The named namespaces there are, with their inodes, in the order of their names.</summary>
    public static List<(string Name, ulong Inode)> All(string directory = Directory)
    {
        List<(string, ulong)> all = [];
        foreach (string name in Names(directory))
        {
            if (InodeOf($"{directory}/{name}", requireNamespace: directory == Directory) is ulong inode)
            {
                all.Add((name, inode));
            }
        }

        return all;
    }

    /// <summary>The name of a namespace, "default" when it has none: what `ip netns identify` answers.</summary>
    public static string NameOf(ulong inode, string directory = Directory)
    {
        foreach (string name in Names(directory))
        {
            if (InodeOf($"{directory}/{name}") == inode)
            {
                return name;
            }
        }

        return Unnamed;
    }

    /// <summary>Of the namespace behind a file; null when there is no such file (any more).</summary>
    public static ulong? InodeOf(string path, bool requireNamespace = false)
    {
        int fd = Libc.open(path, Libc.O_RDONLY | Libc.O_CLOEXEC | Libc.O_NONBLOCK, 0);
        if (fd < 0)
        {
            return null;
        }

        using FileDescriptor file = new(fd);
        (ulong device, ulong inode) = DeviceAndInode(file);
        return inode == 0 || (requireNamespace && device != NamespaceDevice) ? null : inode;
    }

    private static ulong NamespaceDevice
    {
        get
        {
            if (field == 0)
            {
                using FileDescriptor own = FileDescriptor.FromCall(Libc.open(Own, Libc.O_RDONLY | Libc.O_CLOEXEC, 0), "open", Own);
                field = DeviceAndInode(own).Device;
            }

            return field;
        }
    }

    /// <summary>The files there, whatever they are, in order.</summary>
    public static List<string> Names(string directory)
    {
        try
        {
            return [.. System.IO.Directory.EnumerateFiles(directory).Select(f => Path.GetFileName(f)).Order(StringComparer.Ordinal)];
        }
        catch (IOException)
        {
            return []; // nobody ever named one
        }
    }

    private static (ulong Device, ulong Inode) DeviceAndInode(FileDescriptor file)
    {
        const int StatBytes = 144; // struct stat of asm/stat.h: st_dev, st_ino, ...
        ulong* stat = stackalloc ulong[StatBytes / sizeof(ulong)];
        return Libc.fstat(file.Number, stat) == 0 ? (stat[0], stat[1]) : (0, 0);
    }

    private static void Enter(FileDescriptor ns, string name) =>
        LinuxException.ThrowIfNegative(Libc.setns(ns.Number, Libc.CLONE_NEWNET), "setns", name);

    private static T OnThread<T>(Func<T> work)
    {
        T? result = default;
        Exception? failure = null;
        Thread thread = new(() =>
        {
            try
            {
                result = work();
            }
            catch (Exception e)
            {
                failure = e;
            }
        }, 512 << 10);
        thread.Start();
        thread.Join();
        return failure is null ? result! : throw new AggregateException(failure).InnerException!;
    }
}
