using System.Runtime.InteropServices;
using FastPathSync.FastPath.Capture;
using FastPathSync.FastPath.Exceptions;
using FastPathSync.FastPath.Xsk;
using FastPathSync.Linux;
using FastPathSync.SharedMemory;

namespace FastPathSync.FastPath.Worker;

/// <summary>
/// The sockets a worker works with; immutable. The control thread hands a worker a new set, and knows that the old one
/// is out of use when the worker says so.
/// </summary>
internal sealed unsafe class SocketSet : IDisposable
{
    public SocketSet(IReadOnlyList<XskBinding> bindings)
    {
        Count = bindings.Count;
        Sockets = (XskSocket**)NativeMemory.AlignedAlloc((nuint)(Math.Max(1, Count) * sizeof(void*)), 64);
        TxByPort = (XskSocket**)NativeMemory.AlignedAlloc(Capacities.Ports * (nuint)sizeof(void*), 64);
        Poll = (Libc.pollfd*)NativeMemory.AlignedAlloc((nuint)(Math.Max(1, Count) * sizeof(Libc.pollfd)), 64);
        NativeMemory.Clear(TxByPort, Capacities.Ports * (nuint)sizeof(void*));
        for (int i = 0; i < Count; i++)
        {
            XskSocket* s = bindings[i].Socket;
            Sockets[i] = s;
            Injectors[s->PortId] = bindings[i].Injector;
            Taps[s->PortId] = bindings[i].Tap;
            Poll[i] = new Libc.pollfd { fd = s->Fd, events = Libc.POLLIN };
            if (TxByPort[s->PortId] == null)
            {
                TxByPort[s->PortId] = s; // a worker's lowest queue of a port is the one it sends through
            }
        }
    }

    public int Count { get; }

    public XskSocket** Sockets { get; }

    /// <summary>What poll(2) is given: one for each of the sockets.</summary>
    public Libc.pollfd* Poll { get; }

    /// <summary>By PortId; null where the worker can't send.</summary>
    public XskSocket** TxByPort { get; }

    /// <summary>By PortId; of the ports that have a socket here.</summary>
    public Injector[] Injectors { get; } = new Injector[Capacities.Ports];

    /// <summary>By PortId; of the ports that have a socket here.</summary>
    public PacketTap[] Taps { get; } = new PacketTap[Capacities.Ports];

    public bool Contains(XskSocket* socket)
    {
        for (int i = 0; i < Count; i++)
        {
            if (Sockets[i] == socket)
            {
                return true;
            }
        }

        return false;
    }

    public void Dispose()
    {
        NativeMemory.AlignedFree(Sockets);
        NativeMemory.AlignedFree(TxByPort);
        NativeMemory.AlignedFree(Poll);
    }
}
