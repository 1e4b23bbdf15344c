using FastPathSync.Linux;

namespace FastPathSync.SharedMemory;

/// <summary>A segment that cannot be used: which, why, and what mends it.</summary>
public sealed class SegmentException(string segment, string cause)
    : Exception($"shared memory segment '{segment}': {cause}")
{
    public string Segment { get; } = segment;
}

/// <summary>One mapped memfd: a header, then a table.</summary>
public sealed unsafe class Segment : IDisposable
{
    private readonly MemoryMapping _mapping;

    private Segment(string name, FileDescriptor file, MemoryMapping mapping)
    {
        Name = name;
        File = file;
        _mapping = mapping;
    }

    public string Name { get; }

    public FileDescriptor File { get; }

    public ref SegmentHeader Header => ref *(SegmentHeader*)_mapping.Address;

    /// <summary>The first byte behind the header (128-byte aligned).</summary>
    public byte* Body => _mapping.Address + SegmentHeader.Size;

    /// <summary>Header and body.</summary>
    public MemoryMapping Mapping => _mapping;

    /// <summary>The memory behind it: its pages that anybody has touched (st_blocks).</summary>
    public long ResidentBytes
    {
        get
        {
            const int StatBytes = 144, BlocksAt = 64, BlockSize = 512;
            byte* stat = stackalloc byte[StatBytes];
            return Libc.fstat(File.Number, stat) == 0 ? *(long*)(stat + BlocksAt) * BlockSize : 0;
        }
    }

    public nuint BodyLength => _mapping.Length - SegmentHeader.Size;

    /// <summary>Makes a new zeroed segment. Pages cost memory only once touched.</summary>
    public static Segment Create(string name, SegmentKind kind, ulong capacity, nuint bodyLength)
    {
        nuint length = RoundUp(bodyLength + SegmentHeader.Size, 4096);
        FileDescriptor file = FileDescriptor.FromCall(Libc.memfd_create($"fastpathsync-{name}", Libc.MFD_CLOEXEC), "memfd_create", name);
        LinuxException.ThrowIfNegative(Libc.ftruncate(file.Number, (long)length), "ftruncate", name);
        MemoryMapping mapping = MemoryMapping.Map(file, length, writable: true, name);
        Segment s = new(name, file, mapping);
        s.Header.LayoutVersion = SegmentHeader.CurrentLayoutVersion;
        s.Header.Kind = kind;
        s.Header.Capacity = capacity;
        s.Header.WriterPid = Libc.getpid();
        Volatile.Write(ref s.Header.Magic, SegmentHeader.MagicValue);
        return s;
    }

    /// <summary>Maps an existing segment, refusing whatever is not exactly this layout.</summary>
    /// <exception cref="SegmentException">It is not a segment, of another kind, or of another layout version.</exception>
    public static Segment Attach(string name, FileDescriptor file, SegmentKind kind, bool writable)
    {
        long length = Libc.lseek(file.Number, 0, 2);
        if (length < SegmentHeader.Size)
        {
            throw new SegmentException(name, $"{length} bytes is too short for a header; stop the instance and start it again");
        }

        MemoryMapping mapping = MemoryMapping.Map(file, (nuint)length, writable, name);
        Segment s = new(name, file, mapping);
        string? fault = s.Header.Magic != SegmentHeader.MagicValue ? "no FastPathSync segment (bad magic)"
            : s.Header.LayoutVersion != SegmentHeader.CurrentLayoutVersion
                ? $"layout version {s.Header.LayoutVersion}, this program has {SegmentHeader.CurrentLayoutVersion}"
            : s.Header.Kind != kind ? $"holds {s.Header.Kind}, expected {kind}" : null;
        if (fault is not null)
        {
            mapping.Dispose();
            throw new SegmentException(name, $"{fault}; stop the instance and start it again (fpctl stop; fpctl start ...)");
        }

        return s;
    }

    /// <summary>The writer says that it is alive.</summary>
    public void Beat()
    {
        Header.WriterPid = Libc.getpid();
        Volatile.Write(ref Header.Heartbeat, MonotonicClock.Nanoseconds);
    }

    public void Dispose()
    {
        _mapping.Dispose();
        File.Dispose();
    }

    private static nuint RoundUp(nuint value, nuint unit) => (value + unit - 1) / unit * unit;
}
