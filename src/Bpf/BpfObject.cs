using System.Runtime.InteropServices;
using System.Text;
using FastPathSync.Linux;

namespace FastPathSync.Bpf;

/// <summary>One instance of a compiled eBPF file: open, set constants and shared maps, load, use. Disposing unloads it.</summary>
public sealed unsafe class BpfObject : IDisposable
{
    private readonly List<MemoryMapping> _mappings = [];
    private void* _object;

    private BpfObject(string name, void* @object)
    {
        Name = name;
        _object = @object;
    }

    public string Name { get; }

    /// <param name="name">The source without ".bpf.c": "xdp_redirect".</param>
    public static BpfObject Open(string name)
    {
        using Stream stream = typeof(BpfObject).Assembly.GetManifestResourceStream($"{name}.bpf.o")
            ?? throw new ArgumentException($"no eBPF object '{name}' is embedded", nameof(name));
        byte[] elf = new byte[stream.Length];
        stream.ReadExactly(elf);
        BpfLog.Clear();
        fixed (byte* e = elf)
        {
            fixed (byte* n = Encoding.UTF8.GetBytes(name + '\0'))
            {
                LibBpf.bpf_object_open_opts options = new() { sz = (nuint)sizeof(LibBpf.bpf_object_open_opts), object_name = n };
                void* o = LibBpf.bpf_object__open_mem(e, (nuint)elf.Length, &options);
                return o == null ? throw new BpfException(Marshal.GetLastPInvokeError(), "open eBPF object", name, BpfLog.Take()) : new BpfObject(name, o);
            }
        }
    }

    /// <summary>Sets a constant section (".rodata.x"); before Load.</summary>
    public void SetConstants<T>(string section, in T value)
        where T : unmanaged
    {
        nuint size;
        void* p = LibBpf.bpf_map__initial_value(FindMap(section), &size);
        if (p == null || size != (nuint)sizeof(T))
        {
            throw new BpfException(Errno.EINVAL, $"set {sizeof(T)} bytes of {section} in", Name, $"the section has {size} bytes");
        }

        *(T*)p = value;
    }

    /// <summary>Uses another object's map for the one of that name; before Load.</summary>
    public void ShareMap(string name, BpfMap map) => Check(LibBpf.bpf_map__reuse_fd(FindMap(name), map.Fd), $"share map {name} with");

    /// <summary>Gives a map another capacity than its source says; before Load.</summary>
    public void SetMaxEntries(string map, uint entries) => Check(LibBpf.bpf_map__set_max_entries(FindMap(map), entries), $"set {entries} entries of {map} in");

    /// <exception cref="BpfException">With the verifier's log.</exception>
    public void Load()
    {
        BpfLog.Clear();
        Check(LibBpf.bpf_object__load(_object), "load eBPF object");
    }

    public BpfMap Map(string name)
    {
        void* m = FindMap(name);
        return new BpfMap(name, LibBpf.bpf_map__fd(m), LibBpf.bpf_map__key_size(m), LibBpf.bpf_map__value_size(m));
    }

    public BpfProgram Program(string name)
    {
        void* p = LibBpf.bpf_object__find_program_by_name(_object, name);
        return p == null ? throw new ArgumentException($"{Name} has no program '{name}'", nameof(name)) : new BpfProgram(name, LibBpf.bpf_program__fd(p));
    }

    /// <summary>A data section (".data.x") or mmapable array as memory; it lives as long as this object.</summary>
    public byte* MapMemory(string name)
    {
        BpfMap map = Map(name);
        nuint length = (map.ValueSize + 4095u) / 4096u * 4096u;
        MemoryMapping m = MemoryMapping.MapAt(map.Fd, length, Libc.MAP_SHARED, 0, $"map {name} of {Name}");
        _mappings.Add(m);
        return m.Address;
    }

    public void Dispose()
    {
        _mappings.ForEach(m => m.Dispose());
        _mappings.Clear();
        if (_object != null)
        {
            LibBpf.bpf_object__close(_object);
            _object = null;
        }
    }

    private void* FindMap(string name)
    {
        void* m = LibBpf.bpf_object__find_map_by_name(_object, name);
        return m == null ? throw new ArgumentException($"{Name} has no map '{name}'", nameof(name)) : m;
    }

    private void Check(int result, string operation)
    {
        if (result < 0)
        {
            throw new BpfException(-result, operation, Name, BpfLog.Take());
        }
    }
}
