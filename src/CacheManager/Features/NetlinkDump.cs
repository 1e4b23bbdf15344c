using FastPathSync.Linux;
using FastPathSync.Netlink;

namespace FastPathSync.CacheManager.Features;

/// <summary>Dumps into a cache.</summary>
public static class NetlinkDump
{
    private const int Tries = 5;

    /// <exception cref="LinuxException">The dump failed, or changes interrupted it again and again: try later.</exception>
    public static void Run(NetlinkSocket socket, Func<NetlinkRequest> request, Action restart, NetlinkMessageHandler handler)
    {
        for (int i = 0; i < Tries; i++)
        {
            restart();
            if (socket.Dump(request(), handler))
            {
                return;
            }
        }

        throw new LinuxException(Errno.EAGAIN, "dump", "interrupted by changes");
    }

    public static LinuxException Malformed(scoped in NetlinkMessage message) =>
        new(Errno.EPROTO, "dump", $"message of type {message.Type} is malformed");
}
