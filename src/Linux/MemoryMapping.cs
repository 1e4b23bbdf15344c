namespace FastPathSync.Linux;

/// <summary>A mapped region of memory, unmapped when disposed.</summary>
public sealed unsafe class MemoryMapping : IDisposable
{
    private byte* _address;

    private MemoryMapping(byte* address, nuint length)
    {
        _address = address;
        Length = length;
    }

    public byte* Address => _address;

    public nuint Length { get; }

    public static MemoryMapping Map(FileDescriptor file, nuint length, bool writable, string name) =>
        Create(length, writable ? Libc.PROT_READ | Libc.PROT_WRITE : Libc.PROT_READ, Libc.MAP_SHARED, file.Number, name);

    public static MemoryMapping Anonymous(nuint length, int extraFlags, string name) =>
        Create(length, Libc.PROT_READ | Libc.PROT_WRITE, Libc.MAP_PRIVATE | Libc.MAP_ANONYMOUS | extraFlags, -1, name);

    public static MemoryMapping MapAt(int fd, nuint length, int flags, long offset, string name)
    {
        void* p = Libc.mmap(null, length, Libc.PROT_READ | Libc.PROT_WRITE, flags, fd, offset);
        return p == (void*)-1 ? throw LinuxException.FromLastError("mmap", name) : new MemoryMapping((byte*)p, length);
    }

    /// <summary>Asks for transparent huge pages; the kernel may decline, which costs only speed.</summary>
    public void AdviseHugePages() => _ = Libc.madvise(_address, Length, Libc.MADV_HUGEPAGE);

    public void Dispose()
    {
        if (_address != null)
        {
            _ = Libc.munmap(_address, Length);
            _address = null;
        }
    }

    private static MemoryMapping Create(nuint length, int protection, int flags, int fd, string name)
    {
        void* p = Libc.mmap(null, length, protection, flags, fd, 0);
        return p == (void*)-1 ? throw LinuxException.FromLastError("mmap", name) : new MemoryMapping((byte*)p, length);
    }
}
