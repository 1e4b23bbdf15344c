using System.Runtime.InteropServices;
using FastPathSync.FastPath.Capture;
using FastPathSync.FastPath.Exceptions;
using FastPathSync.Hosting;
using FastPathSync.Linux;

namespace FastPathSync.FastPath.Xsk;

/// <summary>Owns one AF_XDP socket, bound to a queue of a device, and its mapped rings.</summary>
internal sealed unsafe class XskBinding : IDisposable
{
    private const uint TxBudget = 256;
    private readonly List<MemoryMapping> _rings = [];
    private readonly FileDescriptor _fd;
    private readonly Umem _umem;
    private XskSocket* _socket;

    /// <summary>Made in the namespace of the interface.</summary>
    public XskBinding(Umem umem, string interfaceName, uint ifindex, int queue, int portId, WorkerTables* tables, Injector injector, PacketTap tap)
    {
        _umem = umem;
        Worker = umem.Worker;
        Injector = injector;
        Tap = tap;
        Queue = queue;
        PortId = portId;
        _fd = FileDescriptor.FromCall(Libc.socket(Libc.AF_XDP, Libc.SOCK_RAW | Libc.SOCK_CLOEXEC, 0), "socket(AF_XDP)", interfaceName);
        try
        {
            Set(umem, interfaceName, ifindex, queue, portId, tables);
        }
        catch
        {
            Release();
            throw;
        }

        umem.Add(this);
    }

    public int Queue { get; }

    public int Worker { get; }

    public int PortId { get; }

    public int Fd => _fd.Number;

    /// <summary>To Linux, for what its worker punts of its port.</summary>
    public Injector Injector { get; }

    /// <summary>To packet sockets, for what its worker forwards of its port.</summary>
    public PacketTap Tap { get; }

    public XskSocket* Socket => _socket;

    /// <summary>The device went away under the socket: the kernel has unbound it, it can share its UMEM no more.</summary>
    public bool Gone { get; set; }

    /// <summary>
    /// Any thread: the RX ring is empty, and each packet that the kernel took from the TX ring has come back through the completion ring.
    /// (What it hasn't taken, the device being down, can be taken back.)
    /// </summary>
    public bool IsIdle =>
        Volatile.Read(ref *_socket->Rx.Producer) == Volatile.Read(ref *_socket->Rx.Consumer)
        && Volatile.Read(ref *_socket->Tx.Consumer) == Volatile.Read(ref *_socket->Completion.Consumer);

    public Libc.xdp_statistics Statistics()
    {
        Libc.xdp_statistics s;
        uint length = (uint)sizeof(Libc.xdp_statistics);
        return Libc.getsockopt(_fd.Number, Libc.SOL_XDP, Libc.XDP_STATISTICS, &s, &length) == 0 ? s : default;
    }

    public void Dispose()
    {
        _umem.Remove(this);
        Release();
    }

    private void Release()
    {
        _rings.ForEach(r => r.Dispose());
        _rings.Clear();
        _fd.Dispose();
        NativeMemory.AlignedFree(_socket);
        _socket = null;
    }

    private void Set(Umem umem, string interfaceName, uint ifindex, int queue, int portId, WorkerTables* tables)
    {
        XskBinding? sharer = umem.Sharer;
        if (sharer is null)
        {
            Libc.xdp_umem_reg r = new()
            {
                addr = (ulong)umem.Base,
                len = umem.Length,
                chunk_size = umem.FrameSize,
                flags = Libc.XDP_UMEM_UNALIGNED_CHUNK_FLAG,
            };
            if (Libc.setsockopt(_fd.Number, Libc.SOL_XDP, Libc.XDP_UMEM_REG, &r, (uint)sizeof(Libc.xdp_umem_reg)) < 0)
            {
                int errno = Marshal.GetLastPInvokeError();
                throw new DaemonStartException(errno, errno is Errno.ENOBUFS or Errno.EPERM or Errno.ENOMEM
                    ? $"cannot lock {r.len >> 20} MB of packet memory: {Errno.Describe(errno)}; give the daemon CAP_IPC_LOCK, raise its RLIMIT_MEMLOCK (ulimit -l), or give fewer --frames"
                    : $"cannot register packet memory: {Errno.Describe(errno)}");
            }
        }

        foreach (int ring in (ReadOnlySpan<int>)[Libc.XDP_UMEM_FILL_RING, Libc.XDP_UMEM_COMPLETION_RING, Libc.XDP_RX_RING, Libc.XDP_TX_RING])
        {
            uint size = XskSocket.RingSize;
            LinuxException.ThrowIfNegative(Libc.setsockopt(_fd.Number, Libc.SOL_XDP, ring, &size, sizeof(uint)), "setsockopt(XDP ring)", interfaceName);
        }

        Libc.xdp_mmap_offsets o;
        uint length = (uint)sizeof(Libc.xdp_mmap_offsets);
        LinuxException.ThrowIfNegative(Libc.getsockopt(_fd.Number, Libc.SOL_XDP, Libc.XDP_MMAP_OFFSETS, &o, &length), "getsockopt(XDP_MMAP_OFFSETS)", interfaceName);

        _socket = (XskSocket*)NativeMemory.AlignedAlloc((nuint)((sizeof(XskSocket) + 127) / 128 * 128), 128);
        *_socket = new XskSocket
        {
            Fd = _fd.Number,
            PortId = portId,
            Tables = tables,
            Rx = Ring(o.rx, Libc.XDP_PGOFF_RX_RING, (uint)sizeof(Libc.xdp_desc), interfaceName),
            Tx = Ring(o.tx, Libc.XDP_PGOFF_TX_RING, (uint)sizeof(Libc.xdp_desc), interfaceName),
            Fill = Ring(o.fr, Libc.XDP_UMEM_PGOFF_FILL_RING, sizeof(ulong), interfaceName),
            Completion = Ring(o.cr, Libc.XDP_UMEM_PGOFF_COMPLETION_RING, sizeof(ulong), interfaceName),
        };

        // Sockets that share take copy mode and need_wakeup from the first; giving flags again is EINVAL.
        Libc.sockaddr_xdp a = new()
        {
            sxdp_family = Libc.AF_XDP,
            sxdp_flags = sharer is null ? (ushort)(Libc.XDP_COPY | Libc.XDP_USE_NEED_WAKEUP) : Libc.XDP_SHARED_UMEM,
            sxdp_ifindex = ifindex,
            sxdp_queue_id = (uint)queue,
            sxdp_shared_umem_fd = sharer is null ? 0 : (uint)sharer.Fd,
        };
        if (Libc.bind(_fd.Number, &a, (uint)sizeof(Libc.sockaddr_xdp)) < 0)
        {
            int errno = Marshal.GetLastPInvokeError();
            throw new DaemonStartException(errno, errno == Errno.EBUSY
                ? $"port {interfaceName}: another AF_XDP socket already serves queue {queue}; stop the program that has it"
                : $"port {interfaceName}: cannot bind an AF_XDP socket to queue {queue}: {Errno.Describe(errno)}");
        }

        // Linux 6.17; without it the kernel sends 32 per call, and a kick may need to be repeated.
        uint budget = TxBudget;
        _ = Libc.setsockopt(_fd.Number, Libc.SOL_XDP, Libc.XDP_MAX_TX_SKB_BUDGET, &budget, sizeof(uint));
    }

    private XskRing Ring(in Libc.xdp_ring_offset offsets, long pageOffset, uint entrySize, string name)
    {
        nuint length = (nuint)offsets.desc + (XskSocket.RingSize * entrySize);
        MemoryMapping m = MemoryMapping.MapAt(_fd.Number, length, Libc.MAP_SHARED | Libc.MAP_POPULATE, pageOffset, $"XDP ring of {name}");
        _rings.Add(m);
        return XskRing.At(m.Address, offsets, XskSocket.RingSize);
    }
}
