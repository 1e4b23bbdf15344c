using System.Runtime.InteropServices;
using FastPathSync.Hosting;
using FastPathSync.Linux;

namespace FastPathSync.Fpctl.Supervisor;

/// <summary>The flock on an instance's `lock` file: who holds it is its supervisor, or is just starting one.</summary>
internal static unsafe class InstanceLock
{
    /// <summary>Where `fpctl start` leaves the lock for the supervisor that it starts (DetachedProcess.Start).</summary>
    private const int InheritedDescriptor = 3;

    /// <summary>IsHeld takes the lock for a moment: one who asks must not look like one who runs.</summary>
    private const int Attempts = 11;
    private static readonly TimeSpan s_pause = TimeSpan.FromMilliseconds(10);

    /// <summary>The lock, held until disposed; null when somebody else holds it.</summary>
    public static FileDescriptor? TryTake(Instance instance)
    {
        for (int attempt = 1; ; attempt++)
        {
            FileDescriptor file = FileDescriptor.FromCall(
                Libc.open(instance.Lock, Libc.O_RDWR | Libc.O_CREAT | Libc.O_CLOEXEC, 0x180), "open", instance.Lock);
            if (Libc.flock(file.Number, Libc.LOCK_EX | Libc.LOCK_NB) < 0)
            {
                file.Dispose();
                if (attempt >= Attempts)
                {
                    return null;
                }

                Thread.Sleep(s_pause);
                continue;
            }

            // The holder before us may have removed the file between our open and our flock: then we hold nothing.
            if (File.ResolveLinkTarget($"/proc/self/fd/{file.Number}", returnFinalTarget: false)?.FullName == instance.Lock)
            {
                return file;
            }

            file.Dispose();
        }
    }

    /// <summary>Is anyone holding it? Asks without creating the file.</summary>
    public static bool IsHeld(Instance instance)
    {
        int fd = Libc.open(instance.Lock, Libc.O_RDWR | Libc.O_CLOEXEC, 0);
        if (fd < 0)
        {
            return false;
        }

        using FileDescriptor file = new(fd);
        return Libc.flock(fd, Libc.LOCK_EX | Libc.LOCK_NB) < 0 && Marshal.GetLastPInvokeError() == Errno.EAGAIN;
    }

    /// <summary>Takes over the lock that came with descriptor 3, and keeps it from our own children.</summary>
    public static FileDescriptor Inherit()
    {
        const nuint FIOCLEX = 0x5451; // asm-generic/ioctls.h
        FileDescriptor file = new(InheritedDescriptor);
        LinuxException.ThrowIfNegative(Libc.ioctl(InheritedDescriptor, FIOCLEX, null), "ioctl FIOCLEX", "inherited lock");
        return file;
    }
}
