using System.CommandLine;
using FastPathSync.Fpctl.Inspection;

namespace FastPathSync.Fpctl.Features.Address;

internal static class AddressCommand
{
    public static Command Create()
    {
        Command show = ShowCommand.Create(
            "addresses by interface", FpctlJson.Default.IEnumerableAddressView, (_, tables, parsed) => new AddressReader(tables).Show(FamilyOptions.Of(parsed)),
            ["address", "dev", "broadcast", "scope", "label"],
            v => v.AddressInfo.Select(a => new[]
            {
                $"{a.Local}{(a.Address is null ? "" : $" peer {a.Address}")}/{a.Prefixlen}", v.Ifname, Cell.Of(a.Broadcast), a.Scope, Cell.Of(a.Label),
            }));
        FamilyOptions.AddTo(show);
        return new Command("address", "the addresses of this host, as the fast path knows them") { show };
    }
}
