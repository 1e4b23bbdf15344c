using FastPathSync.Linux;
using FastPathSync.Netlink;

namespace FastPathSync.CacheManager.Features.Demotion;

/// <summary>
/// Two netlink sockets of one protocol: one that merely hears that something changed (what, the look finds out), one that asks.
/// An overrun is as good as a message: it wakes us all the same.
/// </summary>
internal sealed class EventSocket : IDisposable
{
    private const int DatagramsPerDrain = 10_000; // a flood must not keep the thread; what remains wakes it again

    private readonly NetlinkSocket _events;
    private readonly byte[] _scratch = new byte[64];

    /// <exception cref="NotInKernelException">The kernel lacks the protocol.</exception>
    public EventSocket(int protocol, int group, string what)
    {
        try
        {
            _events = new NetlinkSocket(protocol);
        }
        catch (LinuxException e) when (e.ErrorNumber is Errno.EPROTONOSUPPORT)
        {
            throw new NotInKernelException($"this kernel has no {what}");
        }

        _events.Join(group);
        Requests = new NetlinkSocket(protocol);
    }

    public int Descriptor => _events.Descriptor;

    public NetlinkSocket Requests { get; }

    public void Join(int group) => _events.Join(group);

    public void Drain()
    {
        for (int i = 0; i < DatagramsPerDrain && _events.ReceiveEvents(_scratch, wait: false) is not (-Errno.EAGAIN or 0); i++)
        {
        }
    }

    public void Dispose()
    {
        _events.Dispose();
        Requests.Dispose();
    }
}
