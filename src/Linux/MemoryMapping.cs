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

    public const nuint HugePage = 2 << 20;

    /// <summary>At a multiple of a huge page's size where the file is as large as one, so that it can be mapped by huge pages.</summary>
    public static MemoryMapping Map(FileDescriptor file, nuint length, bool writable, string name)
    {
        int protection = writable ? Libc.PROT_READ | Libc.PROT_WRITE : Libc.PROT_READ;
        if (length < HugePage)
        {
            return Create(length, protection, Libc.MAP_SHARED, file.Number, name);
        }

        // Address space for one huge page more, of which the ends are given back.
        MemoryMapping space = Create(length + HugePage, Libc.PROT_NONE, Libc.MAP_PRIVATE | Libc.MAP_ANONYMOUS, -1, name);
        byte* at = (byte*)(((nuint)space.Address + HugePage - 1) / HugePage * HugePage);
        byte* end = at + ((length + 4095) / 4096 * 4096);
        if (Libc.mmap(at, length, protection, Libc.MAP_SHARED | Libc.MAP_FIXED, file.Number, 0) == (void*)-1)
        {
            LinuxException error = LinuxException.FromLastError("mmap", name);
            space.Dispose();
            throw error;
        }

        Unmap(space.Address, at);
        Unmap(end, space.Address + space.Length);
        return new MemoryMapping(at, length);

        static void Unmap(byte* from, byte* to)
        {
            if (to > from)
            {
                _ = Libc.munmap(from, (nuint)(to - from));
            }
        }
    }

    public static MemoryMapping Anonymous(nuint length, int extraFlags, string name) =>
        Create(length, Libc.PROT_READ | Libc.PROT_WRITE, Libc.MAP_PRIVATE | Libc.MAP_ANONYMOUS | extraFlags, -1, name);

    public static MemoryMapping MapAt(int fd, nuint length, int flags, long offset, string name)
    {
        void* p = Libc.mmap(null, length, Libc.PROT_READ | Libc.PROT_WRITE, flags, fd, offset);
        return p == (void*)-1 ? throw LinuxException.FromLastError("mmap", name) : new MemoryMapping((byte*)p, length);
    }

    /// <summary>Asks for transparent huge pages; the kernel may decline, which costs only speed.</summary>
    public void AdviseHugePages() => _ = Libc.madvise(_address, Length, Libc.MADV_HUGEPAGE);

    /// <summary>From writable to executable, so that it is never both. Policies may forbid it (SELinux' execmem, PR_SET_MDWE).</summary>
    public void MakeExecutable(string name) =>
        LinuxException.ThrowIfNegative(Libc.mprotect(_address, Length, Libc.PROT_READ | Libc.PROT_EXEC), "mprotect", name);

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
