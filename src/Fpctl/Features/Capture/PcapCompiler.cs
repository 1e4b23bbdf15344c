using System.Runtime.InteropServices;
using FastPathSync.Fpctl.Cli;
using FastPathSync.Packets.Filters;

namespace FastPathSync.Fpctl.Features.Capture;

/// <summary>Filter expressions as tcpdump takes them (pcap-filter(7)), for Ethernet frames. The language is libpcap's, and so are its messages.</summary>
internal static unsafe class PcapCompiler
{
    /// <summary>What matches is accepted whole: tcpdump's own default, more than any frame has.</summary>
    private const int SnapLength = 262144;

    public static FilterProgram Compile(string expression)
    {
        try
        {
            return CompileByLibrary(expression);
        }
        catch (DllNotFoundException)
        {
            throw new CliError($"filter expressions need libpcap, and {LibPcap.Library} is not installed: apt-get install libpcap0.8");
        }
    }

    private static FilterProgram CompileByLibrary(string expression)
    {
        void* pcap = LibPcap.pcap_open_dead(LibPcap.DLT_EN10MB, SnapLength);
        if (pcap == null)
        {
            throw new CliError("libpcap: out of memory");
        }

        LibPcap.bpf_program compiled = default;
        try
        {
            if (LibPcap.pcap_compile(pcap, &compiled, expression, optimize: 1, LibPcap.PCAP_NETMASK_UNKNOWN) != 0)
            {
                string message = Marshal.PtrToStringUTF8((nint)LibPcap.pcap_geterr(pcap)) ?? "no reason given";
                throw new CliError($"filter '{expression}': {message}", CliError.Usage);
            }

            return FilterProgram.TryCreate(new ReadOnlySpan<FilterInstruction>(compiled.bf_insns, (int)compiled.bf_len), out FilterProgram? program, out string? error)
                ? program
                : throw new CliError($"filter '{expression}': {error}", CliError.Usage);
        }
        finally
        {
            LibPcap.pcap_freecode(&compiled);
            LibPcap.pcap_close(pcap);
        }
    }
}
