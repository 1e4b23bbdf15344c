using FastPathSync.Linux;
using FastPathSync.Netlink;

namespace FastPathSync.CacheManager.Sync;

/// <summary>The drain thread: empties the event sockets of all VRFs as fast as the kernel fills them, each into its queue.</summary>
/// <remarks>
/// In a flood whoever makes the changes pays for each wake-up of ours, also when we are awake (epoll's callback), and for contending for
/// the socket's queue. So a flooded socket is out of epoll, and emptied every 20 ms.
/// </remarks>
public sealed unsafe class EventReader : IDisposable
{
    private const int StopMilliseconds = 100, Ready = 64;

    private static readonly TimeSpan s_floodedPause = TimeSpan.FromMilliseconds(20);

    private readonly Lock _lock = new();
    private readonly Dictionary<int, EventQueue> _queues = [];
    private readonly List<EventQueue> _flooded = [];
    private readonly FileDescriptor _epoll = FileDescriptor.FromCall(Libc.epoll_create1(Libc.EPOLL_CLOEXEC), "epoll_create1", "netlink drain");
    private readonly NetlinkDatagrams _datagrams = new();
    private readonly Thread _thread;
    private volatile bool _stopped;

    public EventReader()
    {
        _thread = new Thread(Drain) { IsBackground = true, Name = "netlink drain" };
        _thread.Start();
    }

    /// <summary>Takes the socket over. <paramref name="wake"/> is called on the drain thread when something has come.</summary>
    public EventQueue Add(NetlinkSocket socket, Action wake)
    {
        EventQueue queue = new(this, socket, wake);
        lock (_lock)
        {
            _queues[socket.Descriptor] = queue;
        }

        Watch(socket);
        return queue;
    }

    public void Dispose()
    {
        _stopped = true;
        _thread.Join();
        _epoll.Dispose();
        _datagrams.Dispose();
    }

    internal void Watch(NetlinkSocket socket)
    {
        Libc.epoll_event e = new() { events = Libc.EPOLLIN, data = (ulong)socket.Descriptor };
        LinuxException.ThrowIfNegative(Libc.epoll_ctl(_epoll.Number, Libc.EPOLL_CTL_ADD, socket.Descriptor, &e), "epoll_ctl", "netlink events");
    }

    internal void Unwatch(NetlinkSocket socket)
    {
        Libc.epoll_event e = default;
        _ = Libc.epoll_ctl(_epoll.Number, Libc.EPOLL_CTL_DEL, socket.Descriptor, &e);
    }

    internal void Forget(NetlinkSocket socket)
    {
        lock (_lock)
        {
            _queues.Remove(socket.Descriptor);
        }

        Unwatch(socket);
    }

    private void Drain()
    {
        Libc.epoll_event* ready = stackalloc Libc.epoll_event[Ready];
        Deadline flooded = default;
        while (!_stopped)
        {
            int n = Libc.epoll_wait(_epoll.Number, ready, Ready, flooded.IsSet ? Deadline.Soonest(flooded) : StopMilliseconds);
            for (int i = 0; i < n; i++)
            {
                EventQueue? queue;
                lock (_lock)
                {
                    queue = _queues.GetValueOrDefault((int)ready[i].data);
                }

                if (queue is not null && queue.Fill(_datagrams))
                {
                    _flooded.Add(queue);
                    flooded = flooded.IsSet ? flooded : Deadline.In(s_floodedPause);
                }
            }

            if (flooded.TakeIfDue())
            {
                _flooded.RemoveAll(q => !q.FillFlooded(_datagrams));
                flooded = _flooded.Count > 0 ? Deadline.In(s_floodedPause) : default;
            }
        }
    }
}
