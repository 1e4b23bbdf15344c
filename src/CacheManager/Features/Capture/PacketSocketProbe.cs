using FastPathSync.CacheManager.Features.Demotion;
using FastPathSync.Fpc.Protocol;
using FastPathSync.Netlink;
using FastPathSync.Netlink.SockDiag;
using Google.Protobuf;

namespace FastPathSync.CacheManager.Features.Capture;

/// <summary>
/// Packet sockets (tcpdump), which nobody announces: asked for every 60 ms. Those of ETH_P_ALL are given copies of what the fast path
/// forwards; those of ETH_P_IP or ETH_P_IPV6, which Linux serves behind its tc hooks, get their packets by Linux.
/// </summary>
internal sealed class PacketSocketProbe(CaptureFeature captures) : Probe
{
    private const ushort ETH_P_ALL = 3, ETH_P_IP = 0x800, ETH_P_IPV6 = 0x86dd; // linux/if_ether.h

    private NetlinkSocket? _socket;

    public override string Name => "packet sockets";

    /// <summary>Half of the 200 ms in which tcpdump is to be noticed is for the rest of the way.</summary>
    public override TimeSpan Period => TimeSpan.FromMilliseconds(60);

    public override void Open() => _socket = new NetlinkSocket(NetlinkSocket.NETLINK_SOCK_DIAG);

    public override void Look(InterfaceSet interfaces, List<Finding> findings)
    {
        Captures now = new();
        _socket!.DumpConsistently(PacketDiagSocket.Dump, now.Sockets.Clear, (scoped in NetlinkMessage m) =>
        {
            if (PacketDiagSocket.TryParse(in m, out PacketDiagSocket s) && s.Protocol is ETH_P_ALL or ETH_P_IP or ETH_P_IPV6)
            {
                now.Sockets.Add(new PacketSocket
                {
                    Inode = s.Inode,
                    Ifindex = s.IfIndex,
                    Protocol = s.Protocol,
                    Cooked = s.Cooked,
                    Filter = UnsafeByteOperations.UnsafeWrap(s.Filter),
                });
            }
        });
        captures.Set(now);
    }

    public override void Dispose()
    {
        _socket?.Dispose();
        _socket = null;
    }
}
