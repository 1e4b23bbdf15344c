using System.Runtime.InteropServices;

namespace FastPathSync.Linux;

/// <summary>sched.h</summary>
public static unsafe partial class Libc
{
    public const int CLONE_NEWNET = 0x40000000, CLONE_NEWNS = 0x20000;

    [LibraryImport("libc", SetLastError = true)]
    public static partial int setns(int fd, int type);

    [LibraryImport("libc", SetLastError = true)]
    public static partial int unshare(int flags);

    /// <summary>pid 0 is the calling thread.</summary>
    [LibraryImport("libc", SetLastError = true)]
    public static partial int sched_setaffinity(int pid, nuint size, void* mask);
}
