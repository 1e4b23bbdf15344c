using System.Runtime.InteropServices;

namespace FastPathSync.Linux;

/// <summary>sys/stat.h</summary>
public static unsafe partial class Libc
{
    /// <param name="stat">struct stat of asm/stat.h, 144 bytes: st_dev u64, st_ino u64, ..., st_blocks u64 at 64</param>
    [LibraryImport("libc", SetLastError = true)]
    public static partial int fstat(int fd, void* stat);
}
