using System.Runtime.InteropServices;

namespace FastPathSync.Linux;

/// <summary>sys/resource.h</summary>
public static partial class Libc
{
    public const int PRIO_PROCESS = 0;

    /// <summary>On Linux "process" 0 is the calling thread.</summary>
    [LibraryImport("libc", SetLastError = true)]
    public static partial int setpriority(int which, uint who, int niceness);
}
