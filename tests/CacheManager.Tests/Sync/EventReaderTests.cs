using FastPathSync.CacheManager.Sync;
using FastPathSync.Linux;
using FastPathSync.Netlink;
using FastPathSync.Netlink.Rtnetlink;

namespace FastPathSync.CacheManager.Tests.Sync;

/// <summary>The drain thread on a real socket, with what real routes make the kernel say.</summary>
public sealed class EventReaderTests : IDisposable
{
    private const int RTNLGRP_IPV4_ROUTE = 7;

    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(10);

    private readonly string _name = $"er-{Environment.ProcessId}";

    public EventReaderTests()
    {
        Router.Run("ip", $"netns add {_name}");
        Router.Run("ip", $"-n {_name} link set lo up");
    }

    public void Dispose() => Router.Run("ip", $"netns del {_name}");

    [Theory]
    [InlineData(Router.EnoughReceiveBuffer, 20_000, true)]
    [InlineData(4 << 20, 2_000, false)] // what comes in 20 ms of a flood might not fit
    public void AFloodIsReadNowAndThenAndWholly(int receiveBuffer, int count, bool flooded)
    {
        NetlinkSocket socket = NetworkNamespace.Run($"/run/netns/{_name}", () => new NetlinkSocket(NetlinkSocket.NETLINK_ROUTE));
        socket.SetReceiveBuffer(receiveBuffer);
        socket.Join(RTNLGRP_IPV4_ROUTE);
        AddRoutes(0, count); // they wait in the socket: read at full speed they are a flood

        using EventReader reader = new();
        int wakes = 0;
        using EventQueue queue = reader.Add(socket, () => Interlocked.Increment(ref wakes));
        // Nothing is taken, so that there is one wake-up for the events, and one for the end of the flood.
        SpinWait.SpinUntil(() => wakes == 2, flooded ? s_patience : TimeSpan.FromMilliseconds(200));
        Assert.Equal(flooded ? 2 : 1, wakes);
        Assert.False(queue.IsFlooded);
        Assert.Equal(Enumerable.Range(0, count), Take(queue, count));
        Assert.False(queue.TakeOverrun());
        Assert.False(queue.HasEvents());

        AddRoutes(count, 1);
        Assert.Equal([count], Take(queue, 1));
    }

    private void AddRoutes(int from, int count) =>
        Router.Run("ip", $"-n {_name} -batch -", string.Concat(Enumerable.Range(from, count).Select(i => $"route add 20.{i >> 16}.{(i >> 8) & 255}.{i & 255} dev lo\n")));

    /// <summary>Which routes the events tell of, in their order.</summary>
    private static List<int> Take(EventQueue queue, int count)
    {
        List<int> told = [];
        SpinWait.SpinUntil(
            () =>
            {
                while (queue.TryTake() is EventChunk chunk)
                {
                    NetlinkMessages messages = new(chunk.Events);
                    while (messages.MoveNext())
                    {
                        NetlinkMessage current = messages.Current;
                        Assert.True(RouteMessage.TryParse(in current, out RouteMessage route));
                        told.Add((int)(route.Destination.V4 & 0xffffff));
                    }

                    EventQueue.GiveBack(chunk);
                }

                return told.Count >= count;
            },
            s_patience);
        return told;
    }
}
