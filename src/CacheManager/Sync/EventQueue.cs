using System.Buffers;
using System.Collections.Concurrent;
using FastPathSync.Linux;
using FastPathSync.Netlink;

namespace FastPathSync.CacheManager.Sync;

/// <summary>Events in the order in which they came: datagrams one behind the other, each at a multiple of 4.</summary>
/// <remarks>
/// Few begin small, in pooled arrays. A backlog is hundreds of megabytes for a moment: that is mapped, and given back when it was read.
/// </remarks>
/// <param name="observedNs">CLOCK_MONOTONIC when the oldest datagram in it was read, at the earliest.</param>
public sealed unsafe class EventChunk(ulong observedNs)
{
    public const int Size = 1 << 20;

    private const int FirstSize = 16 << 10, LargestArray = 64 << 10, KeptMappings = 4;

    private static readonly ConcurrentBag<MemoryMapping> s_kept = [];

    private byte[] _bytes = ArrayPool<byte>.Shared.Rent(FirstSize);
    private MemoryMapping? _mapping;
    private int _length;

    public ulong ObservedNs => observedNs;

    /// <summary>To a parser it is one long datagram.</summary>
    public ReadOnlySpan<byte> Events => Bytes[.._length];

    private Span<byte> Bytes => _mapping is null ? _bytes : new Span<byte>(_mapping.Address, Size);

    internal bool HasRoomFor(int datagram) => _length + Nlm.Align(datagram) <= Size;

    internal void Append(ReadOnlySpan<byte> datagram)
    {
        int length = _length + Nlm.Align(datagram.Length);
        if (length > Bytes.Length)
        {
            Grow(length);
        }

        datagram.CopyTo(Bytes[_length..]);
        _length = length;
    }

    internal void Release()
    {
        if (_mapping is MemoryMapping mapping)
        {
            _mapping = null;
            if (s_kept.Count < KeptMappings)
            {
                s_kept.Add(mapping);
            }
            else
            {
                mapping.Dispose();
            }
        }

        ArrayPool<byte>.Shared.Return(_bytes);
        _bytes = [];
        _length = 0;
    }

    private void Grow(int length)
    {
        if (length > LargestArray)
        {
            MemoryMapping mapping = s_kept.TryTake(out MemoryMapping? kept) ? kept : MemoryMapping.Anonymous(Size, 0, "netlink events");
            Events.CopyTo(new Span<byte>(mapping.Address, Size));
            _mapping = mapping;
            return;
        }

        byte[] larger = ArrayPool<byte>.Shared.Rent(Math.Max(length, _bytes.Length * 2));
        Events.CopyTo(larger);
        ArrayPool<byte>.Shared.Return(_bytes);
        _bytes = larger;
    }
}

/// <summary>What the kernel has said in one VRF and nobody has taken yet, in chunks that the engine takes whole.</summary>
public sealed class EventQueue : IDisposable
{
    /// <summary>More than this means that the engine is stuck, or lost for minutes: asking again is cheaper than keeping it.</summary>
    private const int MaxWaitingChunks = 512;

    /// <summary>Turns of 64 datagrams: more than the largest buffer holds.</summary>
    private const int MostThrownAway = 1 << 16;

    /// <summary>A flood begins with 100,000 events a second, and ends below half of that (at the reader's 20 ms between two looks).</summary>
    private const int FloodBegins = 500, FloodEnds = 1000;

    private const ulong FloodBeginsWithin = 5_000_000;

    /// <summary>Turns of 64 datagrams before other VRFs have theirs.</summary>
    private const int LongestLook = 1 << 10;

    /// <summary>Of a socket's buffer, as the kernel accounts it: what comes between two looks at a flooded one must fit in, several times.</summary>
    private const int RoomForFlood = 32 << 20;

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
    private volatile bool _flooded;
    private ulong _countedSince;
    private int _counted;

    internal EventQueue(EventReader reader, NetlinkSocket socket, Action wake)
    {
        _reader = reader;
        _socket = socket;
        _wake = wake;
    }

    /// <summary>Events come so fast that they are fetched now and then only: that none is here says nothing.</summary>
    public bool IsFlooded => _flooded;

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
    /// <returns>True when a flood has begun: the reader no longer watches the socket, but calls FillFlooded.</returns>
    internal bool Fill(NetlinkDatagrams datagrams)
    {
        lock (_receiving)
        {
            if (_closed)
            {
                return false;
            }

            _flooded = IsFlood(Receive(datagrams, MonotonicClock.Nanoseconds)) && _socket.ReceiveBuffer >= RoomForFlood;
            if (_flooded)
            {
                _reader.Unwatch(_socket);
            }

            return _flooded;
        }
    }

    /// <summary>On the drain thread: reads all that is there.</summary>
    /// <returns>False when the flood is over: the socket is watched again.</returns>
    internal bool FillFlooded(NetlinkDatagrams datagrams)
    {
        lock (_receiving)
        {
            if (_closed)
            {
                return false;
            }

            ulong lastLook = _countedSince; // what is here came after it
            _countedSince = MonotonicClock.Nanoseconds;
            _counted = 0;
            for (int n = NetlinkDatagrams.Slots, i = 0; n == NetlinkDatagrams.Slots && i < LongestLook; i++)
            {
                n = Receive(datagrams, lastLook);
                _counted += n;
            }

            if (_counted >= FloodEnds || _congested)
            {
                return true;
            }

            _flooded = false;
            _reader.Watch(_socket);
        }

        _wake(); // who waits for quiet
        return false;
    }

    private bool IsFlood(int received)
    {
        ulong now = MonotonicClock.Nanoseconds;
        if (now - _countedSince > FloodBeginsWithin)
        {
            _countedSince = now;
            _counted = 0;
        }

        _counted += received;
        return _counted >= FloodBegins;
    }

    /// <returns>How many datagrams were taken.</returns>
    private int Receive(NetlinkDatagrams datagrams, ulong observedNs)
    {
        int n = datagrams.Receive(_socket);
        if (n > 0 && !_congested)
        {
            Keep(datagrams, n, observedNs);
        }
        else if (n < 0 && n != -Errno.EAGAIN)
        {
            // Until its queue has been read empty the kernel goes on throwing away what it says to this socket
            // (NETLINK_S_CONGESTED in net/netlink/af_netlink.c). A dump made before that would miss it.
            _congested = true;
        }

        if (_congested && TryEmpty(datagrams))
        {
            _congested = false;
            Overrun();
        }

        return Math.Max(n, 0);
    }

    /// <summary>
    /// Throws away what is left. Not a turn's worth only: poll tells nothing of a queue whose last datagram was thrown away.
    /// </summary>
    /// <returns>False when the kernel is too fast even for that; then poll tells of more.</returns>
    private bool TryEmpty(NetlinkDatagrams datagrams)
    {
        for (int i = 0; i < MostThrownAway; i++)
        {
            if (datagrams.Receive(_socket) == -Errno.EAGAIN)
            {
                return true;
            }
        }

        return false;
    }

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

    private void Keep(NetlinkDatagrams datagrams, int count, ulong observedNs)
    {
        bool wake;
        lock (_lock)
        {
            for (int i = 0; i < count; i++)
            {
                Append(datagrams[i], observedNs);
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

    private void Append(ReadOnlySpan<byte> datagram, ulong observedNs)
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

        _open ??= new EventChunk(observedNs);
        _open.Append(datagram);
    }
}
