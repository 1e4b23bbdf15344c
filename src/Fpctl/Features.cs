using System.CommandLine;
using FastPathSync.Fpctl.Features.Address;
using FastPathSync.Fpctl.Features.Capture;
using FastPathSync.Fpctl.Features.Explain;
using FastPathSync.Fpctl.Features.Graph;
using FastPathSync.Fpctl.Features.Instance;
using FastPathSync.Fpctl.Features.Neighbour;
using FastPathSync.Fpctl.Features.Nexthop;
using FastPathSync.Fpctl.Features.Policer;
using FastPathSync.Fpctl.Features.Port;
using FastPathSync.Fpctl.Features.Punt;
using FastPathSync.Fpctl.Features.Route;
using FastPathSync.Fpctl.Features.Rpc;
using FastPathSync.Fpctl.Features.Rule;
using FastPathSync.Fpctl.Features.Statistics;
using FastPathSync.Fpctl.Features.Trace;
using FastPathSync.Fpctl.Features.Verify;
using FastPathSync.Fpctl.Features.Vrf;

namespace FastPathSync.Fpctl;

/// <summary>The commands, in the order of --help: one line for each.</summary>
internal static class Commands
{
    public static IEnumerable<Command> All() =>
    [
        StartCommand.Create(),
        StopCommand.Create(),
        StatusCommand.Create(),
        PortCommand.Create(),
        AddressCommand.Create(),
        RouteCommand.Create(),
        RuleCommand.Create(),
        NexthopCommand.Create(),
        NeighbourCommand.Create(),
        VrfCommand.Create(),
        PuntCommand.Create(),
        PolicerCommand.Create(),
        StatisticsCommand.Create(),
        VerifyCommand.Create(),
        ExplainCommand.Create(),
        TraceCommand.Create(),
        CaptureCommand.Create(),
        GraphCommand.Create(),
        RpcCommand.Create(),
        SuperviseCommand.Create(),
    ];
}
