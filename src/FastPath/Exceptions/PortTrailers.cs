using System.Runtime.InteropServices;
using FastPathSync.SharedMemory;

namespace FastPathSync.FastPath.Exceptions;

/// <summary>One ready trailer per port. Written by the control thread before the port can receive; read by all workers.</summary>
internal sealed unsafe class PortTrailers : IDisposable
{
    private byte* _memory = (byte*)NativeMemory.AllocZeroed(Capacities.Ports, FptunTrailer.Size);

    public byte* this[int port] => _memory + (port * FptunTrailer.Size);

    public void Set(int port, uint ifindex, bool genericXdp) => FptunTrailer.Write(
        new Span<byte>(this[port], FptunTrailer.Size), FptunTrailer.Basic, genericXdp ? FptunTrailer.FlagCookie : (ushort)0, ifindex, mark: 0);

    public void Dispose()
    {
        NativeMemory.Free(_memory);
        _memory = null;
    }
}
