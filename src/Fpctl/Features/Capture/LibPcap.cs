using System.Runtime.InteropServices;
using FastPathSync.Packets.Filters;

namespace FastPathSync.Fpctl.Features.Capture;

/// <summary>pcap/pcap.h of libpcap 1.10: the calls we make, under their own names.</summary>
internal static unsafe partial class LibPcap
{
    public const string Library = "libpcap.so.0.8";
    public const int DLT_EN10MB = 1;
    public const uint PCAP_NETMASK_UNKNOWN = 0xffffffff;

    /// <summary>Null when out of memory.</summary>
    [LibraryImport(Library)]
    public static partial void* pcap_open_dead(int linktype, int snaplen);

    /// <summary>-1 on failure, told by pcap_geterr.</summary>
    [LibraryImport(Library, StringMarshalling = StringMarshalling.Utf8)]
    public static partial int pcap_compile(void* pcap, bpf_program* program, string expression, int optimize, uint netmask);

    [LibraryImport(Library)]
    public static partial byte* pcap_geterr(void* pcap);

    [LibraryImport(Library)]
    public static partial void pcap_freecode(bpf_program* program);

    [LibraryImport(Library)]
    public static partial void pcap_close(void* pcap);

    /// <summary>pcap/bpf.h; struct bpf_insn is the kernel's sock_filter.</summary>
    [StructLayout(LayoutKind.Sequential)]
    public struct bpf_program
    {
        public uint bf_len;
        public FilterInstruction* bf_insns;
    }
}
