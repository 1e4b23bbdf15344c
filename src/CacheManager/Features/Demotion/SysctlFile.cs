using System.Buffers.Text;
using FastPathSync.Linux;

namespace FastPathSync.CacheManager.Features.Demotion;

/// <summary>A number under /proc/sys of the namespace of the thread that opened it, kept open to be read again and again.</summary>
internal sealed unsafe class SysctlFile : IDisposable
{
    private readonly string _path;
    private readonly FileDescriptor? _file;
    private readonly uint _absent;

    /// <param name="name">"net/ipv4/ip_forward"</param>
    /// <param name="absent">What a kernel without it does; null: the kernel must have it.</param>
    public SysctlFile(string name, uint? absent = null)
    {
        _path = "/proc/sys/" + name;
        _absent = absent ?? 0;
        int fd = Libc.open(_path, Libc.O_RDONLY | Libc.O_CLOEXEC, 0);
        if (fd >= 0 || absent is null)
        {
            _file = FileDescriptor.FromCall(fd, "open", _path);
        }
    }

    public uint Read()
    {
        if (_file is null)
        {
            return _absent;
        }

        byte* text = stackalloc byte[16];
        _ = Libc.lseek(_file.Number, 0, 0);
        nint length = LinuxException.ThrowIfNegative(Libc.read(_file.Number, text, 16), "read", _path);
        return Utf8Parser.TryParse(new ReadOnlySpan<byte>(text, (int)length), out uint value, out _) ? value
            : throw new LinuxException(Errno.EPROTO, "read", $"{_path}: no number");
    }

    public void Dispose() => _file?.Dispose();
}
