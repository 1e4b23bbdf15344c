using FastPathSync.Linux;

namespace FastPathSync.Bpf;

public enum TcDirection
{
    Ingress = LibBpf.BPF_TC_INGRESS,
    Egress = LibBpf.BPF_TC_EGRESS,
}

/// <summary>
/// The place of one cls_bpf filter (direct action) on a hook of clsact, in the calling thread's network namespace. The kernel
/// keeps the filter, and with it the program and its maps, until it or the device is deleted.
/// </summary>
public readonly unsafe record struct TcPlace(uint IfIndex, TcDirection Direction, ushort Priority, uint Handle)
{
    private LibBpf.bpf_tc_hook Hook => new() { sz = (nuint)sizeof(LibBpf.bpf_tc_hook), ifindex = (int)IfIndex, attach_point = (int)Direction };

    /// <summary>Makes clsact when it is missing.</summary>
    /// <exception cref="BpfException">EEXIST: the place is taken.</exception>
    public void Attach(BpfProgram program)
    {
        BpfLog.Clear();
        LibBpf.bpf_tc_hook hook = Hook;
        int e = LibBpf.bpf_tc_hook_create(&hook);
        if (e is 0 or -Errno.EEXIST)
        {
            LibBpf.bpf_tc_opts options = new() { sz = (nuint)sizeof(LibBpf.bpf_tc_opts), prog_fd = program.Fd, handle = Handle, priority = Priority };
            e = LibBpf.bpf_tc_attach(&hook, &options);
        }

        Check(e, "attach tc program");
    }

    /// <summary>Leaves clsact.</summary>
    /// <exception cref="BpfException">ENOENT: there is no filter at the place.</exception>
    public void Detach()
    {
        BpfLog.Clear();
        LibBpf.bpf_tc_hook hook = Hook;
        LibBpf.bpf_tc_opts options = new() { sz = (nuint)sizeof(LibBpf.bpf_tc_opts), handle = Handle, priority = Priority };
        Check(LibBpf.bpf_tc_detach(&hook, &options), "detach tc program");
    }

    private void Check(int result, string operation)
    {
        if (result < 0)
        {
            throw new BpfException(-result, operation, $"on the {(Direction == TcDirection.Ingress ? "ingress" : "egress")} of ifindex {IfIndex}, priority {Priority}", BpfLog.Take());
        }
    }
}
