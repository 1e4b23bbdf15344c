using System.Runtime.InteropServices;

namespace FastPathSync.Linux;

/// <summary>A system call that failed on a control path: which one, on what, and the errno.</summary>
public sealed class LinuxException : Exception
{
    public LinuxException(int errno, string operation, string @object)
        : base($"{operation} {@object}: {Errno.Describe(errno)}")
    {
        ErrorNumber = errno;
        Operation = operation;
        Object = @object;
    }

    public int ErrorNumber { get; }

    public string Operation { get; }

    public string Object { get; }

    /// <summary>The errno that the last LibraryImport call with SetLastError left on this thread.</summary>
    public static LinuxException FromLastError(string operation, string @object) =>
        new(Marshal.GetLastPInvokeError(), operation, @object);

    public static int ThrowIfNegative(int result, string operation, string @object) =>
        result >= 0 ? result : throw FromLastError(operation, @object);

    public static nint ThrowIfNegative(nint result, string operation, string @object) =>
        result >= 0 ? result : throw FromLastError(operation, @object);
}
