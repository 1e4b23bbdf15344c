using System.Runtime.InteropServices;

namespace FastPathSync.Linux;

/// <summary>unistd.h: reading at an offset.</summary>
public static unsafe partial class Libc
{
    [LibraryImport("libc", SetLastError = true)]
    public static partial nint pread(int fd, void* buffer, nuint count, long offset);
}
