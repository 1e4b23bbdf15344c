using System.Text.Json.Serialization;

namespace FastPathSync.Fpctl.Features.Rule;

/// <summary>A policy rule, in the keys of `ip -j rule`; what is a mere word there (not, l3mdev, nop, unresolved) is true here.</summary>
internal sealed record RuleView
{
    public required string Family { get; init; }

    public required uint Priority { get; init; }

    public bool? Not { get; init; }

    public required string Src { get; init; }

    public int? Srclen { get; init; }

    public string? Dst { get; init; }

    public int? Dstlen { get; init; }

    public string? Tos { get; init; }

    public string? Dscp { get; init; }

    [JsonPropertyName("dscp_mask")]
    public string? DscpMask { get; init; }

    public string? Fwmark { get; init; }

    public string? Fwmask { get; init; }

    public string? Iif { get; init; }

    public string? Oif { get; init; }

    public bool? L3mdev { get; init; }

    [JsonPropertyName("uid_start")]
    public uint? UidStart { get; init; }

    [JsonPropertyName("uid_end")]
    public uint? UidEnd { get; init; }

    public string? Ipproto { get; init; }

    public int? Sport { get; init; }

    [JsonPropertyName("sport_start")]
    public int? SportStart { get; init; }

    [JsonPropertyName("sport_end")]
    public int? SportEnd { get; init; }

    [JsonPropertyName("sport_mask")]
    public string? SportMask { get; init; }

    public int? Dport { get; init; }

    [JsonPropertyName("dport_start")]
    public int? DportStart { get; init; }

    [JsonPropertyName("dport_end")]
    public int? DportEnd { get; init; }

    [JsonPropertyName("dport_mask")]
    public string? DportMask { get; init; }

    [JsonPropertyName("tun_id")]
    public ulong? TunId { get; init; }

    public string? Flowlabel { get; init; }

    [JsonPropertyName("flowlabel_mask")]
    public string? FlowlabelMask { get; init; }

    public string? Table { get; init; }

    [JsonPropertyName("suppress_prefixlen")]
    public uint? SuppressPrefixlen { get; init; }

    [JsonPropertyName("suppress_ifgroup")]
    public string? SuppressIfgroup { get; init; }

    [JsonPropertyName("flow_from")]
    public string? FlowFrom { get; init; }

    [JsonPropertyName("flow_to")]
    public string? FlowTo { get; init; }

    public uint? Goto { get; init; }

    public bool? Unresolved { get; init; }

    public bool? Nop { get; init; }

    public string? Action { get; init; }

    public string? Protocol { get; init; }

    /// <summary>"honoured", or "partial": what the rule's understood selectors match is Linux's.</summary>
    public required string Fastpath { get; init; }

    public string? Reason { get; init; }
}
