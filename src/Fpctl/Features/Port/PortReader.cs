using FastPathSync.Fpctl.Features.Statistics;
using FastPathSync.Fpctl.Inspection;
using FastPathSync.Linux;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.Fpctl.Features.Port;

/// <summary>Makes port views of the tables.</summary>
internal sealed unsafe class PortReader(InstanceTables tables)
{
    /// <param name="onlyThis">Of the VRF of the tables only.</param>
    public IEnumerable<PortView> Show(bool onlyThis)
    {
        StatisticsSnapshot counters = StatisticsSnapshot.Take(tables);
        List<PortView> ports = [];
        for (int i = 0; i < counters.Ports.Count; i++)
        {
            PortState p = *tables.Port(i);
            Counters c = counters.OfPort(i);
            string vrf = p.Vrf.ToString();
            if (p.IsFree || (onlyThis && vrf != tables.VrfName))
            {
                continue;
            }

            InterfaceRecord record = default;
            bool known = tables.OfVrf(vrf)?.Interfaces.TryGetValue(p.IfIndex, out record) == true;
            ports.Add(new PortView
            {
                Ifname = p.Name.ToString(),
                Ifindex = p.IfIndex,
                Id = i,
                Vrf = vrf.Length == 0 ? NetworkNamespace.Unnamed : vrf, // as `fpctl status` names it
                Mode = p.Mode.ToString().ToLowerInvariant(),
                Zerocopy = p.ZeroCopy != 0,
                Queues = p.Queues,
                Mtu = p.Mtu,
                MaxMtu = p.MaxMtu,
                State = p.Status.ToString().ToLowerInvariant(),
                Address = known && record.AddressLength == 6 ? Ipv4Text.Mac(new ReadOnlySpan<byte>(record.Address, 6)) : null,
                Rx = c.Rx,
                Tx = c.Tx,
                Forwarded = c.Forwarded,
            });
        }

        return ports;
    }
}
