using FastPathSync.Linux;

namespace FastPathSync.Bpf;

public enum XdpAttachMode
{
    Native = 1 << 2,   // XDP_FLAGS_DRV_MODE
    Generic = 1 << 1,  // XDP_FLAGS_SKB_MODE
}

/// <summary>A program of a loaded object. It borrows the descriptor: use it no longer than the object.</summary>
public readonly unsafe struct BpfProgram(string name, int fd)
{
    public string Name { get; } = name;

    public int Fd { get; } = fd;

    /// <summary>Attaches by a link that is not pinned: the kernel detaches when the descriptor is closed, however we end.</summary>
    public FileDescriptor AttachXdp(uint ifindex, XdpAttachMode mode)
    {
        LibBpf.bpf_link_create_opts options = new() { sz = (nuint)sizeof(LibBpf.bpf_link_create_opts), flags = (uint)mode };
        int link = LibBpf.bpf_link_create(Fd, (int)ifindex, LibBpf.BPF_XDP, &options);
        return link < 0 ? throw new BpfException(-link, "attach XDP program to ifindex", $"{ifindex}", "") : new FileDescriptor(link);
    }

    /// <summary>
    /// Attaches by a link to the tc ingress of a device, before all else there (TCX, kernel 6.6). The kernel detaches when the
    /// descriptor is closed, however we end.
    /// </summary>
    public FileDescriptor AttachTcxFirst(uint ifindex)
    {
        LibBpf.bpf_link_create_opts options = new() { sz = (nuint)sizeof(LibBpf.bpf_link_create_opts), flags = LibBpf.BPF_F_BEFORE };
        int link = LibBpf.bpf_link_create(Fd, (int)ifindex, LibBpf.BPF_TCX_INGRESS, &options);
        return link < 0 ? throw new BpfException(-link, "attach TCX program to ifindex", $"{ifindex}", "") : new FileDescriptor(link);
    }

    /// <summary>Attaches to both tc hooks of a device through clsact. It goes with the device.</summary>
    public void AttachTc(uint ifindex)
    {
        BpfLog.Clear();
        foreach (int point in (ReadOnlySpan<int>)[LibBpf.BPF_TC_INGRESS, LibBpf.BPF_TC_EGRESS])
        {
            LibBpf.bpf_tc_hook hook = new() { sz = (nuint)sizeof(LibBpf.bpf_tc_hook), ifindex = (int)ifindex, attach_point = point };
            int e = LibBpf.bpf_tc_hook_create(&hook);
            if (e is 0 or -Errno.EEXIST)
            {
                LibBpf.bpf_tc_opts options = new() { sz = (nuint)sizeof(LibBpf.bpf_tc_opts), prog_fd = Fd };
                e = LibBpf.bpf_tc_attach(&hook, &options);
            }

            if (e < 0)
            {
                throw new BpfException(-e, "attach tc program to ifindex", $"{ifindex}", BpfLog.Take());
            }
        }
    }

    /// <summary>Runs a tc program once on a packet whose skb has this tstamp (BPF_PROG_TEST_RUN). Returns its verdict.</summary>
    public uint RunAt(long timestamp, ReadOnlySpan<byte> packet)
    {
        const int SkBuffBytes = 192, TimestampOffset = 152; // struct __sk_buff of linux/bpf.h
        byte* context = stackalloc byte[SkBuffBytes];
        new Span<byte>(context, SkBuffBytes).Clear();
        *(long*)(context + TimestampOffset) = timestamp;
        fixed (byte* i = packet)
        {
            LibBpf.bpf_test_run_opts options = new()
            {
                sz = (nuint)sizeof(LibBpf.bpf_test_run_opts),
                data_in = i,
                data_size_in = (uint)packet.Length,
                ctx_in = context,
                ctx_size_in = SkBuffBytes,
                repeat = 1,
            };
            int e = LibBpf.bpf_prog_test_run_opts(Fd, &options);
            return e < 0 ? throw new BpfException(-e, "run program", Name, "") : options.retval;
        }
    }

    /// <summary>Runs the program once on a packet (BPF_PROG_TEST_RUN). Returns its verdict and the packet as it left it.</summary>
    public uint Run(ReadOnlySpan<byte> packet, Span<byte> output, out int outputLength)
    {
        fixed (byte* i = packet, o = output)
        {
            LibBpf.bpf_test_run_opts options = new()
            {
                sz = (nuint)sizeof(LibBpf.bpf_test_run_opts),
                data_in = i,
                data_size_in = (uint)packet.Length,
                data_out = output.IsEmpty ? null : o,
                data_size_out = (uint)output.Length,
                repeat = 1,
            };
            int e = LibBpf.bpf_prog_test_run_opts(Fd, &options);
            outputLength = (int)options.data_size_out;
            return e < 0 ? throw new BpfException(-e, "run program", Name, "") : options.retval;
        }
    }

    /// <summary>The id of the XDP program that an interface has, 0 when it has none.</summary>
    public static uint AttachedXdp(uint ifindex)
    {
        uint id;
        return LibBpf.bpf_xdp_query_id((int)ifindex, 0, &id) == 0 ? id : 0;
    }
}
