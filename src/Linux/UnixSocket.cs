using System.Runtime.InteropServices;
using System.Text;

namespace FastPathSync.Linux;

/// <summary>
/// Sequenced-packet UNIX sockets that carry descriptors (SCM_RIGHTS): the supervisor's segment store speaks over them.
/// </summary>
public static unsafe class UnixSocket
{
    public static FileDescriptor Listen(string path, int backlog = 16)
    {
        FileDescriptor fd = Create(path);
        Libc.sockaddr_un a = Address(path, out uint length);
        LinuxException.ThrowIfNegative(Libc.bind(fd.Number, &a, length), "bind", path);
        LinuxException.ThrowIfNegative(Libc.listen(fd.Number, backlog), "listen", path);
        return fd;
    }

    /// <param name="path">The listener's.</param>
    /// <param name="timeout">
    /// The longest that connecting (a full backlog blocks it), each Send and each Receive wait; then EAGAIN (socket(7)).
    /// Null: for ever.
    /// </param>
    public static FileDescriptor Connect(string path, TimeSpan? timeout = null)
    {
        FileDescriptor fd = Create(path);
        if (timeout is TimeSpan limit)
        {
            long* timeval = stackalloc long[2] { (long)limit.TotalSeconds, limit.Microseconds + (1000 * limit.Milliseconds) };
            _ = Libc.setsockopt(fd.Number, Libc.SOL_SOCKET, Libc.SO_SNDTIMEO, timeval, 16);
            _ = Libc.setsockopt(fd.Number, Libc.SOL_SOCKET, Libc.SO_RCVTIMEO, timeval, 16);
        }

        Libc.sockaddr_un a = Address(path, out uint length);
        if (Libc.connect(fd.Number, &a, length) < 0)
        {
            LinuxException e = LinuxException.FromLastError("connect", path);
            fd.Dispose();
            throw e;
        }

        return fd;
    }

    public static FileDescriptor Accept(FileDescriptor listener) =>
        FileDescriptor.FromCall(Libc.accept4(listener.Number, null, null, Libc.SOCK_CLOEXEC), "accept", "unix socket");

    /// <summary>Sends one packet, with at most one descriptor beside it.</summary>
    public static void Send(FileDescriptor socket, ReadOnlySpan<byte> packet, FileDescriptor? passed = null)
    {
        byte* control = stackalloc byte[24];
        fixed (byte* p = packet)
        {
            Libc.iovec iov = new() { iov_base = p, iov_len = (nuint)packet.Length };
            Libc.msghdr m = new() { msg_iov = &iov, msg_iovlen = 1 };
            if (passed is not null)
            {
                Libc.cmsghdr* c = (Libc.cmsghdr*)control;
                c->cmsg_len = 16 + sizeof(int);
                c->cmsg_level = Libc.SOL_SOCKET;
                c->cmsg_type = Libc.SCM_RIGHTS;
                *(int*)(control + 16) = passed.Number;
                m.msg_control = control;
                m.msg_controllen = 24;
            }

            LinuxException.ThrowIfNegative(Libc.sendmsg(socket.Number, &m, Libc.MSG_NOSIGNAL), "sendmsg", "unix socket");
        }
    }

    /// <summary>Receives one packet. Returns 0 when the peer has closed.</summary>
    public static int Receive(FileDescriptor socket, Span<byte> buffer, out FileDescriptor? passed)
    {
        byte* control = stackalloc byte[24];
        passed = null;
        fixed (byte* p = buffer)
        {
            Libc.iovec iov = new() { iov_base = p, iov_len = (nuint)buffer.Length };
            Libc.msghdr m = new() { msg_iov = &iov, msg_iovlen = 1, msg_control = control, msg_controllen = 24 };
            nint n;
            do
            {
                n = Libc.recvmsg(socket.Number, &m, Libc.MSG_CMSG_CLOEXEC);
            }
            while (n < 0 && Marshal.GetLastPInvokeError() == Errno.EINTR);
            if (n < 0 && Marshal.GetLastPInvokeError() == Errno.ECONNRESET)
            {
                return 0;
            }

            LinuxException.ThrowIfNegative(n, "recvmsg", "unix socket");
            Libc.cmsghdr* c = (Libc.cmsghdr*)control;
            if (m.msg_controllen >= 16 + sizeof(int) && c->cmsg_level == Libc.SOL_SOCKET && c->cmsg_type == Libc.SCM_RIGHTS)
            {
                passed = new FileDescriptor(*(int*)(control + 16));
            }

            return (int)n;
        }
    }

    private static FileDescriptor Create(string path) =>
        FileDescriptor.FromCall(Libc.socket(Libc.AF_UNIX, Libc.SOCK_SEQPACKET | Libc.SOCK_CLOEXEC, 0), "socket", path);

    private static Libc.sockaddr_un Address(string path, out uint length)
    {
        byte[] bytes = Encoding.UTF8.GetBytes(path);
        Libc.sockaddr_un a = new() { sun_family = Libc.AF_UNIX };
        if (bytes.Length >= 108)
        {
            throw new LinuxException(Errno.EINVAL, "socket path longer than 107 bytes", path);
        }

        for (int i = 0; i < bytes.Length; i++)
        {
            a.sun_path[i] = bytes[i];
        }

        length = (uint)(2 + bytes.Length + 1);
        return a;
    }
}
