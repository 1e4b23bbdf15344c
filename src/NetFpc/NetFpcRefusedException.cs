namespace FastPathSync.NetFpc;

/// <summary>The fast path can't do what was asked: an errno, and one line that says what, why and how to mend it.</summary>
public sealed class NetFpcRefusedException(int errno, string line) : Exception(line)
{
    public int ErrorNumber { get; } = errno;
}
