using System.Runtime.InteropServices;
using FastPathSync.Linux;
using FastPathSync.Packets.Filters;

namespace FastPathSync.FastPath.Capture;

/// <summary>
/// A socket's filter, as fast as it goes here: machine code in pages of its own, or interpreted where another processor or a policy
/// refuses that.
/// </summary>
/// <remarks>Its maker disposes of it when no worker can be inside any more; any number of threads may match at once.</remarks>
internal sealed unsafe class CompiledFilter : IDisposable
{
    private readonly FilterProgram _program;
    private readonly MemoryMapping? _pages;
    private delegate* unmanaged[SuppressGCTransition]<PacketContext*, uint> _code;

    public CompiledFilter(FilterProgram program)
    {
        _program = program;
        if (RuntimeInformation.ProcessArchitecture == Architecture.X64 && FilterEmitter.TryEmit(program) is byte[] code)
        {
            _pages = TryMap(code);
            _code = _pages is null ? null : (delegate* unmanaged[SuppressGCTransition]<PacketContext*, uint>)_pages.Address;
        }
    }

    public FilterProgram Program => _program;

    public bool IsMachineCode => _code != null;

    /// <summary>Of the machine code; 0 when there is none.</summary>
    internal nuint Address => (nuint)_code;

    /// <returns>How many bytes of the packet the socket gets, at most. 0: the packet doesn't match.</returns>
    /// <remarks>The runtime can't stop a thread that is in the code: 4096 instructions without loops take microseconds.</remarks>
    public uint Match(PacketContext* packet) => _code != null ? _code(packet) : FilterInterpreter.Run(_program, packet);

    public void Dispose()
    {
        _code = null;
        _pages?.Dispose();
    }

    private static MemoryMapping? TryMap(byte[] code)
    {
        const string Name = "filter code";
        MemoryMapping? pages = null;
        try
        {
            pages = MemoryMapping.Anonymous((nuint)code.Length, 0, Name);
            code.CopyTo(new Span<byte>(pages.Address, code.Length));
            pages.MakeExecutable(Name);
            return pages;
        }
        catch (LinuxException)
        {
            pages?.Dispose();
            return null;
        }
    }
}
