using FastPathSync.CacheManager.Features.Interface;
using FastPathSync.Fpc;
using FastPathSync.Netlink;
using FastPathSync.Netlink.Rtnetlink;
using Google.Protobuf;
using Wire = FastPathSync.Fpc.Protocol;

namespace FastPathSync.CacheManager.Features.Route;

/// <summary>
/// IPv4 routes of all tables. The kernel may hold several of one identity (`ip route append`); the cache holds the first,
/// which is the one that the kernel uses and we publish, and the others behind it in the kernel's order.
/// </summary>
public sealed class RouteFeature : CachedFeature<RouteKey4, Route4>
{
    private const int KeptGateways = 4096;
    private readonly Cascade _cascade;
    private readonly InterfaceFeature _interfaces;
    private readonly Route6Feature _ipv6;
    private readonly Wire.RouteBatch _batch = new();
    private readonly List<Wire.RouteBatch.Types.Update> _spare = [];
    private readonly Dictionary<uint, ByteString> _gateways = [];
    private Dictionary<RouteKey4, List<Route4>> _behind = [];
    private readonly RoutePool<Route4> _pool;
    private int _used;

    /// <param name="ipv6">Takes the messages that are about IPv6.</param>
    public RouteFeature(Cascade cascade, InterfaceFeature interfaces, Route6Feature ipv6)
    {
        _ipv6 = ipv6;
        _cascade = cascade;
        _interfaces = interfaces;
        cascade.Routes += ApplyCascade;
        _pool = new RoutePool<Route4>(() => Cache.Values.Concat(_behind.Values.SelectMany(o => o)));
    }

    public override Wire.ObjectKind Kind => Wire.ObjectKind.Route;

    public override IReadOnlyList<int> Groups { get; } = [Rtm.RTNLGRP_IPV4_ROUTE];

    public override IReadOnlyList<ushort> MessageTypes { get; } = [Rtm.RTM_NEWROUTE, Rtm.RTM_DELROUTE];

    protected override FpcType BatchType => FpcType.Route;

    public override EventOutcome Apply(scoped in NetlinkMessage message)
    {
        if (!RouteMessage.TryParse(in message, out RouteMessage m))
        {
            return EventOutcome.Malformed;
        }

        if (m.Family == Rtm.AF_INET6)
        {
            return _ipv6.Apply(message.Type, message.Flags, in m);
        }

        if (m.Family != Rtm.AF_INET || m.IsCloned)
        {
            return EventOutcome.Ignored;
        }

        RouteKey4 key = RouteKey4.Of(in m);
        Route4 route = _pool.Share(Route4.Of(in m));
        _cascade.Apply();
        if (message.Type == Rtm.RTM_NEWROUTE)
        {
            Insert(key, route, message.Flags);
        }
        else
        {
            Delete(key, route);
        }

        return EventOutcome.Applied;
    }

    protected override void Dump(NetlinkSocket socket, Dictionary<RouteKey4, Route4> fresh)
    {
        Dictionary<RouteKey4, List<Route4>> behind = [];
        void Restart()
        {
            fresh.Clear();
            behind.Clear();
        }

        NetlinkDump.Run(socket, () => RouteMessage.Dump(Rtm.AF_INET), Restart, Urgent, (scoped in NetlinkMessage m) =>
        {
            if (!RouteMessage.TryParse(in m, out RouteMessage r))
            {
                throw NetlinkDump.Malformed(in m);
            }

            RouteKey4 key = RouteKey4.Of(in r);
            Route4 route = _pool.Share(Route4.Of(in r));
            if (!r.IsCloned && !fresh.TryAdd(key, route))
            {
                Others(behind, key).Add(route);
            }
        });
        _behind = behind;
    }

    protected override void AppendUpsert(RouteKey4 key, in Route4 value)
    {
        // Updates are reused: at a quarter of a million routes a second they would be most of the garbage.
        Wire.RouteBatch.Types.Update update;
        if (_used < _spare.Count)
        {
            update = _spare[_used];
        }
        else
        {
            update = new Wire.RouteBatch.Types.Update { Upsert = new Wire.Route { Key = new Wire.RouteKey() } };
            _spare.Add(update);
        }

        _used++;
        Wire.Route r = update.Upsert;
        r.Key.Table = key.Table;
        r.Key.Destination = key.Destination;
        r.Key.PrefixLength = key.Length;
        r.Key.Tos = key.Tos;
        r.Key.Metric = key.Metric;
        r.Type = value.Type;
        r.Protocol = value.Protocol;
        r.Scope = value.Scope;
        r.PreferredSource = value.PreferredSource;
        r.Mtu = value.Mtu;
        r.NexthopId = value.NexthopId;
        r.Flags = value.Flags;
        if (value.Multipath is RouteNexthop[] members)
        {
            r.Nexthops.Clear();
            foreach (RouteNexthop n in members)
            {
                r.Nexthops.Add(new Wire.RouteNexthop
                {
                    Ifindex = (uint)n.Index,
                    Gateway = n.Gateway.Length == 4 ? GatewayBytes(n.Gateway.V4) : ByteString.CopyFrom(n.Gateway.ToArray()),
                    Weight = n.Weight,
                    Flags = n.Flags,
                    Encap = n.Encap,
                });
            }
        }
        else if (value.Index == 0 && value.Gateway == 0)
        {
            r.Nexthops.Clear();
        }
        else
        {
            if (r.Nexthops.Count != 1)
            {
                r.Nexthops.Clear();
                r.Nexthops.Add(new Wire.RouteNexthop());
            }

            Wire.RouteNexthop n = r.Nexthops[0];
            n.Ifindex = (uint)value.Index;
            n.Gateway = value.Gateway == 0 ? ByteString.Empty : GatewayBytes(value.Gateway);
            n.Weight = 1;
            n.Flags = value.NexthopFlags;
            n.Encap = value.Encap;
        }

        _batch.Updates.Add(update);
    }

    protected override void AppendDelete(RouteKey4 key) => _batch.Updates.Add(new Wire.RouteBatch.Types.Update
    {
        Delete = new Wire.RouteKey
        {
            Table = key.Table,
            Destination = key.Destination,
            PrefixLength = key.Length,
            Tos = key.Tos,
            Metric = key.Metric,
        },
    });

    protected override IMessage Batch(ulong observedNs)
    {
        _batch.ObservedNs = observedNs;
        return _batch;
    }

    protected override void EmptyBatch()
    {
        _batch.Updates.Clear();
        _used = 0;
    }

    private static List<Route4> Others(Dictionary<RouteKey4, List<Route4>> behind, RouteKey4 key)
    {
        if (!behind.TryGetValue(key, out List<Route4>? others))
        {
            behind[key] = others = [];
        }

        return others;
    }

    /// <summary>fib_table_insert (net/ipv4/fib_trie.c): replace the first, append behind the last, or stand before the first.</summary>
    private void Insert(RouteKey4 key, Route4 route, ushort flags)
    {
        if (!Cache.TryGetValue(key, out Route4? first) || first.IsSame(route))
        {
            Put(key, route);
            return;
        }

        if (_behind.TryGetValue(key, out List<Route4>? others))
        {
            int same = others.FindIndex(o => o.IsSame(route));
            if (same >= 0)
            {
                others[same] = route; // an event older than the dump, or a nexthop object's change announced for all its routes
                return;
            }
        }

        if ((flags & Nlm.NLM_F_REPLACE) != 0)
        {
            Put(key, route);
        }
        else if ((flags & Nlm.NLM_F_APPEND) != 0)
        {
            Others(_behind, key).Add(route);
        }
        else
        {
            Others(_behind, key).Insert(0, first);
            Put(key, route);
        }
    }

    private void Delete(RouteKey4 key, Route4 route)
    {
        if (!Cache.TryGetValue(key, out Route4? first))
        {
            return;
        }

        if (first.IsSame(route))
        {
            RemoveFirst(key);
            return;
        }

        int i = _behind.TryGetValue(key, out List<Route4>? others) ? others.FindIndex(o => o.IsSame(route)) : -1;
        if (i < 0)
        {
            _cascade.Doubt(); // an event older than the dump, or something we don't understand
            return;
        }

        others!.RemoveAt(i);
        if (others.Count == 0)
        {
            _behind.Remove(key);
        }
    }

    private void RemoveFirst(RouteKey4 key)
    {
        if (!_behind.TryGetValue(key, out List<Route4>? others))
        {
            Remove(key);
            return;
        }

        Route4 next = others[0];
        others.RemoveAt(0);
        if (others.Count == 0)
        {
            _behind.Remove(key);
        }

        Put(key, next);
    }

    private void ApplyCascade()
    {
        foreach (RouteKey4 key in _behind.Keys.ToList())
        {
            List<Route4> left = [.. _behind[key].Select(r => Aftermath(key, r)).OfType<Route4>()];
            _behind[key] = left;
            if (left.Count == 0)
            {
                _behind.Remove(key);
            }
        }

        List<(RouteKey4 Key, Route4? After)> changes = [];
        foreach ((RouteKey4 key, Route4 route) in Cache)
        {
            Route4? after = Aftermath(key, route);
            if (!ReferenceEquals(after, route))
            {
                changes.Add((key, after));
            }
        }

        foreach ((RouteKey4 key, Route4? after) in changes)
        {
            if (after is not null)
            {
                Put(key, after);
            }
            else
            {
                RemoveFirst(key);
            }
        }
    }

    /// <summary>What the causes noted in the cascade leave of a route: itself, itself with dead ways, or null.</summary>
    private Route4? Aftermath(RouteKey4 key, Route4 r)
    {
        // fib_sync_down_addr looks only at the main table (VRF devices have their own).
        if (r.PreferredSource != 0 && key.Table == RouteConstants.RT_TABLE_MAIN && _cascade.DeadAddresses.Contains(r.PreferredSource))
        {
            return null;
        }

        if (r.NexthopId != 0)
        {
            return _cascade.DeadNexthops.Contains(r.NexthopId) ? null : r;
        }

        if (r.Multipath is RouteNexthop[] members)
        {
            return AftermathOfMultipath(r, members);
        }

        if (r.Index == 0)
        {
            return r;
        }

        if (IsDead(r.Index, r.Scope))
        {
            return null;
        }

        if (!LosesLink(r.Index, r.Scope))
        {
            return r;
        }

        byte lost = LinkDownFlags(r.Index);
        return _pool.Share(r with { NexthopFlags = (byte)(r.NexthopFlags | lost), Flags = r.Flags | lost });
    }

    private Route4? AftermathOfMultipath(Route4 r, RouteNexthop[] members)
    {
        const byte DeadFlags = RouteConstants.RTNH_F_DEAD | RouteConstants.RTNH_F_LINKDOWN;
        RouteNexthop[]? changed = null;
        bool alive = false;
        for (int i = 0; i < members.Length; i++)
        {
            RouteNexthop n = members[i];
            if (_cascade.Gone.Contains(n.Index))
            {
                return null; // NETDEV_UNREGISTER takes the whole route
            }

            byte flags = IsDead(n.Index, r.Scope) ? DeadFlags
                : LosesLink(n.Index, r.Scope) ? LinkDownFlags(n.Index)
                : (byte)0;
            alive |= !IsDead(n.Index, r.Scope) && ((n.Flags & RouteConstants.RTNH_F_DEAD) == 0 || _interfaces.IsUp(n.Index));
            if ((n.Flags | flags) != n.Flags)
            {
                changed ??= [.. members];
                changed[i] = n with { Flags = (byte)(n.Flags | flags) };
            }
        }

        return !alive ? null : changed is null ? r : _pool.Share(r with { Multipath = changed });
    }

    private bool IsDead(int index, byte scope) =>
        _cascade.Down.Contains(index) && (scope != RouteConstants.RT_SCOPE_HOST || _cascade.Unaddressed.Contains(index) || _cascade.Gone.Contains(index));

    private bool LosesLink(int index, byte scope) => scope != RouteConstants.RT_SCOPE_HOST && _cascade.LinkDown.Contains(index);

    /// <summary>fib_nexthop_info shows a nexthop without link as dead where the interface ignores such routes.</summary>
    private byte LinkDownFlags(int index) => (byte)(_interfaces.IgnoresRoutesWithLinkDown(index)
        ? RouteConstants.RTNH_F_LINKDOWN | RouteConstants.RTNH_F_DEAD
        : RouteConstants.RTNH_F_LINKDOWN);

    private ByteString GatewayBytes(uint gateway)
    {
        if (!_gateways.TryGetValue(gateway, out ByteString? bytes))
        {
            if (_gateways.Count >= KeptGateways)
            {
                _gateways.Clear();
            }

            bytes = ByteString.CopyFrom(InetAddress.FromV4(gateway).ToArray());
            _gateways[gateway] = bytes;
        }

        return bytes;
    }
}
