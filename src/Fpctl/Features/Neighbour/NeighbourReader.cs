using FastPathSync.Fpctl.Inspection;
using FastPathSync.Linux;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.Fpctl.Features.Neighbour;

/// <summary>Makes neighbour views of the tables.</summary>
internal sealed unsafe class NeighbourReader(InstanceTables tables)
{
    public IEnumerable<NeighbourView> Show(Families families) => tables.Neighbours.All()
        .Where(n => families.Has(n.Value.Address))
        .OrderBy(n => n.Value.IfIndex).ThenBy(n => n.Value.Address.High).ThenBy(n => n.Value.Address.Low)
        .Select(n => View(n.Slot, n.Value));

    public NeighbourView? Find(uint ifindex, IpAddress address)
    {
        foreach ((int slot, NeighbourRecord n) in tables.Neighbours.All())
        {
            if (n.IfIndex == ifindex && n.Address == address)
            {
                return View(slot, n);
            }
        }

        return null;
    }

    private NeighbourView View(int slot, NeighbourRecord n)
    {
        // Workers don't read the record: they ask the hash.
        int adjacency = tables.NeighbourHash.Find(n.IfIndex, n.Address);
        uint stamp = tables.UseStamp(slot);
        return new NeighbourView
        {
            Family = KernelNames.Family(n.Address.IsV4),
            Dst = n.Address.ToString(),
            Dev = tables.InterfaceName(n.IfIndex),
            Lladdr = n.AddressLength == 6 ? Ipv4Text.Mac(new ReadOnlySpan<byte>(n.LinkAddress, 6)) : null,
            State = KernelNames.NeighbourState(n.State),
            Fastpath = adjacency >= 0 ? "forward" : "punt",
            Reason = adjacency >= 0 ? null : PuntReasonOf(in n),
            Port = adjacency >= 0 ? tables.InterfaceName(tables.Adjacency(adjacency).IfIndex) : null,
            Used = stamp == 0 ? null : MonotonicClock.CoarseSeconds - Math.Min(stamp, MonotonicClock.CoarseSeconds),
        };
    }

    private string PuntReasonOf(in NeighbourRecord n)
    {
        bool onPort = tables.Interfaces.TryGetValue(n.IfIndex, out InterfaceRecord i) && i.PortId != InterfaceRecord.NoPort;
        return ReasonNames.Of(!onPort ? PuntReason.EgressNotAPort : !i.IsUp || !i.HasCarrier ? PuntReason.LinkDown : PuntReason.NoNeighbour);
    }
}
