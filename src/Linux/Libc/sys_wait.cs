using System.Runtime.InteropServices;

namespace FastPathSync.Linux;

/// <summary>sys/wait.h</summary>
public static unsafe partial class Libc
{
    public const int WNOHANG = 1;

    [LibraryImport("libc", SetLastError = true)]
    public static partial int waitpid(int pid, int* status, int options);
}
