using System.Text.Json;
using System.Text.Json.Serialization;
using FastPathSync.Fpctl.Features.Address;
using FastPathSync.Fpctl.Features.Explain;
using FastPathSync.Fpctl.Features.Graph;
using FastPathSync.Fpctl.Features.Neighbour;
using FastPathSync.Fpctl.Features.Nexthop;
using FastPathSync.Fpctl.Features.Policer;
using FastPathSync.Fpctl.Features.Port;
using FastPathSync.Fpctl.Features.Punt;
using FastPathSync.Fpctl.Features.Route;
using FastPathSync.Fpctl.Features.Rule;
using FastPathSync.Fpctl.Features.Statistics;
using FastPathSync.Fpctl.Features.Verify;
using FastPathSync.Fpctl.Features.Vrf;

namespace FastPathSync.Fpctl.Inspection;

/// <summary>How views become JSON: keys in camel case, absent instead of null.</summary>
[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(IEnumerable<PortView>))]
[JsonSerializable(typeof(IEnumerable<AddressView>))]
[JsonSerializable(typeof(IEnumerable<RouteView>))]
[JsonSerializable(typeof(RouteGetView))]
[JsonSerializable(typeof(IEnumerable<RuleView>))]
[JsonSerializable(typeof(IEnumerable<NexthopView>))]
[JsonSerializable(typeof(IEnumerable<NeighbourView>))]
[JsonSerializable(typeof(IEnumerable<VrfView>))]
[JsonSerializable(typeof(IEnumerable<PolicerView>))]
[JsonSerializable(typeof(IEnumerable<PuntView>))]
[JsonSerializable(typeof(IEnumerable<ExplanationView>))]
[JsonSerializable(typeof(GraphSnapshot))]
[JsonSerializable(typeof(VerifyReport))]
[JsonSerializable(typeof(StatisticsSnapshot))]
internal sealed partial class FpctlJson : JsonSerializerContext;
