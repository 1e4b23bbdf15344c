namespace FastPathSync.Linux;

/// <summary>Runs work inside another network namespace, on a thread of its own that ends with the work.</summary>
public static class NetworkNamespace
{
    /// <summary>
    /// Sockets opened by <paramref name="work"/> belong to the namespace for life and may be used from any thread.
    /// </summary>
    /// <param name="path">"/run/netns/NAME" or "/proc/PID/ns/net".</param>
    public static T Run<T>(string path, Func<T> work)
    {
        T? result = default;
        Exception? failure = null;
        Thread thread = new(() =>
        {
            try
            {
                using FileDescriptor ns = FileDescriptor.FromCall(Libc.open(path, Libc.O_RDONLY | Libc.O_CLOEXEC, 0), "open", path);
                LinuxException.ThrowIfNegative(Libc.setns(ns.Number, Libc.CLONE_NEWNET), "setns", path);
                result = work();
            }
            catch (Exception e)
            {
                failure = e;
            }
        });
        thread.Start();
        thread.Join();
        return failure is null ? result! : throw new AggregateException(failure).InnerException!;
    }
}
