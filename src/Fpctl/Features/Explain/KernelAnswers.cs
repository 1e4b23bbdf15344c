using FastPathSync.Fpctl.Inspection;
using FastPathSync.Linux;
using FastPathSync.Netlink.Rtnetlink;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.Fpctl.Features.Explain;

/// <summary>What the kernel of the packet's VRF says to it, and whether the fast path says the same.</summary>
internal sealed class KernelAnswers(RtnetlinkDump kernel, InstanceTables tables)
{
    private Dictionary<(uint, IpAddress), NeighbourMessage>? _neighbours;
    private List<NexthopMessage>? _nexthops;

    /// <summary>The interface by which the kernel would send to an address, 0 if by none.</summary>
    public uint InterfaceTo(IpAddress address) =>
        kernel.Route(new RouteQuery(Of(address))) is (0, RouteMessage r) ? WaysOf(in r).Select(w => w.IfIndex).FirstOrDefault() : 0;

    public (int ErrorNumber, RouteMessage? Route) Ask(in PacketText packet, uint ifindex) => kernel.Route(new RouteQuery(Of(packet, packet.Destination))
    {
        Source = Of(packet, packet.Source),
        InputInterface = (int)ifindex,
        Tos = packet.TrafficClass,
        Protocol = packet.Protocol,
        SourcePort = packet.Ports?.Source ?? 0,
        DestinationPort = packet.Ports?.Destination ?? 0,
    });

    public KernelView View(in PacketText packet, (int ErrorNumber, RouteMessage? Route) answer) => answer.Route is not RouteMessage r
        ? new KernelView { Error = Errno.Describe(answer.ErrorNumber) }
        : new KernelView
        {
            Type = KernelNames.RouteType(r.Type),
            Dst = packet.IsIpv4 ? Ipv4Text.Prefix(r.Destination.V4, r.PrefixLength) : Ip6Text.Prefix(new IpAddress(r.Destination.High, r.Destination.Low), r.PrefixLength),
            Table = r.Table == 0 ? null : KernelNames.Table(r.Table),
            Ways = [.. WaysOf(in r).Select(w => new KernelWayView(w.Gateway.IsNone ? null : w.Gateway.ToString(), tables.InterfaceName(w.IfIndex)))],
        };

    /// <summary>In what the two differ; "": in nothing; null: it can't be said, or doesn't matter.</summary>
    /// <param name="word">Of the nexthop; of a packet that goes on, the final one.</param>
    /// <param name="reason">null: it isn't left to Linux at the lookup.</param>
    public string? Compare(in PacketText packet, NexthopWord word, PuntReason? reason, (int ErrorNumber, RouteMessage? Route) answer)
    {
        if (!IsComparable(in packet))
        {
            return null;
        }

        string kernel = answer.Route is RouteMessage r ? KernelNames.RouteType(r.Type) : Errno.Describe(answer.ErrorNumber);
        byte type = answer.Route?.Type ?? RouteConstants.RTN_UNSPEC;
        switch (reason)
        {
            case null:
                return type != RouteConstants.RTN_UNICAST ? $"the fast path forwards, the kernel says {kernel}" : CompareWay(in packet, word, answer.Route!.Value);
            case PuntReason.Local or PuntReason.Broadcast when answer.ErrorNumber != 0:
            case PuntReason.NoNeighbour when answer.ErrorNumber is Errno.EINVAL or EXDEV:
                return null; // Linux drops it for its source (a martian, rp_filter), which it looks at first
            case PuntReason.NoNeighbour:
                return type != RouteConstants.RTN_UNICAST ? $"the fast path looks for a neighbour, the kernel says {kernel}" : "";
            case PuntReason.Local:
                return Expect(type is RouteConstants.RTN_LOCAL or RouteConstants.RTN_ANYCAST);
            case PuntReason.Broadcast:
                return Expect(type == RouteConstants.RTN_BROADCAST);
            case PuntReason.Blackhole:
                return Expect(answer.ErrorNumber == Errno.EINVAL);
            case PuntReason.Prohibit:
                return Expect(answer.ErrorNumber == Errno.EACCES);
            case PuntReason.Unreachable or PuntReason.NoRoute:
                return Expect(answer.ErrorNumber is EHOSTUNREACH or ENETUNREACH);
            default:
                return null; // Linux does with it what it does
        }

        string Expect(bool same) => same ? "" : $"the fast path leaves it to Linux as {ReasonNames.Of(reason.Value)}, the kernel says {kernel}";
    }

    private const int EXDEV = 18, ENETUNREACH = 101, EHOSTUNREACH = 113;

    /// <summary>Rules may ask for a protocol that the kernel can't be asked for.</summary>
    private unsafe bool IsComparable(in PacketText packet)
    {
        bool said = new RouteQuery(Of(packet, packet.Destination)) { Protocol = packet.Protocol }.CanSayProtocol;
        return said || !new RuleList(packet.IsIpv4 ? tables.Vrf->Rules4 : tables.Vrf->Rules6).NeedsTransport;
    }

    private string CompareWay(in PacketText packet, NexthopWord word, RouteMessage route)
    {
        Adjacency a = tables.Adjacency((int)word.Index);
        IpAddress destination = packet.Destination;
        List<(uint IfIndex, IpAddress Gateway)> ways = WaysOf(in route);
        if (!ways.Exists(w => w.IfIndex == a.IfIndex && (w.Gateway.IsNone ? destination : w.Gateway) == a.Address))
        {
            return $"the fast path sends to {a.Address} by {tables.InterfaceName(a.IfIndex)}, the kernel {string.Join(" or ", ways.Select(w => $"to {(w.Gateway.IsNone ? destination : w.Gateway)} by {tables.InterfaceName(w.IfIndex)}"))}";
        }

        string ours = Ipv4Text.Mac(AdjacencyMac.Destination(in a));
        return !Neighbours.TryGetValue((a.IfIndex, a.Address), out NeighbourMessage? n) ? $"the kernel has no neighbour {a.Address} on {tables.InterfaceName(a.IfIndex)}"
            : (n.State & KernelNames.NUD_VALID) == 0 ? $"the kernel's neighbour {a.Address} is {string.Join(',', KernelNames.NeighbourState(n.State))}"
            : Ipv4Text.Mac(n.LinkLayerAddress) != ours ? $"the fast path sends {a.Address} to {ours}, the kernel to {Ipv4Text.Mac(n.LinkLayerAddress)}"
            : "";
    }

    private Dictionary<(uint, IpAddress), NeighbourMessage> Neighbours
    {
        get
        {
            if (_neighbours is null)
            {
                _neighbours = [];
                foreach (NeighbourMessage n in kernel.Neighbours4().Concat(kernel.Neighbours6()))
                {
                    _neighbours[((uint)n.Index, Of(n.Destination))] = n;
                }
            }

            return _neighbours;
        }
    }

    /// <summary>A route by a nexthop object says where it leads only with net.ipv4.nexthop_compat_mode.</summary>
    private List<(uint IfIndex, IpAddress Gateway)> WaysOf(in RouteMessage route)
    {
        List<(uint, IpAddress)> ways = [];
        for (int i = 0; i < route.NexthopCount; i++)
        {
            RouteNexthop n = route.Nexthop(i);
            ways.Add(((uint)n.Index, Of(n.Gateway)));
        }

        if (ways.Count == 0 && route.NexthopId != 0)
        {
            AddObject(route.NexthopId, ways);
        }

        return ways;
    }

    private void AddObject(uint id, List<(uint, IpAddress)> ways)
    {
        _nexthops ??= kernel.Nexthops();
        if (_nexthops.Find(n => n.Id == id) is not NexthopMessage found)
        {
            return;
        }

        if (found.Members.Length == 0)
        {
            ways.Add(((uint)found.Index, Of(found.Gateway)));
        }

        foreach (NexthopGroupMember m in found.Members)
        {
            AddObject(m.Id, ways);
        }
    }

    private static IpAddress Of(InetAddress a) => a.Length == 4 ? IpAddress.FromV4(a.V4) : a.IsNone ? default : new IpAddress(a.High, a.Low);

    private static InetAddress Of(IpAddress a) => a.IsV4 ? InetAddress.FromV4(a.V4) : InetAddress.FromV6(a.High, a.Low);

    /// <summary>A mapped address in an IPv6 packet is an IPv6 address.</summary>
    private static InetAddress Of(in PacketText packet, IpAddress a) => packet.IsIpv4 ? InetAddress.FromV4(a.V4) : InetAddress.FromV6(a.High, a.Low);
}
