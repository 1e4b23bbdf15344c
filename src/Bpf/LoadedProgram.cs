using System.Runtime.InteropServices;
using FastPathSync.Linux;

namespace FastPathSync.Bpf;

/// <summary>A program that the kernel has loaded, whoever did, found by its id; and through it its maps.</summary>
public sealed unsafe class LoadedProgram : IDisposable
{
    private const int MostMaps = 64;
    private readonly FileDescriptor _program;
    private readonly List<(FileDescriptor Fd, LibBpf.bpf_map_info Info)> _maps = [];

    private LoadedProgram(uint id, FileDescriptor program)
    {
        Id = id;
        _program = program;
        uint* ids = stackalloc uint[MostMaps];
        LibBpf.bpf_prog_info info = new() { nr_map_ids = MostMaps, map_ids = (ulong)ids };
        Describe(program, &info, sizeof(LibBpf.bpf_prog_info), $"program {id}");
        Name = Text(info.name);
        for (int i = 0; i < Math.Min(info.nr_map_ids, MostMaps); i++)
        {
            FileDescriptor map = ById(LibBpf.bpf_map_get_fd_by_id(ids[i]), $"map {ids[i]}");
            LibBpf.bpf_map_info of = default;
            Describe(map, &of, sizeof(LibBpf.bpf_map_info), $"map {ids[i]}");
            _maps.Add((map, of));
        }
    }

    public uint Id { get; }

    /// <summary>The function's, as the kernel keeps it: at most 15 characters.</summary>
    public string Name { get; }

    /// <summary>Null when there is none with this id (any more).</summary>
    public static LoadedProgram? TryOpen(uint id)
    {
        int fd = LibBpf.bpf_prog_get_fd_by_id(id);
        if (fd == -Errno.ENOENT)
        {
            return null;
        }

        FileDescriptor program = ById(fd, $"program {id}");
        try
        {
            return new LoadedProgram(id, program);
        }
        catch
        {
            program.Dispose();
            throw;
        }
    }

    /// <summary>The map of this name (of which the kernel keeps 15 characters), null when it has none.</summary>
    public BpfMap? TryMap(string name)
    {
        string kept = name[..Math.Min(name.Length, LibBpf.BPF_OBJ_NAME_LEN - 1)];
        foreach ((FileDescriptor fd, LibBpf.bpf_map_info info) in _maps)
        {
            LibBpf.bpf_map_info i = info;
            if (Text(i.name) == kept)
            {
                return new BpfMap(name, fd.Number, i.key_size, i.value_size);
            }
        }

        return null;
    }

    /// <summary>How many elements a map of it can have.</summary>
    public uint MaxEntries(BpfMap map) => _maps.First(m => m.Fd.Number == map.Fd).Info.max_entries;

    public void Dispose()
    {
        _maps.ForEach(m => m.Fd.Dispose());
        _program.Dispose();
    }

    private static FileDescriptor ById(int fd, string what) => fd < 0 ? throw new BpfException(-fd, "open", what, "") : new FileDescriptor(fd);

    private static void Describe(FileDescriptor of, void* info, int size, string what)
    {
        uint length = (uint)size;
        int e = LibBpf.bpf_obj_get_info_by_fd(of.Number, info, &length);
        if (e < 0)
        {
            throw new BpfException(-e, "describe", what, "");
        }
    }

    private static string Text(byte* name) => Marshal.PtrToStringUTF8((nint)name)!;
}
