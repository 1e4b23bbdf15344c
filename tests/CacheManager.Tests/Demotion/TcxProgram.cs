using System.Runtime.InteropServices;
using FastPathSync.Linux;

namespace FastPathSync.CacheManager.Tests.Demotion;

/// <summary>A program that lets every packet on, attached by a TCX link: no tool of Debian 12 can do that.</summary>
internal sealed unsafe class TcxProgram : IDisposable
{
    public const uint Ingress = 46, Egress = 47; // BPF_TCX_INGRESS, BPF_TCX_EGRESS (linux/bpf.h)

    private const int BPF_PROG_LOAD = 5, BPF_LINK_CREATE = 28, BPF_PROG_TYPE_SCHED_CLS = 3;
    private readonly FileDescriptor _link;

    /// <summary>In the namespace of the calling thread.</summary>
    public TcxProgram(uint ifindex, uint attachType)
    {
        ulong* instructions = stackalloc ulong[2];
        instructions[0] = 0xffff_ffff_0000_00b7; // r0 = TCX_NEXT
        instructions[1] = 0x95;                  // exit
        fixed (byte* license = "GPL\0"u8)
        {
            LoadAttribute load = new() { Type = BPF_PROG_TYPE_SCHED_CLS, Count = 2, Instructions = (ulong)instructions, License = (ulong)license };
            using FileDescriptor program = Call(BPF_PROG_LOAD, &load, sizeof(LoadAttribute), "BPF_PROG_LOAD");
            LinkAttribute link = new() { Program = (uint)program.Number, Target = ifindex, AttachType = attachType };
            _link = Call(BPF_LINK_CREATE, &link, sizeof(LinkAttribute), "BPF_LINK_CREATE");
        }
    }

    public void Dispose() => _link.Dispose();

    private static FileDescriptor Call(int command, void* attribute, int size, string name) =>
        FileDescriptor.FromCall((int)Libc.syscall(Libc.SYS_bpf, command, (long)attribute, size, 0, 0), name, "TCX test program");

    /// <summary>union bpf_attr, the members of BPF_PROG_LOAD that are needed.</summary>
    [StructLayout(LayoutKind.Sequential, Size = 72)]
    private struct LoadAttribute
    {
        public uint Type;
        public uint Count;
        public ulong Instructions;
        public ulong License;
    }

    /// <summary>union bpf_attr, member link_create, up to what TCX needs.</summary>
    [StructLayout(LayoutKind.Sequential, Size = 64)]
    private struct LinkAttribute
    {
        public uint Program;
        public uint Target;
        public uint AttachType;
        public uint Flags;
    }
}
