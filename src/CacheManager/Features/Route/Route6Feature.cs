using FastPathSync.CacheManager.Features.Interface;
using FastPathSync.Fpc;
using FastPathSync.Linux;
using FastPathSync.Netlink;
using FastPathSync.Netlink.Rtnetlink;
using Google.Protobuf;
using Wire = FastPathSync.Fpc.Protocol;

namespace FastPathSync.CacheManager.Features.Route;

/// <summary>
/// IPv6 routes of all tables. Linux may hold several of one identity (destination, source, table and metric): those with a
/// gateway are siblings, one multipath route, which every event says whole; the others stand behind one another
/// (fib6_add_rt2node in net/ipv6/ip6_fib.c). The cache holds the first, and the others behind it.
/// </summary>
public sealed class Route6Feature : RouteCache<RouteKey6, Route6>
{
    /// <summary>What would expire within this is withdrawn: SyncEngine asks once a second, and the answer takes a while.</summary>
    private const ulong ExpiryMargin = 1_500_000_000;

    /// <summary>In _expiry, for a time that is over.</summary>
    private const ulong Expired = 0;

    private const int ExpiredAskedEvery = 10;

    private readonly Cascade _cascade;
    private readonly Route6Survivors _survivors;
    private readonly Wire.Route6Batch _batch = new();
    private readonly Dictionary<(uint Table, int Source, uint Metric), uint> _deleted = [];
    private readonly ColumnBytes _upsertLengths = new(), _deleteLengths = new();

    /// <summary>Source prefixes of subtrees by their numbers in RouteKey6; 0 is none.</summary>
    private readonly List<SourcePrefix> _sources = [new SourcePrefix(0, 0, 0)];
    private readonly Dictionary<SourcePrefix, int> _sourceNumbers = [];
    private Dictionary<RouteKey6, List<Route6>> _behind = [];
    private Dictionary<RouteKey6, ulong> _expiry = [];
    private Dictionary<RouteKey6, List<Route6>> _behindOfDump = [];
    private Dictionary<RouteKey6, ulong> _expiryOfDump = [];

    /// <summary>Identities whose siblings were seen to have attributes of their own, which a dump doesn't show; true: such that matter.</summary>
    private readonly Dictionary<RouteKey6, bool> _mixed = [];
    private int _asked;

    public Route6Feature(Cascade cascade, InterfaceFeature interfaces)
    {
        _cascade = cascade;
        _survivors = new Route6Survivors(cascade, interfaces);
        cascade.Routes += ApplyCascade;
    }

    public override Wire.ObjectKind Kind => Wire.ObjectKind.Route6;

    public override IReadOnlyList<int> Groups { get; } = [Rtm.RTNLGRP_IPV6_ROUTE];

    /// <summary>Messages of both families come to RouteFeature, which hands ours on.</summary>
    public override IReadOnlyList<ushort> MessageTypes { get; } = [];

    protected override FpcType BatchType => FpcType.Route6;

    public override EventOutcome Apply(scoped in NetlinkMessage message)
    {
        if (!TryParse(in message, out RouteKey6 key, out int number, out int? expiresIn))
        {
            return EventOutcome.Malformed;
        }

        if (number < 0)
        {
            return EventOutcome.Ignored;
        }

        _cascade.Apply();
        if (message.Type == Rtm.RTM_NEWROUTE)
        {
            if (_expiry.Count > 0 && _expiry.TryGetValue(key, out ulong at) && at == Expired)
            {
                Touch(key);
            }

            NoteExpiry(_expiry, key, expiresIn);
            Insert(key, number, message.Flags);
        }
        else
        {
            Delete(key, number);
        }

        return EventOutcome.Applied;
    }

    /// <summary>
    /// Routes with a lifetime (of router advertisements) that ends now. Renewals are silent, so the kernel has to be asked
    /// before; Linux itself doesn't use an expired route, and announces its end up to half a minute later (fib6_run_gc).
    /// </summary>
    public bool IsAnyExpiring()
    {
        ulong soon = MonotonicClock.Nanoseconds + ExpiryMargin;
        bool askExpired = ++_asked % ExpiredAskedEvery == 0; // an advertisement may have revived them
        foreach (ulong at in _expiry.Values)
        {
            if (at == Expired ? askExpired : at <= soon)
            {
                return true;
            }
        }

        return false;
    }

    /// <summary>A refresh has asked: what is still about to end is published as expired.</summary>
    public void WithdrawExpired()
    {
        ulong soon = MonotonicClock.Nanoseconds + ExpiryMargin;
        foreach ((RouteKey6 key, ulong at) in _expiry.ToList())
        {
            if (at != Expired && at <= soon)
            {
                _expiry[key] = Expired;
                Touch(key);
            }
        }
    }

    protected override void Dump(NetlinkSocket socket)
    {
        Dictionary<RouteKey6, List<Route6>> behind = [];
        Dictionary<RouteKey6, ulong> expiry = [];
        void Restart()
        {
            DumpBegins();
            behind.Clear();
            expiry.Clear();
        }

        NetlinkDump.Run(socket, () => RouteMessage.Dump(Rtm.AF_INET6), Restart, Urgent, (scoped in NetlinkMessage m) =>
        {
            if (!TryParse(in m, out RouteKey6 key, out int route, out int? expiresIn))
            {
                throw NetlinkDump.Malformed(in m);
            }

            if (route < 0)
            {
                return;
            }

            NoteExpiry(expiry, key, expiresIn);
            if (!NoteDumped(key, route))
            {
                Others(behind, key).Add(BodyOf(route));
            }
        });
        _behindOfDump = behind;
        _expiryOfDump = expiry;
    }

    protected override void Dumped()
    {
        (Dictionary<RouteKey6, List<Route6>> behind, Dictionary<RouteKey6, ulong> expiry) = (_behindOfDump, _expiryOfDump);
        (_behindOfDump, _expiryOfDump) = ([], []);
        KeepHidden(behind);
        foreach (RouteKey6 key in _behind.Keys.Union(behind.Keys).Where(k => _behind.ContainsKey(k) != behind.ContainsKey(k)))
        {
            Touch(key);
        }

        foreach (RouteKey6 key in _expiry.Union(expiry).Where(e => e.Value == Expired).Select(e => e.Key))
        {
            Touch(key);
        }

        _behind = behind;
        _expiry = expiry;
        foreach (RouteKey6 key in _mixed.Keys.Where(k => !TryGet(k, out int _)).ToList())
        {
            _mixed.Remove(key);
        }
    }

    protected override void AppendUpsert(in RouteKey6 key, int body)
    {
        Route6 value = BodyOf(body);
        bool ambiguous = (_behind.Count > 0 && _behind.ContainsKey(key)) || (_mixed.Count > 0 && value.IsMultipath && _mixed.GetValueOrDefault(key));
        bool expired = _expiry.Count > 0 && _expiry.TryGetValue(key, out ulong at) && at == Expired;
        if (ambiguous || expired || key.Source != 0)
        {
            Wire.Route6 r = Body(value);
            r.Key = Identity(key);
            r.Ambiguous = ambiguous;
            r.Expired = expired;
            _batch.Updates.Add(new Wire.Route6Batch.Types.Update { Upsert = r });
            return;
        }

        Wire.Route6Columns c = _batch.Upserts ??= new Wire.Route6Columns();
        uint column = ColumnOf(body, out bool added);
        if (added)
        {
            c.Bodies.Add(Body(value));
        }

        AppendRow(c, key, column, _upsertLengths);
    }

    protected override void AppendDelete(in RouteKey6 key)
    {
        Wire.Route6Columns c = _batch.Deletes ??= new Wire.Route6Columns();
        if (!_deleted.TryGetValue((key.Table, key.Source, key.Metric), out uint column))
        {
            column = (uint)c.Bodies.Count;
            Wire.Route6Key identity = Identity(key);
            identity.DestinationHigh = identity.DestinationLow = identity.PrefixLength = 0;
            c.Bodies.Add(new Wire.Route6 { Key = identity });
            _deleted[(key.Table, key.Source, key.Metric)] = column;
        }

        AppendRow(c, key, column, _deleteLengths);
    }

    protected override IMessage Batch(ulong observedNs)
    {
        _batch.ObservedNs = observedNs;
        if (_batch.Upserts is Wire.Route6Columns upserts)
        {
            upserts.PrefixLengths = _upsertLengths.Bytes;
        }

        if (_batch.Deletes is Wire.Route6Columns deletes)
        {
            deletes.PrefixLengths = _deleteLengths.Bytes;
        }

        return _batch;
    }

    protected override void EmptyBatch()
    {
        _batch.Updates.Clear();
        _batch.Upserts = null;
        _batch.Deletes = null;
        _deleted.Clear();
        _upsertLengths.Clear();
        _deleteLengths.Clear();
    }

    private static void AppendRow(Wire.Route6Columns c, in RouteKey6 key, uint column, ColumnBytes lengths)
    {
        if (key.Low != 0 && c.DestinationsLow.Count == 0)
        {
            for (int i = 0; i < c.DestinationsHigh.Count; i++)
            {
                c.DestinationsLow.Add(0);
            }
        }

        if (key.Low != 0 || c.DestinationsLow.Count > 0)
        {
            c.DestinationsLow.Add(key.Low);
        }

        c.DestinationsHigh.Add(key.High);
        c.Body.Add(column);
        lengths.Add(key.Length);
    }

    private static Wire.Route6 Body(Route6 value)
    {
        Wire.Route6 r = new()
        {
            Key = new Wire.Route6Key { Table = value.Table, Metric = value.Metric },
            Type = value.Type,
            Protocol = value.Protocol,
            Preference = value.Preference,
            Mtu = value.Mtu,
            MtuLocked = value.MtuLocked,
            NexthopId = value.NexthopId,
            Flags = value.Flags,
        };
        if (!value.PreferredSource.IsNone)
        {
            r.PreferredSource = ByteString.CopyFrom(value.PreferredSource.ToArray());
        }

        foreach (RouteNexthop n in value.Ways)
        {
            r.Nexthops.Add(new Wire.RouteNexthop
            {
                Ifindex = (uint)n.Index,
                Gateway = n.Gateway.IsNone ? ByteString.Empty : ByteString.CopyFrom(n.Gateway.ToArray()),
                Weight = n.Weight,
                Flags = n.Flags,
                Encap = n.Encap,
            });
        }

        return r;
    }

    private Wire.Route6Key Identity(in RouteKey6 key)
    {
        SourcePrefix source = _sources[key.Source];
        return new Wire.Route6Key
        {
            Table = key.Table,
            DestinationHigh = key.High,
            DestinationLow = key.Low,
            PrefixLength = key.Length,
            SourceHigh = source.High,
            SourceLow = source.Low,
            SourceLength = source.Length,
            Metric = key.Metric,
        };
    }

    /// <param name="route">The number of its body, -1 when it is none of ours.</param>
    private bool TryParse(scoped in NetlinkMessage message, out RouteKey6 key, out int route, out int? expiresIn)
    {
        RouteMemo? memo = Memo;
        RouteMemo.Masked masked = default;
        bool memoized = memo is not null && RouteMemo.TryMask(in message, out masked);
        expiresIn = null;
        if (memoized && memo!.TryGet(in masked, out RouteMemo.Known known))
        {
            key = new RouteKey6(masked.High, masked.Low, known.Table, known.Metric, 0, masked.PrefixLength);
            route = known.Body;
            return true;
        }

        key = default;
        route = -1;
        if (!RouteMessage.TryParse(in message, out RouteMessage m))
        {
            return false;
        }

        if (m.Family == Rtm.AF_INET6 && !m.IsCloned)
        {
            key = new RouteKey6(m.Destination.High, m.Destination.Low, m.Table, m.Priority, SourceOf(in m), m.PrefixLength);
            route = Share(Route6.Of(in m));
            expiresIn = m.ExpiresIn;
            if (memoized && expiresIn is null && key.Source == 0)
            {
                memo!.Note(in masked, new RouteMemo.Known(key.Table, key.Metric, route, 0));
            }
        }

        return true;
    }

    private int SourceOf(in RouteMessage m)
    {
        if (m.SourceLength == 0)
        {
            return 0;
        }

        SourcePrefix source = new(m.Source.High, m.Source.Low, m.SourceLength);
        if (!_sourceNumbers.TryGetValue(source, out int number))
        {
            _sourceNumbers[source] = number = _sources.Count;
            _sources.Add(source);
        }

        return number;
    }

    private static List<Route6> Others(Dictionary<RouteKey6, List<Route6>> behind, RouteKey6 key)
    {
        if (!behind.TryGetValue(key, out List<Route6>? others))
        {
            behind[key] = others = [];
        }

        return others;
    }

    private static void NoteExpiry(Dictionary<RouteKey6, ulong> expiry, RouteKey6 key, int? seconds)
    {
        if (seconds is int s)
        {
            expiry[key] = s < 0 ? Expired : MonotonicClock.Nanoseconds + ((ulong)s * 1_000_000_000);
        }
        else
        {
            expiry.Remove(key);
        }
    }

    /// <summary>A dump leaves out what stands between siblings (fib6_dump_node skips to the last of them).</summary>
    private void KeepHidden(Dictionary<RouteKey6, List<Route6>> behind)
    {
        foreach ((RouteKey6 key, List<Route6> others) in _behind)
        {
            if (!TryGet(key, out Route6? first) || !(first.IsMultipath || (behind.TryGetValue(key, out List<Route6>? b) && b.Exists(o => o.IsMultipath))))
            {
                continue;
            }

            foreach (Route6 o in others)
            {
                if (!o.MayBeSibling && !o.SameWays(first) && !Others(behind, key).Exists(x => x.SameWays(o)))
                {
                    behind[key].Add(o);
                }
            }

            if (behind.TryGetValue(key, out List<Route6>? kept) && kept.Count == 0)
            {
                behind.Remove(key);
            }
        }
    }

    private void Insert(RouteKey6 key, int number, ushort flags)
    {
        if (!TryGet(key, out int firstNumber))
        {
            _mixed.Remove(key);
            Put(key, number);
            return;
        }

        Route6 first = BodyOf(firstNumber), route = BodyOf(number);
        bool replaces = (flags & Nlm.NLM_F_REPLACE) != 0;
        if (first.SameWays(route) || (replaces && !_behind.ContainsKey(key)))
        {
            // An event older than the dump, a nexthop object's change announced for all its routes, or `ip route replace`.
            if (replaces)
            {
                _mixed.Remove(key);
                Put(key, number);
            }
            else
            {
                PutInOrder(key, first, number);
            }

            return;
        }

        if (replaces)
        {
            _cascade.Doubt6(); // of several, one was replaced: the order decides which, and a dump doesn't show all of them
            Put(key, number);
            return;
        }

        if (!route.IsMultipath)
        {
            List<Route6> others = Others(_behind, key);
            if (!others.Exists(o => o.SameWays(route)))
            {
                others.Add(route);
            }

            Touch(key);
            return;
        }

        // A sibling was added: the event tells all siblings, with the attributes of the new one.
        if (route.Holds(first))
        {
            Put(key, Joined(key, first, route));
        }
        else if (_behind.TryGetValue(key, out List<Route6>? others) && others.FindIndex(route.Holds) is int i and >= 0)
        {
            others[i] = Joined(key, others[i], route);
            Touch(key);
        }
        else
        {
            _cascade.Doubt6();
            Put(key, number);
        }
    }

    private Route6 Joined(RouteKey6 key, Route6 first, Route6 siblings)
    {
        if (!first.SameAttributes(siblings))
        {
            _mixed[key] = _mixed.GetValueOrDefault(key) || first.Mtu != siblings.Mtu || first.MtuLocked != siblings.MtuLocked || first.Type != siblings.Type;
        }

        return first.With(siblings.BeginningWith(first.Ways[0]).Ways);
    }

    /// <summary>What stood before all its siblings still does.</summary>
    private void PutInOrder(RouteKey6 key, Route6 known, int number)
    {
        Route6 route = BodyOf(number), ordered = route.IsMultipath ? route.BeginningWith(known.Ways[0]) : route;
        if (ReferenceEquals(route, ordered))
        {
            Put(key, number);
        }
        else
        {
            Put(key, ordered);
        }
    }

    private void Delete(RouteKey6 key, int number)
    {
        if (!TryGet(key, out Route6? first))
        {
            return;
        }

        Route6 route = BodyOf(number);

        _behind.TryGetValue(key, out List<Route6>? others);
        if (first.SameWays(route))
        {
            RemoveFirst(key);
        }
        else if (others?.FindIndex(route.SameWays) is int same and >= 0)
        {
            RemoveBehind(key, others, same);
        }
        else if (first.Holds(route))
        {
            Put(key, first.Without(route));
            DoubtOrder(key);
        }
        else if (others?.FindIndex(o => o.Holds(route)) is int i and >= 0)
        {
            others[i] = others[i].Without(route);
            DoubtOrder(key);
            Touch(key);
        }
        else
        {
            _cascade.Doubt6(); // an event older than the dump, or something we don't understand
        }
    }

    /// <summary>The first sibling may have gone: then others' attributes show, or another route stands before the siblings.</summary>
    private void DoubtOrder(RouteKey6 key)
    {
        if (_mixed.ContainsKey(key) || _behind.ContainsKey(key))
        {
            _cascade.Doubt6();
        }
    }

    private void RemoveBehind(RouteKey6 key, List<Route6> others, int i)
    {
        others.RemoveAt(i);
        if (others.Count == 0)
        {
            _behind.Remove(key);
            Touch(key);
        }
    }

    private void RemoveFirst(RouteKey6 key)
    {
        _mixed.Remove(key);
        if (!_behind.TryGetValue(key, out List<Route6>? others))
        {
            _expiry.Remove(key);
            Remove(key);
            return;
        }

        Route6 next = others[0];
        RemoveBehind(key, others, 0);
        Put(key, next);
        Touch(key);
    }

    private void ApplyCascade()
    {
        foreach (RouteKey6 key in _behind.Keys.ToList())
        {
            List<Route6> others = _behind[key];
            for (int i = others.Count - 1; i >= 0; i--)
            {
                if (_survivors.Of(others[i]) is Route6 left)
                {
                    others[i] = left;
                }
                else
                {
                    RemoveBehind(key, others, i);
                }
            }
        }

        foreach ((RouteKey6 key, Route6? left) in Changes(_survivors.Of))
        {
            if (left is null)
            {
                RemoveFirst(key);
            }
            else
            {
                Put(key, left);
            }
        }
    }
}
