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
public sealed class RouteFeature : RouteCache<RouteKey4, Route4>
{
    private const int KeptGateways = 4096;
    private readonly Cascade _cascade;
    private readonly InterfaceFeature _interfaces;
    private readonly Route6Feature _ipv6;
    private readonly Wire.RouteBatch _batch = new();
    private readonly Dictionary<(uint Table, byte Tos, uint Metric), uint> _deleted = [];
    private readonly ColumnBytes _upsertLengths = new(), _deleteLengths = new();
    private readonly Dictionary<uint, ByteString> _gateways = [];
    private Dictionary<RouteKey4, List<Route4>> _behind = [];
    private Dictionary<RouteKey4, List<Route4>> _behindOfDump = [];

    /// <param name="ipv6">Takes the messages that are about IPv6.</param>
    public RouteFeature(Cascade cascade, InterfaceFeature interfaces, Route6Feature ipv6)
    {
        _ipv6 = ipv6;
        _cascade = cascade;
        _interfaces = interfaces;
        cascade.Routes += ApplyCascade;
    }

    public override Wire.ObjectKind Kind => Wire.ObjectKind.Route;

    public override IReadOnlyList<int> Groups { get; } = [Rtm.RTNLGRP_IPV4_ROUTE];

    public override IReadOnlyList<ushort> MessageTypes { get; } = [Rtm.RTM_NEWROUTE, Rtm.RTM_DELROUTE];

    protected override FpcType BatchType => FpcType.Route;

    public override EventOutcome Apply(scoped in NetlinkMessage message)
    {
        if (message.Payload.Length > 0 && message.Payload[0] == Rtm.AF_INET6)
        {
            return _ipv6.Apply(in message);
        }

        if (!TryParse(in message, out RouteKey4 key, out int route))
        {
            return EventOutcome.Malformed;
        }

        if (route < 0)
        {
            return EventOutcome.Ignored;
        }

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

    protected override void Dump(NetlinkSocket socket)
    {
        Dictionary<RouteKey4, List<Route4>> behind = [];
        void Restart()
        {
            DumpBegins();
            behind.Clear();
        }

        NetlinkDump.Run(socket, () => RouteMessage.Dump(Rtm.AF_INET), Restart, Urgent, (scoped in NetlinkMessage m) =>
        {
            if (!TryParse(in m, out RouteKey4 key, out int route))
            {
                throw NetlinkDump.Malformed(in m);
            }

            if (route >= 0 && !NoteDumped(key, route) && !IsRepeated(behind, key, route))
            {
                Others(behind, key).Add(BodyOf(route));
            }
        });
        _behindOfDump = behind;
    }

    protected override void Dumped()
    {
        _behind = _behindOfDump;
        _behindOfDump = [];
    }

    protected override void AppendUpsert(in RouteKey4 key, int body)
    {
        Wire.RouteColumns c = _batch.Upserts ??= new Wire.RouteColumns();
        uint column = ColumnOf(body, out bool added);
        if (added)
        {
            c.Bodies.Add(Body(BodyOf(body)));
        }

        c.Destinations.Add(key.Destination);
        c.Body.Add(column);
        _upsertLengths.Add(key.Length);
    }

    protected override void AppendDelete(in RouteKey4 key)
    {
        Wire.RouteColumns c = _batch.Deletes ??= new Wire.RouteColumns();
        if (!_deleted.TryGetValue((key.Table, key.Tos, key.Metric), out uint column))
        {
            column = (uint)c.Bodies.Count;
            c.Bodies.Add(new Wire.Route { Key = new Wire.RouteKey { Table = key.Table, Tos = key.Tos, Metric = key.Metric } });
            _deleted[(key.Table, key.Tos, key.Metric)] = column;
        }

        c.Destinations.Add(key.Destination);
        c.Body.Add(column);
        _deleteLengths.Add(key.Length);
    }

    protected override IMessage Batch(ulong observedNs)
    {
        _batch.ObservedNs = observedNs;
        if (_batch.Upserts is Wire.RouteColumns upserts)
        {
            upserts.PrefixLengths = _upsertLengths.Bytes;
        }

        if (_batch.Deletes is Wire.RouteColumns deletes)
        {
            deletes.PrefixLengths = _deleteLengths.Bytes;
        }

        return _batch;
    }

    protected override void EmptyBatch()
    {
        _batch.Upserts = null;
        _batch.Deletes = null;
        _deleted.Clear();
        _upsertLengths.Clear();
        _deleteLengths.Clear();
    }

    private Wire.Route Body(Route4 value)
    {
        Wire.Route r = new()
        {
            Key = new Wire.RouteKey { Table = value.Table, Tos = value.Tos, Metric = value.Metric },
            Type = value.Type,
            Protocol = value.Protocol,
            Scope = value.Scope,
            PreferredSource = value.PreferredSource,
            Mtu = value.Mtu,
            NexthopId = value.NexthopId,
            Flags = value.Flags,
        };
        if (value.Multipath is RouteNexthop[] members)
        {
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
        else if (value.Index != 0 || value.Gateway != 0)
        {
            r.Nexthops.Add(new Wire.RouteNexthop
            {
                Ifindex = (uint)value.Index,
                Gateway = value.Gateway == 0 ? ByteString.Empty : GatewayBytes(value.Gateway),
                Weight = 1,
                Flags = value.NexthopFlags,
                Encap = value.Encap,
            });
        }

        return r;
    }

    /// <param name="route">The number of its body, -1 when it is none of ours.</param>
    private bool TryParse(scoped in NetlinkMessage message, out RouteKey4 key, out int route)
    {
        RouteMemo? memo = Memo;
        RouteMemo.Masked masked = default;
        bool memoized = memo is not null && RouteMemo.TryMask(in message, out masked);
        if (memoized && memo!.TryGet(in masked, out RouteMemo.Known known))
        {
            key = new RouteKey4(known.Table, (uint)masked.Low, known.Metric, masked.PrefixLength, known.Tos);
            route = known.Body;
            return true;
        }

        key = default;
        route = -1;
        if (!RouteMessage.TryParse(in message, out RouteMessage m))
        {
            return false;
        }

        if (m.Family == Rtm.AF_INET && !m.IsCloned)
        {
            key = RouteKey4.Of(in m);
            route = Share(Route4.Of(in m));
            if (memoized)
            {
                memo!.Note(in masked, new RouteMemo.Known(key.Table, key.Metric, route, key.Tos));
            }
        }

        return true;
    }

    /// <summary>
    /// Two that are the same can't be (EEXIST in fib_table_insert): the dump has told one twice, as it does when it was resumed in the midst
    /// of a leaf into which another was put meanwhile (fn_trie_dump_leaf counts them).
    /// </summary>
    private bool IsRepeated(Dictionary<RouteKey4, List<Route4>> behind, RouteKey4 key, int number)
    {
        Route4 route = BodyOf(number);
        return (TryGet(key, out Route4? first) && first.IsSame(route)) || (behind.TryGetValue(key, out List<Route4>? others) && others.Exists(o => o.IsSame(route)));
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
    private void Insert(RouteKey4 key, int number, ushort flags)
    {
        if (!TryGet(key, out int firstNumber) || firstNumber == number)
        {
            Put(key, number);
            return;
        }

        Route4 first = BodyOf(firstNumber), route = BodyOf(number);
        if (first.IsSame(route))
        {
            Put(key, number);
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
            Put(key, number);
        }
        else if ((flags & Nlm.NLM_F_APPEND) != 0)
        {
            Others(_behind, key).Add(route);
        }
        else
        {
            Others(_behind, key).Insert(0, first);
            Put(key, number);
        }
    }

    private void Delete(RouteKey4 key, int number)
    {
        if (!TryGet(key, out int firstNumber))
        {
            return;
        }

        Route4 route = BodyOf(number);
        if (firstNumber == number || BodyOf(firstNumber).IsSame(route))
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
        if (_behind.Count == 0 || !_behind.TryGetValue(key, out List<Route4>? others))
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
            List<Route4> left = [.. _behind[key].Select(Aftermath).OfType<Route4>()];
            _behind[key] = left;
            if (left.Count == 0)
            {
                _behind.Remove(key);
            }
        }

        foreach ((RouteKey4 key, Route4? after) in Changes(Aftermath))
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
    private Route4? Aftermath(Route4 r)
    {
        // fib_sync_down_addr looks only at the main table (VRF devices have their own).
        if (r.PreferredSource != 0 && r.Table == RouteConstants.RT_TABLE_MAIN && _cascade.DeadAddresses.Contains(r.PreferredSource))
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
        // With the same flags as before it is no other route.
        return r.NexthopFlags == (r.NexthopFlags | lost) && r.Flags == (r.Flags | lost) ? r : r with { NexthopFlags = (byte)(r.NexthopFlags | lost), Flags = r.Flags | lost };
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

        return !alive ? null : changed is null ? r : r with { Multipath = changed };
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
