using System.CommandLine;
using FastPathSync.Fpctl.Inspection;

namespace FastPathSync.Fpctl.Features.Port;

internal static class PortCommand
{
    public static Command Create() => new("port", "the ports of the fast path")
    {
        ShowCommand.Create(
            "ports with mode, state and counters", FpctlJson.Default.IEnumerablePortView,
            (context, tables, _) => new PortReader(tables).Show(context.Vrf is not null),
            ["port", "id", "vrf", "mode", "zero-copy", "queues", "mtu", "max mtu", "state", "address", "rx", "tx", "forwarded"],
            p => [[p.Ifname, Cell.Of(p.Id), p.Vrf, p.Mode, p.Zerocopy ? "yes" : "no", Cell.Of(p.Queues), Cell.Of(p.Mtu), Cell.Of(p.MaxMtu),
                p.State, Cell.Of(p.Address), Cell.Of(p.Rx), Cell.Of(p.Tx), Cell.Of(p.Forwarded)]]),
        PortChangeCommand.Add(),
        PortChangeCommand.Delete(),
    };
}
