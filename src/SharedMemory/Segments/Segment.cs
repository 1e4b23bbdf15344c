using FastPathSync.Linux;

namespace FastPathSync.SharedMemory;

/// <summary>A segment that cannot be used: which, why, and what mends it.</summary>
public sealed class SegmentException(string segment, string cause)
    : Exception($"shared memory segment '{segment}': {cause}")
{
    public string Segment { get; } = segment;
}

/// <summary>One mapped memfd, a header, then a table; or one of the tables that share a memfd (see VrfTablesSegment).</summary>
public sealed unsafe class Segment : IDisposable
{
    private readonly MemoryMapping? _mapping;
    private readonly byte* _address;
    private readonly nuint _offset;

    private Segment(string name, FileDescriptor file, MemoryMapping mapping)
    {
        Name = name;
        File = file;
        _mapping = mapping;
        _address = mapping.Address;
        BodyLength = mapping.Length - SegmentHeader.Size;
    }

    private Segment(string name, Segment whole, nuint offset, nuint length)
    {
        Name = name;
        File = whole.File;
        _address = whole._address + offset;
        _offset = whole._offset + offset;
        BodyLength = length - SegmentHeader.Size;
    }

    public string Name { get; }

    public FileDescriptor File { get; }

    public ref SegmentHeader Header => ref *(SegmentHeader*)_address;

    /// <summary>Records that the table has room for.</summary>
    public int Capacity => (int)Header.Capacity;

    /// <summary>The first byte behind the header (128-byte aligned).</summary>
    public byte* Body => _address + SegmentHeader.Size;

    /// <summary>The memory behind its memfd: the pages that anybody has touched (st_blocks).</summary>
    public long ResidentBytes
    {
        get
        {
            const int StatBytes = 144, BlocksAt = 64, BlockSize = 512;
            byte* stat = stackalloc byte[StatBytes];
            return Libc.fstat(File.Number, stat) == 0 ? *(long*)(stat + BlocksAt) * BlockSize : 0;
        }
    }

    /// <summary>Header and body; of a table that shares its memfd there is none.</summary>
    public MemoryMapping Mapping => _mapping ?? throw new InvalidOperationException($"{Name} is a part of a segment");

    public nuint BodyLength { get; }

    /// <summary>Makes a new zeroed segment. Pages cost memory only once touched.</summary>
    public static Segment Create(string name, SegmentKind kind, ulong capacity, nuint bodyLength)
    {
        nuint length = RoundUp(bodyLength + SegmentHeader.Size, 4096);
        FileDescriptor file = FileDescriptor.FromCall(Libc.memfd_create($"fastpathsync-{name}", Libc.MFD_CLOEXEC), "memfd_create", name);
        LinuxException.ThrowIfNegative(Libc.ftruncate(file.Number, (long)length), "ftruncate", name);
        MemoryMapping mapping = MemoryMapping.Map(file, length, writable: true, name);
        Segment s = new(name, file, mapping);
        s.Begin(kind, capacity);
        return s;
    }

    /// <summary>A table inside this memory; it lives as long as this segment does.</summary>
    internal Segment Part(string name, nuint offset, nuint length) => new(name, this, offset, length);

    /// <summary>Writes the header of a table whose memory is zero.</summary>
    internal void Begin(SegmentKind kind, ulong capacity)
    {
        Header.LayoutVersion = SegmentHeader.CurrentLayoutVersion;
        Header.Kind = kind;
        Header.Capacity = capacity;
        Header.WriterPid = Libc.getpid();
        Volatile.Write(ref Header.Magic, SegmentHeader.MagicValue);
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

    /// <summary>
    /// The stretches of the body, as [from, to), in which something may have been written. The rest was never touched, is zero,
    /// and should stay so: merely reading it through the mapping makes it cost memory.
    /// </summary>
    public List<(nuint From, nuint To)> Touched(nuint from, nuint length)
    {
        List<(nuint, nuint)> stretches = [];
        long begin = (long)(_offset + SegmentHeader.Size + from), end = begin + (long)length;
        for (long at = begin; at < end;)
        {
            long data = Libc.lseek(File.Number, at, Libc.SEEK_DATA);
            if (data < 0 || data >= end)
            {
                break; // ENXIO: nothing but a hole up to the end
            }

            at = Math.Min(end, Libc.lseek(File.Number, data, Libc.SEEK_HOLE) is long hole && hole >= 0 ? hole : end);
            stretches.Add(((nuint)(data - begin) + from, (nuint)(at - begin) + from));
        }

        return stretches;
    }

    /// <summary>What the memfd occupies; what was never touched doesn't count.</summary>
    public ulong AllocatedBytes
    {
        get
        {
            ulong* stat = stackalloc ulong[18]; // struct stat of asm/stat.h; st_blocks, in units of 512 bytes, at byte 64
            return Libc.fstat(File.Number, stat) == 0 ? stat[8] * 512 : 0;
        }
    }

    /// <summary>The writer says that it is alive.</summary>
    public void Beat()
    {
        Header.WriterPid = Libc.getpid();
        Volatile.Write(ref Header.Heartbeat, MonotonicClock.Nanoseconds);
    }

    /// <summary>A part has nothing of its own to give back.</summary>
    public void Dispose()
    {
        if (_mapping is not null)
        {
            _mapping.Dispose();
            File.Dispose();
        }
    }

    private static nuint RoundUp(nuint value, nuint unit) => (value + unit - 1) / unit * unit;
}
