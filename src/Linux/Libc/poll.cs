using System.Runtime.InteropServices;

namespace FastPathSync.Linux;

/// <summary>poll.h</summary>
public static unsafe partial class Libc
{
    public const short POLLIN = 1, POLLOUT = 4, POLLERR = 8, POLLHUP = 16;

    [StructLayout(LayoutKind.Sequential)]
    public struct pollfd
    {
        public int fd;
        public short events;
        public short revents;
    }

    [LibraryImport("libc", SetLastError = true)]
    public static partial int poll(pollfd* descriptors, nuint count, int timeoutMilliseconds);
}
