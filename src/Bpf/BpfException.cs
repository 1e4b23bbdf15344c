using FastPathSync.Linux;

namespace FastPathSync.Bpf;

/// <summary>An eBPF operation that failed, with what libbpf and the verifier said about it.</summary>
public sealed class BpfException(int errno, string operation, string @object, string log)
    : Exception($"{operation} {@object}: {Errno.Describe(errno)}")
{
    public int ErrorNumber { get; } = errno;

    /// <summary>libbpf's own words; empty when it had none.</summary>
    public string Log { get; } = log;
}
