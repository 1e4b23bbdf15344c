using FastPathSync.Fpc;
using FastPathSync.Netlink;
using FastPathSync.Netlink.Rtnetlink;
using Google.Protobuf;
using Wire = FastPathSync.Fpc.Protocol;

namespace FastPathSync.CacheManager.Features.Nexthop;

/// <summary>Nexthop objects and groups. A nexthop dies with its interface or its carrier, a group with its last member.</summary>
public sealed class NexthopFeature : CachedFeature<uint, Wire.Nexthop>
{
    private readonly Cascade _cascade;
    private readonly Wire.NexthopBatch _batch = new();

    public NexthopFeature(Cascade cascade)
    {
        _cascade = cascade;
        cascade.Nexthops = ApplyCascade;
    }

    public override Wire.ObjectKind Kind => Wire.ObjectKind.Nexthop;

    public override IReadOnlyList<int> Groups { get; } = [Rtm.RTNLGRP_NEXTHOP];

    public override IReadOnlyList<ushort> MessageTypes { get; } = [Rtm.RTM_NEWNEXTHOP, Rtm.RTM_DELNEXTHOP];

    protected override FpcType BatchType => FpcType.Nexthop;

    public override EventOutcome Apply(scoped in NetlinkMessage message)
    {
        if (!NexthopMessage.TryParse(in message, out NexthopMessage? m))
        {
            return EventOutcome.Malformed;
        }

        if (message.Type == Rtm.RTM_NEWNEXTHOP)
        {
            _cascade.Apply(); // the routes of an older object of this id are gone
            Put(m.Id, ToWire(m));
        }
        else if (Remove(m.Id))
        {
            _cascade.DeadNexthops.Add(m.Id);
        }

        return EventOutcome.Applied;
    }

    protected override void Dump(NetlinkSocket socket, Dictionary<uint, Wire.Nexthop> fresh) =>
        NetlinkDump.Run(socket, NexthopMessage.Dump, fresh.Clear, Urgent, (scoped in NetlinkMessage m) =>
        {
            NexthopMessage n = NexthopMessage.TryParse(in m, out NexthopMessage? parsed) ? parsed : throw NetlinkDump.Malformed(in m);
            fresh[n.Id] = ToWire(n);
        });

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
