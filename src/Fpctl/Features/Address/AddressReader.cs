using FastPathSync.Fpctl.Inspection;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.Fpctl.Features.Address;

/// <summary>Makes address views of the tables.</summary>
internal sealed unsafe class AddressReader(InstanceTables tables)
{
    private const uint IFA_F_SECONDARY = 1; // the same bit is IFA_F_TEMPORARY for IPv6

    private static readonly (uint Bit, string Name)[] s_flags6 =
        [(1, "temporary"), (4, "optimistic"), (8, "dadfailed"), (0x20, "deprecated"), (0x40, "tentative")];

    public IEnumerable<AddressView> Show(Families families) => tables.Addresses.All()
        .Where(a => families.Has(a.Value.Local))
        .GroupBy(a => a.Value.IfIndex, a => a.Value)
        .OrderBy(g => g.Key)
        .Select(g => View(g.Key, g));

    private AddressView View(uint ifindex, IEnumerable<AddressRecord> addresses)
    {
        InterfaceRecord i = tables.Interfaces.GetValueOrDefault(ifindex);
        return new AddressView
        {
            Ifindex = ifindex,
            Ifname = tables.InterfaceName(ifindex),
            Flags = KernelNames.InterfaceFlags(i.Flags),
            Mtu = i.Mtu,
            Operstate = KernelNames.OperState(i.OperState),
            Address = i.AddressLength == 6 ? Ipv4Text.Mac(new ReadOnlySpan<byte>(i.Address, 6)) : null,
            AddressInfo = [.. addresses.OrderBy(a => !a.Local.IsV4).ThenBy(a => a.Flags & IFA_F_SECONDARY).ThenBy(a => a.Local.High).ThenBy(a => a.Local.Low).Select(Info)],
        };
    }

    private static AddressInfo Info(AddressRecord a) => new()
    {
        Family = KernelNames.Family(a.Local.IsV4),
        Local = a.Local.ToString(),
        Address = a.Peer.IsNone || a.Peer == a.Local ? null : a.Peer.ToString(),
        Prefixlen = a.PrefixLength,
        Broadcast = a.Broadcast == 0 ? null : Ipv4Text.Address(a.Broadcast),
        Scope = KernelNames.Scope(a.Scope),
        Secondary = a.Local.IsV4 && (a.Flags & IFA_F_SECONDARY) != 0 ? true : null,
        Flags = a.Local.IsV4 ? null : [.. from f in s_flags6 where (a.Flags & f.Bit) != 0 select f.Name],
        Label = a.Label.ToString() is { Length: > 0 } label ? label : null,
    };
}
