using FastPathSync.Fpc;
using FastPathSync.Netlink;
using FastPathSync.Netlink.Rtnetlink;
using Google.Protobuf;
using Wire = FastPathSync.Fpc.Protocol;

namespace FastPathSync.CacheManager.Features.Neighbour;

public readonly record struct NeighbourKey(int Index, InetAddress Destination);

/// <summary>Neighbours of both families, without proxy entries.</summary>
public sealed class NeighbourFeature : CachedFeature<NeighbourKey, Wire.Neighbour>
{
    private readonly Wire.NeighbourBatch _batch = new();

    public NeighbourFeature()
    {
        InetAddress nowhere = default;
        Rehearse(new NeighbourKey(0, nowhere), new Wire.Neighbour { Destination = ByteString.CopyFrom(nowhere.ToArray()) });
    }

    public override Wire.ObjectKind Kind => Wire.ObjectKind.Neighbour;

    public override bool ChangesSilently => true;

    public override IReadOnlyList<int> Groups { get; } = [Rtm.RTNLGRP_NEIGH];

    public override IReadOnlyList<ushort> MessageTypes { get; } = [Rtm.RTM_NEWNEIGH, Rtm.RTM_DELNEIGH];

    protected override FpcType BatchType => FpcType.Neighbour;

    public override EventOutcome Apply(scoped in NetlinkMessage message)
    {
        if (!NeighbourMessage.TryParse(in message, out NeighbourMessage? m))
        {
            return EventOutcome.Malformed;
        }

        if (m.Family is not (Rtm.AF_INET or Rtm.AF_INET6) || m.IsProxy)
        {
            return EventOutcome.Ignored;
        }

        NeighbourKey key = new(m.Index, m.Destination);
        if (message.Type == Rtm.RTM_NEWNEIGH)
        {
            Put(key, ToWire(m));
        }
        else
        {
            Remove(key);
        }

        return EventOutcome.Applied;
    }

    /// <summary>Its neighbours go with an interface; the kernel says so too, this is for when we missed it.</summary>
    public void InterfaceGone(int index)
    {
        foreach (NeighbourKey key in Cache.Keys)
        {
            if (key.Index == index)
            {
                Remove(key);
            }
        }
    }

    protected override void Dump(NetlinkSocket socket, Dictionary<NeighbourKey, Wire.Neighbour> fresh) =>
        NetlinkDump.BothFamilies(socket, NeighbourMessage.Dump, fresh, Urgent, (scoped in NetlinkMessage m, Dictionary<NeighbourKey, Wire.Neighbour> found) =>
        {
            NeighbourMessage n = NeighbourMessage.TryParse(in m, out NeighbourMessage? parsed) ? parsed : throw NetlinkDump.Malformed(in m);
            if (!n.IsProxy)
            {
                found[new NeighbourKey(n.Index, n.Destination)] = ToWire(n);
            }
        });

    protected override void AppendUpsert(NeighbourKey key, in Wire.Neighbour value) =>
        _batch.Updates.Add(new Wire.NeighbourBatch.Types.Update { Upsert = value });

    protected override void AppendDelete(NeighbourKey key) => _batch.Updates.Add(new Wire.NeighbourBatch.Types.Update
    {
        Delete = new Wire.NeighbourKey { Ifindex = (uint)key.Index, Destination = ByteString.CopyFrom(key.Destination.ToArray()) },
    });

    protected override IMessage Batch(ulong observedNs)
    {
        _batch.ObservedNs = observedNs;
        return _batch;
    }

    protected override void EmptyBatch() => _batch.Updates.Clear();

    private static Wire.Neighbour ToWire(NeighbourMessage m) => new()
    {
        Ifindex = (uint)m.Index,
        Destination = ByteString.CopyFrom(m.Destination.ToArray()),
        Lladdr = ByteString.CopyFrom(m.LinkLayerAddress),
        State = m.State,
        Flags = m.Flags,
    };
}
