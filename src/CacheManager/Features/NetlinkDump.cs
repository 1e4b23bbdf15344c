using FastPathSync.Linux;
using FastPathSync.Netlink;
using FastPathSync.Netlink.Rtnetlink;

namespace FastPathSync.CacheManager.Features;

/// <summary>Notes what a message of a dump says.</summary>
public delegate void DumpedMessage<T>(scoped in NetlinkMessage message, T into);

/// <summary>Dumps into a cache.</summary>
public static class NetlinkDump
{
    private const int Tries = 5;

    /// <summary>About a millisecond of a large dump.</summary>
    private const int MessagesBetweenUrgent = 1024;

    /// <param name="socket">Of the kernel that is asked.</param>
    /// <param name="request">Makes the request, for each try anew.</param>
    /// <param name="restart">Forgets what an interrupted try brought.</param>
    /// <param name="urgent">Called every now and then: a large dump takes seconds, and some things can't wait so long.</param>
    /// <param name="handler">Called for each message.</param>
    /// <exception cref="LinuxException">The dump failed, or changes interrupted it again and again: try later.</exception>
    public static void Run(NetlinkSocket socket, Func<NetlinkRequest> request, Action restart, Action urgent, NetlinkMessageHandler handler)
    {
        int messages = 0;
        for (int i = 0; i < Tries; i++)
        {
            restart();
            if (socket.Dump(request(), Handle))
            {
                return;
            }
        }

        throw new LinuxException(Errno.EAGAIN, "dump", "interrupted by changes");

        void Handle(scoped in NetlinkMessage message)
        {
            handler(in message);
            if (++messages % MessagesBetweenUrgent == 0)
            {
                urgent();
            }
        }
    }

    /// <summary>One dump for each family: the kernel filters, and an interrupted one is repeated alone.</summary>
    public static void BothFamilies<TKey, TValue>(
        NetlinkSocket socket, Func<byte, NetlinkRequest> request, Dictionary<TKey, TValue> fresh, Action urgent, DumpedMessage<Dictionary<TKey, TValue>> handler)
        where TKey : notnull
    {
        foreach (byte family in (ReadOnlySpan<byte>)[Rtm.AF_INET, Rtm.AF_INET6])
        {
            byte f = family;
            Dictionary<TKey, TValue> found = [];
            Run(socket, () => request(f), found.Clear, urgent, (scoped in NetlinkMessage m) => handler(in m, found));
            foreach ((TKey key, TValue value) in found)
            {
                fresh[key] = value;
            }
        }
    }

    public static LinuxException Malformed(scoped in NetlinkMessage message) =>
        new(Errno.EPROTO, "dump", $"message of type {message.Type} is malformed");
}
