using FastPathSync.Fpc;
using FastPathSync.Linux;
using FastPathSync.Netlink;
using FastPathSync.Netlink.Rtnetlink;
using Google.Protobuf;
using Wire = FastPathSync.Fpc.Protocol;

namespace FastPathSync.CacheManager.Features.Nexthop;

/// <summary>
/// Nexthop objects and groups. A nexthop dies with its interface or its carrier, a group with its last member. Of resilient
/// groups the buckets are mirrored: the kernel says which have moved, but not where they lead when a group is made or
/// replaced, so they are dumped after each burst that touched the group.
/// </summary>
public sealed class NexthopFeature : CachedFeature<uint, Wire.Nexthop>
{
    private readonly Cascade _cascade;
    private readonly Wire.NexthopBatch _batch = new();
    private readonly HashSet<uint> _moved = []; // resilient groups whose buckets are to be asked for

    public NexthopFeature(Cascade cascade)
    {
        _cascade = cascade;
        cascade.Nexthops = ApplyCascade;
    }

    public override Wire.ObjectKind Kind => Wire.ObjectKind.Nexthop;

    public override IReadOnlyList<int> Groups { get; } = [Rtm.RTNLGRP_NEXTHOP];

    public override IReadOnlyList<ushort> MessageTypes { get; } = [Rtm.RTM_NEWNEXTHOP, Rtm.RTM_DELNEXTHOP, Rtm.RTM_NEWNEXTHOPBUCKET];

    protected override FpcType BatchType => FpcType.Nexthop;

    public override EventOutcome Apply(scoped in NetlinkMessage message)
    {
        if (message.Type == Rtm.RTM_NEWNEXTHOPBUCKET)
        {
            return NoteBucket(in message);
        }

        if (!NexthopMessage.TryParse(in message, out NexthopMessage? m))
        {
            return EventOutcome.Malformed;
        }

        if (message.Type == Rtm.RTM_NEWNEXTHOP)
        {
            _cascade.Apply(); // the routes of an older object of this id are gone
            PutWithBuckets(m);
        }
        else if (Remove(m.Id))
        {
            _cascade.DeadNexthops.Add(m.Id);
        }

        return EventOutcome.Applied;
    }

    public override void Complete(NetlinkSocket socket)
    {
        foreach (uint group in _moved.Where(Cache.ContainsKey).ToList())
        {
            Wire.Nexthop whole = Cache[group].Clone();
            if (TryDumpBuckets(socket, group, new Dictionary<uint, Wire.Nexthop> { [group] = whole }))
            {
                Put(group, whole);
            }
        }

        _moved.Clear();
    }

    protected override void Dump(NetlinkSocket socket, Dictionary<uint, Wire.Nexthop> fresh)
    {
        NetlinkDump.Run(socket, NexthopMessage.Dump, fresh.Clear, Urgent, (scoped in NetlinkMessage m) =>
        {
            NexthopMessage n = NexthopMessage.TryParse(in m, out NexthopMessage? parsed) ? parsed : throw NetlinkDump.Malformed(in m);
            fresh[n.Id] = ToWire(n);
        });
        if (fresh.Values.Any(IsResilient))
        {
            _ = TryDumpBuckets(socket, 0, fresh);
        }

        _moved.Clear();
    }

    protected override void AppendUpsert(uint key, in Wire.Nexthop value) =>
        _batch.Updates.Add(new Wire.NexthopBatch.Types.Update { Upsert = value });

    protected override void AppendDelete(uint key) =>
        _batch.Updates.Add(new Wire.NexthopBatch.Types.Update { Delete = new Wire.NexthopKey { Id = key } });

    protected override IMessage Batch(ulong observedNs)
    {
        _batch.ObservedNs = observedNs;
        return _batch;
    }

    protected override void EmptyBatch() => _batch.Updates.Clear();

    private static bool IsResilient(Wire.Nexthop n) => n.GroupType == NexthopConstants.NEXTHOP_GRP_TYPE_RES && n.Members.Count > 0;

    private void PutWithBuckets(NexthopMessage m)
    {
        Wire.Nexthop w = ToWire(m);
        if (IsResilient(w))
        {
            if (Cache.TryGetValue(m.Id, out Wire.Nexthop? before))
            {
                w.Buckets.AddRange(before.Buckets); // until they are asked for, at the end of the burst
            }

            _moved.Add(m.Id);
        }

        Put(m.Id, w);
    }

    private EventOutcome NoteBucket(scoped in NetlinkMessage message)
    {
        if (!NexthopBucketMessage.TryParse(in message, out NexthopBucketMessage bucket))
        {
            return EventOutcome.Malformed;
        }

        _moved.Add(bucket.Group);
        return EventOutcome.Applied;
    }

    /// <param name="group">One group, or 0 for all.</param>
    /// <param name="into">Whose buckets become what the kernel says.</param>
    /// <returns>False when the group is no more.</returns>
    private bool TryDumpBuckets(NetlinkSocket socket, uint group, Dictionary<uint, Wire.Nexthop> into)
    {
        void Restart()
        {
            foreach (Wire.Nexthop n in into.Values)
            {
                n.Buckets.Clear();
            }
        }

        try
        {
            NetlinkDump.Run(socket, () => NexthopBucketMessage.Dump(group), Restart, Urgent, (scoped in NetlinkMessage m) =>
            {
                NexthopBucketMessage b = NexthopBucketMessage.TryParse(in m, out NexthopBucketMessage parsed) ? parsed : throw NetlinkDump.Malformed(in m);
                if (into.TryGetValue(b.Group, out Wire.Nexthop? n) && b.Index == n.Buckets.Count)
                {
                    n.Buckets.Add(b.Nexthop); // the kernel lists them in their order
                }
            });
            return true;
        }
        catch (LinuxException e) when (e.ErrorNumber == Errno.ENOENT)
        {
            return false;
        }
    }

    private void ApplyCascade()
    {
        foreach (Wire.Nexthop n in Cache.Values)
        {
            int index = (int)n.Ifindex;
            // Blackholes stand on lo and go only with it (nexthop_flush_dev). An interface that merely lost its addresses keeps its objects.
            bool dies = n.Ifindex != 0 && (_cascade.Gone.Contains(index)
                || (!n.Blackhole && ((_cascade.Down.Contains(index) && !_cascade.Unaddressed.Contains(index)) || _cascade.LinkDown.Contains(index))));
            if (dies && Remove(n.Id))
            {
                _cascade.DeadNexthops.Add(n.Id);
            }
        }

        if (_cascade.DeadNexthops.Count == 0)
        {
            return;
        }

        foreach (Wire.Nexthop group in Cache.Values.Where(n => n.Members.Any(m => _cascade.DeadNexthops.Contains(m.Id))).ToList())
        {
            Wire.Nexthop left = group.Clone();
            left.Members.Clear();
            left.Members.AddRange(group.Members.Where(m => !_cascade.DeadNexthops.Contains(m.Id)));
            if (left.Members.Count > 0)
            {
                Put(group.Id, left);
            }
            else if (Remove(group.Id))
            {
                _cascade.DeadNexthops.Add(group.Id); // groups have no groups as members: one round is enough
            }
        }
    }

    private static Wire.Nexthop ToWire(NexthopMessage m)
    {
        Wire.Nexthop w = new()
        {
            Id = m.Id,
            Family = m.Family,
            Ifindex = (uint)m.Index,
            Gateway = ByteString.CopyFrom(m.Gateway.ToArray()),
            Blackhole = m.Blackhole,
            Flags = m.Flags,
            Scope = m.Scope,
            Protocol = m.Protocol,
            Fdb = m.Fdb,
            Encap = m.Encap,
            GroupType = m.GroupType,
        };
        w.Members.AddRange(m.Members.Select(g => new Wire.NexthopGroupMember { Id = g.Id, Weight = g.Weight }));
        return w;
    }
}
