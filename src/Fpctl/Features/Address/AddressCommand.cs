using System.CommandLine;
using FastPathSync.Fpctl.Inspection;

namespace FastPathSync.Fpctl.Features.Address;

internal static class AddressCommand
{
    public static Command Create() => new("address", "the addresses of this host, as the fast path knows them")
    {
        ShowCommand.Create(
            "IPv4 addresses by interface", FpctlJson.Default.IEnumerableAddressView, (_, tables, _) => new AddressReader(tables).Show(),
            ["address", "dev", "broadcast", "scope", "label"],
            v => v.AddressInfo.Select(a => new[]
            {
                $"{a.Local}{(a.Address is null ? "" : $" peer {a.Address}")}/{a.Prefixlen}", v.Ifname, Cell.Of(a.Broadcast), a.Scope, Cell.Of(a.Label),
            })),
    };
}
