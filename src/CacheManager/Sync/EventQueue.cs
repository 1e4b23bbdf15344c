using System.Buffers;
using FastPathSync.Linux;
using FastPathSync.Netlink;

namespace FastPathSync.CacheManager.Sync;

/// <summary>Events in the order in which they came: datagrams one behind the other, each at a multiple of 4.</summary>
public sealed class EventChunk
{
    public const int Size = 1 << 20;

    private const int FirstSize = 16 << 10;

    private byte[] _bytes = ArrayPool<byte>.Shared.Rent(FirstSize);
    private int _length;

    /// <summary>CLOCK_MONOTONIC when the oldest datagram in it was read.</summary>
    public ulong ObservedNs { get; } = MonotonicClock.Nanoseconds;

    /// <summary>To a parser it is one long datagram.</summary>
    public ReadOnlySpan<byte> Events => _bytes.AsSpan(0, _length);

    internal bool HasRoomFor(int datagram) => _length + Nlm.Align(datagram) <= Size;

    internal void Append(ReadOnlySpan<byte> datagram)
    {
        int length = _length + Nlm.Align(datagram.Length);
        if (length > _bytes.Length)
        {
            byte[] larger = ArrayPool<byte>.Shared.Rent(Math.Min(Size, Math.Max(length, _bytes.Length * 2)));
            _bytes.AsSpan(0, _length).CopyTo(larger);
            ArrayPool<byte>.Shared.Return(_bytes);
            _bytes = larger;
        }

        datagram.CopyTo(_bytes.AsSpan(_length));
        _length = length;
    }

    internal void Release()
    {
        ArrayPool<byte>.Shared.Return(_bytes);
        _bytes = [];
        _length = 0;
    }
}

/// <summary>What the kernel has said in one VRF and nobody has taken yet, in chunks that the engine takes whole.</summary>
public sealed class EventQueue : IDisposable
{
    /// <summary>More than this means that the engine is stuck, or lost for minutes: asking again is cheaper than keeping it.</summary>
    private const int MaxWaitingChunks = 512;

    private readonly Lock _lock = new();
    private readonly Lock _receiving = new();
    private readonly Queue<EventChunk> _waiting = new();
    private readonly EventReader _reader;
    private readonly NetlinkSocket _socket;
    private readonly Action _wake;
    private EventChunk? _open;
    private bool _overrun;

    /// <summary>The taker has been woken and hasn't found everything taken since: it need not be woken again.</summary>
    private bool _woken;
    private bool _congested;
    private bool _closed;

    internal EventQueue(EventReader reader, NetlinkSocket socket, Action wake)
    {
        _reader = reader;
        _socket = socket;
        _wake = wake;
    }

    /// <summary>False: the next event will call wake.</summary>
    public bool HasEvents()
    {
        lock (_lock)
        {
            return _woken = _waiting.Count > 0 || _open is not null || _overrun;
        }
    }

    /// <summary>Events were lost (ENOBUFS) since the last call.</summary>
    public bool TakeOverrun()
    {
        lock (_lock)
        {
            bool overrun = _overrun;
            _overrun = false;
            return overrun;
        }
    }

    /// <summary>The oldest events that are waiting, or null. Give the chunk back when done.</summary>
    public EventChunk? TryTake()
    {
        lock (_lock)
        {
            if (_waiting.TryDequeue(out EventChunk? chunk))
            {
                return chunk;
            }

            chunk = _open;
            _open = null;
            return chunk;
        }
    }

    public static void GiveBack(EventChunk chunk) => chunk.Release();

    public void Dispose()
    {
        lock (_receiving)
        {
            _closed = true;
            _reader.Forget(_socket);
            _socket.Dispose();
        }
    }

    /// <summary>On the drain thread: reads what is there, up to what one system call brings, so that other VRFs have their turn.</summary>
    internal void Fill(NetlinkDatagrams datagrams)
    {
        lock (_receiving)
        {
            if (_closed)
            {
                return;
            }

            int n = datagrams.Receive(_socket);
            if (n > 0 && !_congested)
            {
                Keep(datagrams, n);
            }
            else if (n < 0 && n != -Errno.EAGAIN)
            {
                // Until its queue has been read empty the kernel goes on throwing away what it says to this socket
                // (NETLINK_S_CONGESTED in net/netlink/af_netlink.c). A dump made before that would miss it.
                _congested = true;
            }

            if (_congested && IsEmpty(datagrams))
            {
                _congested = false;
                Overrun();
            }
        }
    }

    /// <summary>Throws away a turn's worth; true when nothing is left.</summary>
    private bool IsEmpty(NetlinkDatagrams datagrams) => datagrams.Receive(_socket) == -Errno.EAGAIN;

    private void Overrun()
    {
        lock (_lock)
        {
            Forget(); // what a dump is about to tell anew
            _open?.Release();
            _open = null;
            _overrun = true;
            _woken = true;
        }

        _wake();
    }

    private void Keep(NetlinkDatagrams datagrams, int count)
    {
        bool wake;
        lock (_lock)
        {
            for (int i = 0; i < count; i++)
            {
                Append(datagrams[i]);
            }

            wake = !_woken;
            _woken = true;
        }

        if (wake)
        {
            _wake();
        }
    }

    private void Forget()
    {
        foreach (EventChunk lost in _waiting)
        {
            lost.Release();
        }

        _waiting.Clear();
    }

    private void Append(ReadOnlySpan<byte> datagram)
    {
        if (_open is not null && !_open.HasRoomFor(datagram.Length))
        {
            if (_waiting.Count == MaxWaitingChunks)
            {
                Forget();
                _overrun = true;
            }

            _waiting.Enqueue(_open);
            _open = null;
        }

        _open ??= new EventChunk();
        _open.Append(datagram);
    }
}
