using System.Runtime.InteropServices;

namespace FastPathSync.Linux;

/// <summary>Error numbers of asm-generic/errno.h that the product reacts to.</summary>
public static class Errno
{
    public const int EPERM = 1, ENOENT = 2, ESRCH = 3, EINTR = 4, EIO = 5, E2BIG = 7, EBADF = 9, EAGAIN = 11, ENOMEM = 12, EACCES = 13,
        EFAULT = 14, EBUSY = 16, EEXIST = 17, ENODEV = 19, EINVAL = 22, ENOSPC = 28, EPIPE = 32, ERANGE = 34, EPROTO = 71,
        EBADMSG = 74, EMSGSIZE = 90, EPROTONOSUPPORT = 93, EOPNOTSUPP = 95, EADDRINUSE = 98, ENETDOWN = 100, ECONNRESET = 104,
        ENOBUFS = 105, ETIMEDOUT = 110, ECONNREFUSED = 111, ESTALE = 116;

    /// <summary>The C library's sentence for an errno, for messages to people.</summary>
    public static string Describe(int errno) => $"{Marshal.GetPInvokeErrorMessage(errno)} (errno {errno})";
}
