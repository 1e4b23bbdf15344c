using FastPathSync.Linux;
using FastPathSync.Netlink;

namespace FastPathSync.CacheManager.Sync;

/// <summary>Events in the order in which they came: datagrams one behind the other, each at a multiple of 4.</summary>
public sealed class EventChunk
{
    public const int Size = 1 << 20;

    internal byte[] Bytes { get; } = new byte[Size];

    internal int Length { get; set; }

    /// <summary>CLOCK_MONOTONIC when the oldest datagram in it was read.</summary>
    public ulong ObservedNs { get; internal set; }

    /// <summary>To a parser it is one long datagram.</summary>
    public ReadOnlySpan<byte> Events => Bytes.AsSpan(0, Length);
}

/// <summary>The drain thread: empties the event socket as fast as the kernel fills it, into chunks that the worker takes whole.</summary>
public sealed unsafe class EventReader : IDisposable
{
    /// <summary>More than this means that the worker is stuck, or lost for minutes: asking again is cheaper than keeping it.</summary>
    private const int MaxWaitingChunks = 512;

    private const int StopMilliseconds = 100;

    private readonly Lock _lock = new();
    private readonly Queue<EventChunk> _full = new();
    private readonly Stack<EventChunk> _spare = new();
    private readonly NetlinkSocket _socket;
    private readonly Action _wake;
    private readonly NetlinkDatagrams _datagrams = new();
    private readonly Thread _thread;
    private EventChunk _open = new();
    private bool _overrun;

    /// <summary>The taker has been woken and hasn't found everything taken since: it need not be woken again.</summary>
    private bool _woken;
    private volatile bool _stopped;

    public EventReader(NetlinkSocket socket, Action wake)
    {
        _socket = socket;
        _wake = wake;
        _thread = new Thread(Drain) { IsBackground = true, Name = "netlink drain" };
        _thread.Start();
    }

    /// <summary>False: the next event will call wake.</summary>
    public bool HasEvents()
    {
        lock (_lock)
        {
            return _woken = _full.Count > 0 || _open.Length > 0 || _overrun;
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
            if (_full.TryDequeue(out EventChunk? chunk))
            {
                return chunk;
            }

            if (_open.Length == 0)
            {
                return null;
            }

            chunk = _open;
            _open = Empty();
            return chunk;
        }
    }

    public void GiveBack(EventChunk chunk)
    {
        lock (_lock)
        {
            if (_spare.Count < 4)
            {
                _spare.Push(chunk);
            }
        }
    }

    public void Dispose()
    {
        _stopped = true;
        _thread.Join();
        _socket.Dispose();
        _datagrams.Dispose();
    }

    private EventChunk Empty()
    {
        if (!_spare.TryPop(out EventChunk? chunk))
        {
            return new EventChunk();
        }

        chunk.Length = 0;
        return chunk;
    }

    private void Drain()
    {
        bool congested = false;
        while (!_stopped)
        {
            int n = _datagrams.Receive(_socket);
            if (n == -Errno.EAGAIN)
            {
                if (congested)
                {
                    congested = false;
                    Overrun();
                }

                Libc.pollfd p = new() { fd = _socket.Descriptor, events = Libc.POLLIN };
                _ = Libc.poll(&p, 1, StopMilliseconds);
            }
            else if (n < 0)
            {
                // Until its queue has been read empty the kernel goes on throwing away what it says to this socket
                // (NETLINK_S_CONGESTED in net/netlink/af_netlink.c). A dump made before that would miss it.
                congested = true;
            }
            else if (!congested && n > 0)
            {
                Keep(n);
            }
        }
    }

    private void Overrun()
    {
        lock (_lock)
        {
            _full.Clear(); // what a dump is about to tell anew
            _open.Length = 0;
            _overrun = true;
            _woken = true;
        }

        _wake();
    }

    private void Keep(int datagrams)
    {
        bool wake;
        lock (_lock)
        {
            for (int i = 0; i < datagrams; i++)
            {
                Append(_datagrams[i]);
            }

            wake = !_woken;
            _woken = true;
        }

        if (wake)
        {
            _wake();
        }
    }

    private void Append(ReadOnlySpan<byte> datagram)
    {
        int length = Nlm.Align(datagram.Length);
        if (_open.Length + length > EventChunk.Size)
        {
            if (_full.Count == MaxWaitingChunks)
            {
                _full.Clear();
                _overrun = true;
            }

            _full.Enqueue(_open);
            _open = Empty();
        }

        if (_open.Length == 0)
        {
            _open.ObservedNs = MonotonicClock.Nanoseconds;
        }

        datagram.CopyTo(_open.Bytes.AsSpan(_open.Length));
        _open.Length += length;
    }
}
