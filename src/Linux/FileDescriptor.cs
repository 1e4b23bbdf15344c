using Microsoft.Win32.SafeHandles;

namespace FastPathSync.Linux;

/// <summary>Owns one file descriptor and closes it once.</summary>
public sealed class FileDescriptor : SafeHandleMinusOneIsInvalid
{
    public FileDescriptor(int fd)
        : base(ownsHandle: true) => SetHandle(fd);

    /// <summary>The number, for system calls. The caller keeps this object alive across the call.</summary>
    public int Number => (int)handle;

    /// <summary>Wraps the result of a system call, or throws what it left in errno.</summary>
    public static FileDescriptor FromCall(int result, string operation, string @object) =>
        new(LinuxException.ThrowIfNegative(result, operation, @object));

    public FileDescriptor Duplicate() => FromCall(Libc.dup(Number), "dup", $"fd {Number}");

    protected override bool ReleaseHandle() => Libc.close((int)handle) == 0;
}
