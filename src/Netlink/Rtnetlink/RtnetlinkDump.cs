using FastPathSync.Linux;
using FastPathSync.Netlink.TrafficControl;

namespace FastPathSync.Netlink.Rtnetlink;

/// <summary>
/// What the kernel has now, as lists: for verify, audits and tools. Each call is one dump, repeated while the kernel
/// says that a change interrupted it. One thread at a time.
/// </summary>
public sealed class RtnetlinkDump : IDisposable
{
    private const int ReceiveBuffer = 4 << 20;
    private readonly NetlinkSocket _socket = new(NetlinkSocket.NETLINK_ROUTE);

    /// <summary>Opens a socket in the current thread's network namespace.</summary>
    public RtnetlinkDump()
    {
        _socket.TryStrictChecking();
        _socket.SetReceiveBuffer(ReceiveBuffer);
    }

    private delegate bool Parser<T>(in NetlinkMessage message, out T? item);

    /// <summary>Opens it in another network namespace ("/run/netns/NAME", "/proc/PID/ns/net").</summary>
    public static RtnetlinkDump InNamespace(string path) => NetworkNamespace.Run(path, () => new RtnetlinkDump());

    public List<LinkMessage> Links() => Collect<LinkMessage>(LinkMessage.Dump, LinkMessage.TryParse);

    public List<AddressMessage> Addresses4() => Collect<AddressMessage>(() => AddressMessage.Dump(Rtm.AF_INET), AddressMessage.TryParse);

    /// <summary>All tables, in the kernel's order; routes of one identity stand first to last as the kernel uses them.</summary>
    public List<RouteMessage> Routes4()
    {
        List<RouteMessage> routes = Collect<RouteMessage>(() => RouteMessage.Dump(Rtm.AF_INET), RouteMessage.TryParse);
        routes.RemoveAll(r => r.IsCloned);
        return routes;
    }

    /// <summary>All tables, in the kernel's order: of one identity, siblings are one multipath route.</summary>
    public List<RouteMessage> Routes6()
    {
        List<RouteMessage> routes = Collect<RouteMessage>(() => RouteMessage.Dump(Rtm.AF_INET6), RouteMessage.TryParse);
        routes.RemoveAll(r => r.IsCloned);
        return routes;
    }

    public List<AddressMessage> Addresses6() => Collect<AddressMessage>(() => AddressMessage.Dump(Rtm.AF_INET6), AddressMessage.TryParse);

    /// <summary>Without proxy entries.</summary>
    public List<NeighbourMessage> Neighbours6()
    {
        List<NeighbourMessage> neighbours = Collect<NeighbourMessage>(() => NeighbourMessage.Dump(Rtm.AF_INET6), NeighbourMessage.TryParse);
        neighbours.RemoveAll(n => n.IsProxy);
        return neighbours;
    }

    public List<NetConfMessage> NetConf6() => Collect<NetConfMessage>(() => NetConfMessage.Dump(Rtm.AF_INET6), NetConfMessage.TryParse);

    public List<NexthopMessage> Nexthops() => Collect<NexthopMessage>(NexthopMessage.Dump, NexthopMessage.TryParse);

    /// <summary>The buckets of all resilient groups.</summary>
    public List<NexthopBucketMessage> NexthopBuckets() => Collect<NexthopBucketMessage>(() => NexthopBucketMessage.Dump(0), NexthopBucketMessage.TryParse);

    /// <summary>Without proxy entries.</summary>
    public List<NeighbourMessage> Neighbours4()
    {
        List<NeighbourMessage> neighbours = Collect<NeighbourMessage>(() => NeighbourMessage.Dump(Rtm.AF_INET), NeighbourMessage.TryParse);
        neighbours.RemoveAll(n => n.IsProxy);
        return neighbours;
    }

    /// <summary>Including the entries "all" (-1) and "default" (-2).</summary>
    public List<NetConfMessage> NetConf4() => Collect<NetConfMessage>(() => NetConfMessage.Dump(Rtm.AF_INET), NetConfMessage.TryParse);

    /// <summary>The policy rules of a family, in the order in which the kernel asks them.</summary>
    public List<RuleMessage> Rules(byte family)
    {
        List<RuleMessage> rules = Collect<RuleMessage>(() => RuleMessage.Dump(family), RuleMessage.TryParse);
        rules.RemoveAll(r => r.Family != family);
        return rules;
    }

    public List<RuleMessage> Rules6() => Collect<RuleMessage>(() => RuleMessage.Dump(Rtm.AF_INET6), RuleMessage.TryParse);

    public List<QdiscMessage> Qdiscs() => Collect<QdiscMessage>(QdiscMessage.Dump, QdiscMessage.TryParse);

    /// <summary>Of one hook (TcFilter.IngressParent, EgressParent), in the order in which they are asked. An interface without clsact has none.</summary>
    public List<TcFilter> Filters(int ifindex, uint parent)
    {
        List<TcFilter> filters = Collect<TcFilter>(() => TcFilter.Dump(ifindex, parent), TcFilter.TryParse);
        filters.RemoveAll(f => f.Handle == 0); // the list that holds them
        return filters;
    }

    /// <summary>The route that the kernel would use, or the errno with which it would refuse the packet.</summary>
    public (int ErrorNumber, RouteMessage? Route) Route(RouteQuery query)
    {
        RouteMessage? route = null;
        int errno = _socket.Exchange(query.Request(), (scoped in NetlinkMessage m) => route = RouteMessage.TryParse(in m, out RouteMessage r) ? r : route);
        return (errno == 0 && route is null ? Errno.EPROTO : errno, route);
    }

    public void Dispose() => _socket.Dispose();

    private List<T> Collect<T>(Func<NetlinkRequest> request, Parser<T> parser)
    {
        List<T> items = [];
        _socket.DumpConsistently(request, items.Clear, (scoped in NetlinkMessage m) =>
            items.Add(parser(in m, out T? item) ? item! : throw new LinuxException(Errno.EPROTO, "netlink", $"message type {m.Type} cannot be understood")));
        return items;
    }
}
