using System.Runtime.InteropServices;
using FastPathSync.Packets.Filters;

namespace FastPathSync.FastPath.Tests.Filters;

/// <summary>libpcap's own compiler and interpreter: another's opinion on a filter.</summary>
internal static unsafe partial class PcapJudge
{
    private const string Library = "libpcap.so.0.8";

    public static FilterInstruction[] Compile(string expression)
    {
        void* pcap = pcap_open_dead(1, 262144); // DLT_EN10MB
        Program compiled = default;
        try
        {
            Assert.True(pcap_compile(pcap, &compiled, expression, 1, uint.MaxValue) == 0, $"{expression}: {Marshal.PtrToStringUTF8((nint)pcap_geterr(pcap))}");
            return new ReadOnlySpan<FilterInstruction>(compiled.Instructions, (int)compiled.Length).ToArray();
        }
        finally
        {
            pcap_freecode(&compiled);
            pcap_close(pcap);
        }
    }

    public static uint Match(FilterInstruction[] instructions, byte* packet, uint length)
    {
        fixed (FilterInstruction* i = instructions)
        {
            return bpf_filter(i, packet, length, length);
        }
    }

    [LibraryImport(Library)]
    private static partial void* pcap_open_dead(int linktype, int snaplen);

    [LibraryImport(Library, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int pcap_compile(void* pcap, Program* program, string expression, int optimize, uint netmask);

    [LibraryImport(Library)]
    private static partial byte* pcap_geterr(void* pcap);

    [LibraryImport(Library)]
    private static partial void pcap_freecode(Program* program);

    [LibraryImport(Library)]
    private static partial void pcap_close(void* pcap);

    [LibraryImport(Library)]
    private static partial uint bpf_filter(FilterInstruction* program, byte* packet, uint wireLength, uint length);

    [StructLayout(LayoutKind.Sequential)]
    private struct Program
    {
        public uint Length;
        public FilterInstruction* Instructions;
    }
}
