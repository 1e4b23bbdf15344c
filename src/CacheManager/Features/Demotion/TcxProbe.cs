using System.Runtime.InteropServices;
using FastPathSync.Fpc.Protocol;
using FastPathSync.Linux;

namespace FastPathSync.CacheManager.Features.Demotion;

/// <summary>
/// tc programs attached by link (TCX, kernel 6.6), which no netlink message announces: asked for per interface. They mean the
/// same as tc filters.
/// </summary>
internal sealed unsafe class TcxProbe : Probe
{
    private const int BPF_PROG_QUERY = 16;                      // linux/bpf.h
    private const uint BPF_TCX_INGRESS = 46, BPF_TCX_EGRESS = 47; // linux/bpf.h, kernel 6.6

    /// <summary>Two system calls of about 1 µs each per interface; beyond this many, the interfaces take turns.</summary>
    private const int InterfacesPerLook = 256;

    private readonly Dictionary<(uint IfIndex, uint Type), uint> _counts = [];
    private int _turn;

    public override string Name => "tcx";

    public override TimeSpan Period => TimeSpan.FromMilliseconds(80);

    public override void Open()
    {
        // Interface 0 exists nowhere: ENODEV says that the kernel understood the question, EINVAL that it didn't.
        if (Query(0, BPF_TCX_INGRESS, out _) == Errno.EINVAL)
        {
            throw new NotInKernelException("this kernel has no TCX (6.6)");
        }
    }

    public override void Look(InterfaceSet interfaces, List<Finding> findings)
    {
        List<InterfaceInfo> all = [.. interfaces.Forwarding.OrderBy(i => i.Index)];
        for (int n = 0; n < Math.Min(all.Count, InterfacesPerLook); n++)
        {
            uint ifindex = all[_turn++ % all.Count].Index;
            foreach (uint type in (ReadOnlySpan<uint>)[BPF_TCX_INGRESS, BPF_TCX_EGRESS])
            {
                int errno = Query(ifindex, type, out uint count);
                _counts[(ifindex, type)] = errno switch
                {
                    0 => count,
                    Errno.ENODEV => 0, // gone meanwhile
                    _ => throw new LinuxException(errno, "BPF_PROG_QUERY", $"tcx of interface {ifindex}"),
                };
            }
        }

        foreach (InterfaceInfo i in all)
        {
            if (_counts.GetValueOrDefault((i.Index, BPF_TCX_INGRESS)) is > 0 and uint ingress)
            {
                findings.Add(new Finding($"tcx dev {i.Name} ingress", $"{Programs(ingress)} would see, change or drop what {i.Name} receives", DemotionEffect.Ingress, i.Index));
            }

            if (_counts.GetValueOrDefault((i.Index, BPF_TCX_EGRESS)) is > 0 and uint egress)
            {
                findings.Add(new Finding($"tcx dev {i.Name} egress", $"AF_XDP transmits past {Programs(egress)} on the egress of {i.Name}", DemotionEffect.Bypassed, i.Index));
            }
        }

        foreach ((uint IfIndex, uint Type) gone in _counts.Keys.Where(k => !interfaces.TryFind(k.IfIndex, out _)).ToList())
        {
            _counts.Remove(gone);
        }
    }

    public override void Dispose() => _counts.Clear();

    private static string Programs(uint count) => count == 1 ? "1 TCX program" : $"{count} TCX programs";

    /// <summary>The interface is looked up in the namespace of the calling thread.</summary>
    private static int Query(uint ifindex, uint type, out uint count)
    {
        QueryAttribute attribute = new() { Target = ifindex, AttachType = type };
        long result = Libc.syscall(Libc.SYS_bpf, BPF_PROG_QUERY, (long)&attribute, sizeof(QueryAttribute), 0, 0);
        int errno = result < 0 ? Marshal.GetLastPInvokeError() : 0;
        count = attribute.Count;
        return errno;
    }

    /// <summary>union bpf_attr, member query.</summary>
    [StructLayout(LayoutKind.Sequential)]
    private struct QueryAttribute
    {
        public uint Target;
        public uint AttachType;
        public uint QueryFlags;
        public uint AttachFlags;
        public ulong ProgramIds;
        public uint Count;
        public uint Pad;
        public ulong ProgramAttachFlags;
        public ulong LinkIds;
        public ulong LinkAttachFlags;
        public ulong Revision;
    }
}
