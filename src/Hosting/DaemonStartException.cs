namespace FastPathSync.Hosting;

/// <summary>A daemon cannot start: an errno, and one line that says what, why and how to mend it.</summary>
public sealed class DaemonStartException(int errno, string line, Exception? inner = null) : Exception(line, inner)
{
    public int ErrorNumber { get; } = errno;
}
