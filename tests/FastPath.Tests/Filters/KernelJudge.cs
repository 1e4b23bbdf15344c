using System.Runtime.InteropServices;
using FastPathSync.Linux;
using FastPathSync.Packets.Filters;

namespace FastPathSync.FastPath.Tests.Filters;

/// <summary>The kernel's opinion on a filter.</summary>
internal static unsafe class KernelJudge
{
    /// <summary>False when the kernel finds it invalid.</summary>
    public static bool TryAttach(FileDescriptor socket, ReadOnlySpan<FilterInstruction> program)
    {
        fixed (FilterInstruction* filter = program)
        {
            sock_fprog argument = new() { len = (ushort)program.Length, filter = filter };
            if (Libc.setsockopt(socket.Number, Libc.SOL_SOCKET, Libc.SO_ATTACH_FILTER, &argument, (uint)sizeof(sock_fprog)) == 0)
            {
                return true;
            }
        }

        int errno = Marshal.GetLastPInvokeError();
        Assert.True(errno is Errno.EINVAL or Errno.ENOMEM, $"SO_ATTACH_FILTER: {Errno.Describe(errno)}");
        return errno == Errno.ENOMEM; // valid, and more than net.core.optmem_max
    }

    /// <summary>How much of the next packet the socket got; null when there is none.</summary>
    public static int? Receive(FileDescriptor socket)
    {
        byte* buffer = stackalloc byte[2048];
        nint length = Libc.recv(socket.Number, buffer, 2048, Libc.MSG_DONTWAIT);
        if (length >= 0)
        {
            return (int)length;
        }

        int errno = Marshal.GetLastPInvokeError();
        return errno == Errno.EAGAIN ? null : throw new LinuxException(errno, "recv", "packet");
    }

    /// <summary>What a socket gets of a packet of so many bytes when its filter says so.</summary>
    public static int? Expected(uint accepted, uint length) => accepted == 0 ? null : (int)Math.Min(accepted, length);

    [StructLayout(LayoutKind.Sequential)]
    private struct sock_fprog
    {
        public ushort len;
        public FilterInstruction* filter;
    }
}
