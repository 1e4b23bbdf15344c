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
    private const int BPF_PROG_QUERY = 16, BPF_PROG_GET_FD_BY_ID = 13, BPF_OBJ_GET_INFO_BY_FD = 15; // linux/bpf.h
    private const uint BPF_TCX_INGRESS = 46, BPF_TCX_EGRESS = 47; // linux/bpf.h, kernel 6.6

    /// <summary>Two system calls of about 1 µs each per interface; beyond this many, the interfaces take turns.</summary>
    private const int InterfacesPerLook = 256;

    /// <summary>More than these are not told apart.</summary>
    private const int MostPrograms = 64;

    /// <summary>bpf/tap_drop.bpf.c, by which the fast path ends its own copies for packet sockets.</summary>
    private static readonly byte[] s_ours = "fps_tap_drop\0"u8.ToArray();

    private readonly Dictionary<(uint IfIndex, uint Type), uint> _counts = [];
    private readonly Dictionary<uint, bool> _isOurs = []; // by program id, which the kernel doesn't give twice
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
                    0 => count, // without ours
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

    public override void Dispose()
    {
        _counts.Clear();
        _isOurs.Clear();
    }

    private static string Programs(uint count) => count == 1 ? "1 TCX program" : $"{count} TCX programs";

    /// <summary>The interface is looked up in the namespace of the calling thread.</summary>
    private int Query(uint ifindex, uint type, out uint count)
    {
        uint* ids = stackalloc uint[MostPrograms];
        QueryAttribute attribute = new() { Target = ifindex, AttachType = type, ProgramIds = (ulong)ids, Count = MostPrograms };
        long result = Libc.syscall(Libc.SYS_bpf, BPF_PROG_QUERY, (long)&attribute, sizeof(QueryAttribute), 0, 0);
        int errno = result < 0 ? Marshal.GetLastPInvokeError() : 0;
        count = attribute.Count;
        for (int i = 0; errno == 0 && i < Math.Min(attribute.Count, MostPrograms); i++)
        {
            count -= IsOurs(ids[i]) ? 1u : 0;
        }

        return errno == Errno.ENOSPC ? 0 : errno; // more than there is room for: they are counted all the same
    }

    private bool IsOurs(uint id)
    {
        if (!_isOurs.TryGetValue(id, out bool ours))
        {
            ulong* attribute = stackalloc ulong[2] { id, 0 };
            int fd = (int)Libc.syscall(Libc.SYS_bpf, BPF_PROG_GET_FD_BY_ID, (long)attribute, 2 * sizeof(ulong), 0, 0);
            if (fd >= 0)
            {
                using FileDescriptor program = new(fd);
                ProgramInfo info = default;
                InfoAttribute about = new() { Fd = (uint)fd, Length = (uint)sizeof(ProgramInfo), Info = (ulong)&info };
                ours = Libc.syscall(Libc.SYS_bpf, BPF_OBJ_GET_INFO_BY_FD, (long)&about, sizeof(InfoAttribute), 0, 0) == 0
                    && new ReadOnlySpan<byte>(info.Name, s_ours.Length).SequenceEqual(s_ours);
            }

            _isOurs[id] = ours;
        }

        return ours;
    }

    /// <summary>struct bpf_prog_info up to its name.</summary>
    [StructLayout(LayoutKind.Sequential)]
    private struct ProgramInfo
    {
        private fixed byte _before[64];
        public fixed byte Name[16];
    }

    /// <summary>union bpf_attr, member info.</summary>
    [StructLayout(LayoutKind.Sequential)]
    private struct InfoAttribute
    {
        public uint Fd;
        public uint Length;
        public ulong Info;
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
