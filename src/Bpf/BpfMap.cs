using FastPathSync.Linux;

namespace FastPathSync.Bpf;

/// <summary>A map of a loaded object. It borrows the descriptor: use it no longer than the object.</summary>
public readonly unsafe struct BpfMap(string name, int fd, uint keySize, uint valueSize)
{
    private static readonly int s_cpus = LibBpf.libbpf_num_possible_cpus();

    public string Name { get; } = name;

    public int Fd { get; } = fd;

    public uint KeySize { get; } = keySize;

    public uint ValueSize { get; } = valueSize;

    public void Update<TKey, TValue>(TKey key, TValue value)
        where TKey : unmanaged
        where TValue : unmanaged
    {
        int e = LibBpf.bpf_map_update_elem(Fd, &key, &value, 0);
        if (e < 0)
        {
            throw new BpfException(-e, "update map", Name, "");
        }
    }

    /// <summary>Deleting what is missing succeeds.</summary>
    public void Delete<TKey>(TKey key)
        where TKey : unmanaged
    {
        int e = LibBpf.bpf_map_delete_elem(Fd, &key);
        if (e is < 0 and not -Errno.ENOENT)
        {
            throw new BpfException(-e, "delete from map", Name, "");
        }
    }

    public bool TryLookup<TKey, TValue>(TKey key, out TValue value)
        where TKey : unmanaged
        where TValue : unmanaged
    {
        TValue v;
        int e = LibBpf.bpf_map_lookup_elem(Fd, &key, &v);
        value = e == 0 ? v : default;
        return e == 0;
    }

    /// <summary>
    /// All elements of a hash. Buckets are walked once, so that it ends however much comes and goes meanwhile.
    /// </summary>
    public List<(TKey Key, TValue Value)> All<TKey, TValue>()
        where TKey : unmanaged
        where TValue : unmanaged
    {
        if (sizeof(TKey) != KeySize || sizeof(TValue) != ValueSize)
        {
            throw new BpfException(Errno.EINVAL, $"read elements of {sizeof(TKey)} and {sizeof(TValue)} bytes from map", Name, $"it has {KeySize} and {ValueSize}");
        }

        const int Batch = 4096; // more than any bucket holds
        List<(TKey, TValue)> all = [];
        TKey[] keys = new TKey[Batch];
        TValue[] values = new TValue[Batch];
        LibBpf.bpf_map_batch_opts options = new() { sz = (nuint)sizeof(LibBpf.bpf_map_batch_opts) };
        uint position = 0;
        fixed (TKey* k = keys)
        {
            fixed (TValue* v = values)
            {
                for (bool first = true; ; first = false)
                {
                    uint count = Batch;
                    int e = LibBpf.bpf_map_lookup_batch(Fd, first ? null : &position, &position, k, v, &count, &options);
                    if (e is < 0 and not -Errno.ENOENT)
                    {
                        throw new BpfException(-e, "read map", Name, "");
                    }

                    for (int i = 0; i < count; i++)
                    {
                        all.Add((keys[i], values[i]));
                    }

                    if (e < 0)
                    {
                        return all;
                    }
                }
            }
        }
    }

    /// <summary>An element of a per-CPU array of u64, summed over the CPUs.</summary>
    public ulong Sum(uint key)
    {
        ulong* values = stackalloc ulong[s_cpus];
        int e = LibBpf.bpf_map_lookup_elem(Fd, &key, values);
        if (e < 0)
        {
            throw new BpfException(-e, "read map", Name, "");
        }

        ulong sum = 0;
        for (int i = 0; i < s_cpus; i++)
        {
            sum += values[i];
        }

        return sum;
    }
}
