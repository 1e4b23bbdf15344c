using System.Runtime.InteropServices;
using FastPathSync.SharedMemory;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FastPath.Exceptions;

/// <summary>Ready trailers for each port. Written by the control thread before the port can receive; read by all workers.</summary>
internal sealed unsafe class PortTrailers : IDisposable
{
    private byte* _memory = (byte*)NativeMemory.AllocZeroed(Capacities.Ports * 2, FptunTrailer.Size);

    /// <summary>Of a packet that came in by the port and is Linux's.</summary>
    public byte* Basic(int port) => _memory + (port * 2 * FptunTrailer.Size);

    /// <summary>Of a copy for the packet sockets on the port.</summary>
    public byte* Tap(int port) => Basic(port) + FptunTrailer.Size;

    public void Set(int port, uint ifindex, bool genericXdp)
    {
        ushort flags = genericXdp ? FptunTrailer.FlagCookie : (ushort)0;
        FptunTrailer.Write(new Span<byte>(Basic(port), FptunTrailer.Size), FptunCommand.Basic, flags, ifindex, mark: 0);
        FptunTrailer.Write(new Span<byte>(Tap(port), FptunTrailer.Size), FptunCommand.Tap, flags, ifindex, mark: 0);
    }

    public void Dispose()
    {
        NativeMemory.Free(_memory);
        _memory = null;
    }
}
