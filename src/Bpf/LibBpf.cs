using System.Runtime.InteropServices;

namespace FastPathSync.Bpf;

/// <summary>bpf/libbpf.h and bpf/bpf.h of libbpf 1.1: the calls we make, under their own names. Option structures carry their size first.</summary>
internal static unsafe partial class LibBpf
{
    public const int BPF_XDP = 37, BPF_TCX_INGRESS = 46;
    public const uint BPF_F_BEFORE = 1 << 3;
    public const int BPF_TC_INGRESS = 1, BPF_TC_EGRESS = 2;
    public const int BPF_OBJ_NAME_LEN = 16;
    private const string Library = "libbpf.so.1";

    [LibraryImport(Library)]
    public static partial void* libbpf_set_print(delegate* unmanaged<int, byte*, void*, int> print);

    [LibraryImport(Library)]
    public static partial int libbpf_num_possible_cpus();

    /// <summary>NULL and errno on failure.</summary>
    [LibraryImport(Library, SetLastError = true)]
    public static partial void* bpf_object__open_mem(void* elf, nuint size, bpf_object_open_opts* options);

    /// <summary>A negative errno on failure.</summary>
    [LibraryImport(Library)]
    public static partial int bpf_object__load(void* @object);

    [LibraryImport(Library)]
    public static partial void bpf_object__close(void* @object);

    [LibraryImport(Library, StringMarshalling = StringMarshalling.Utf8)]
    public static partial void* bpf_object__find_program_by_name(void* @object, string name);

    [LibraryImport(Library, StringMarshalling = StringMarshalling.Utf8)]
    public static partial void* bpf_object__find_map_by_name(void* @object, string name);

    [LibraryImport(Library)]
    public static partial int bpf_program__fd(void* program);

    [LibraryImport(Library)]
    public static partial int bpf_map__fd(void* map);

    [LibraryImport(Library)]
    public static partial uint bpf_map__key_size(void* map);

    [LibraryImport(Library)]
    public static partial uint bpf_map__value_size(void* map);

    [LibraryImport(Library)]
    public static partial int bpf_map__reuse_fd(void* map, int fd);

    [LibraryImport(Library)]
    public static partial void* bpf_map__initial_value(void* map, nuint* size);

    /// <summary>Before the load.</summary>
    [LibraryImport(Library)]
    public static partial int bpf_map__set_max_entries(void* map, uint maxEntries);

    [LibraryImport(Library)]
    public static partial int bpf_map_update_elem(int fd, void* key, void* value, ulong flags);

    [LibraryImport(Library)]
    public static partial int bpf_map_lookup_elem(int fd, void* key, void* value);

    /// <summary>-ENOENT with the last elements: count says how many.</summary>
    [LibraryImport(Library)]
    public static partial int bpf_map_lookup_batch(int fd, void* inBatch, void* outBatch, void* keys, void* values, uint* count, bpf_map_batch_opts* options);

    [LibraryImport(Library)]
    public static partial int bpf_map_delete_elem(int fd, void* key);

    [LibraryImport(Library)]
    public static partial int bpf_map_get_next_key(int fd, void* key, void* next);

    [LibraryImport(Library)]
    public static partial int bpf_link_create(int program, int target, int attachType, bpf_link_create_opts* options);

    [LibraryImport(Library)]
    public static partial int bpf_xdp_query_id(int ifindex, int flags, uint* program);

    [LibraryImport(Library)]
    public static partial int bpf_prog_test_run_opts(int program, bpf_test_run_opts* options);

    [LibraryImport(Library)]
    public static partial int bpf_tc_hook_create(bpf_tc_hook* hook);

    [LibraryImport(Library)]
    public static partial int bpf_tc_attach(bpf_tc_hook* hook, bpf_tc_opts* options);

    [LibraryImport(Library)]
    public static partial int bpf_tc_detach(bpf_tc_hook* hook, bpf_tc_opts* options);

    [LibraryImport(Library)]
    public static partial int bpf_prog_get_fd_by_id(uint id);

    [LibraryImport(Library)]
    public static partial int bpf_map_get_fd_by_id(uint id);

    /// <summary>Fills in as much as the kernel knows; length is corrected.</summary>
    [LibraryImport(Library)]
    public static partial int bpf_obj_get_info_by_fd(int fd, void* info, uint* length);

    /// <summary>stdio.h; the va_list of x86-64 and arm64 is passed as a pointer.</summary>
    [LibraryImport("libc")]
    public static partial int vsnprintf(byte* buffer, nuint size, byte* format, void* arguments);

    [StructLayout(LayoutKind.Sequential)]
    public struct bpf_object_open_opts
    {
        public nuint sz;
        public byte* object_name;
    }

    [StructLayout(LayoutKind.Sequential)]
    public struct bpf_link_create_opts
    {
        public nuint sz;
        public uint flags;
        private readonly uint _padding;
    }

    [StructLayout(LayoutKind.Sequential)]
    public struct bpf_tc_hook
    {
        public nuint sz;
        public int ifindex;
        public int attach_point;
        public uint parent;
        private readonly uint _padding;
    }

    [StructLayout(LayoutKind.Sequential)]
    public struct bpf_tc_opts
    {
        public nuint sz;
        public int prog_fd;
        public uint flags;
        public uint prog_id;
        public uint handle;
        public uint priority;
        private readonly uint _padding;
    }

    [StructLayout(LayoutKind.Sequential)]
    public struct bpf_map_batch_opts
    {
        public nuint sz;
        public ulong elem_flags;
        public ulong flags;
    }

    /// <summary>The first fields of linux/bpf.h's; the kernel gives as many bytes as are asked for.</summary>
    [StructLayout(LayoutKind.Sequential)]
    public struct bpf_prog_info
    {
        public uint type;
        public uint id;
        public ulong tag;
        public uint jited_prog_len;
        public uint xlated_prog_len;
        public ulong jited_prog_insns;
        public ulong xlated_prog_insns;
        public ulong load_time;
        public uint created_by_uid;
        public uint nr_map_ids;
        public ulong map_ids;
        public fixed byte name[BPF_OBJ_NAME_LEN];
    }

    /// <summary>The same.</summary>
    [StructLayout(LayoutKind.Sequential)]
    public struct bpf_map_info
    {
        public uint type;
        public uint id;
        public uint key_size;
        public uint value_size;
        public uint max_entries;
        public uint map_flags;
        public fixed byte name[BPF_OBJ_NAME_LEN];
    }

    [StructLayout(LayoutKind.Sequential)]
    public struct bpf_test_run_opts
    {
        public nuint sz;
        public void* data_in;
        public void* data_out;
        public uint data_size_in;
        public uint data_size_out;
        public void* ctx_in;
        public void* ctx_out;
        public uint ctx_size_in;
        public uint ctx_size_out;
        public uint retval;
        public int repeat;
        public uint duration;
        public uint flags;
        public uint cpu;
        public uint batch_size;
    }
}
