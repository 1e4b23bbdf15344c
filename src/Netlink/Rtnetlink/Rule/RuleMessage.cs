using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;

namespace FastPathSync.Netlink.Rtnetlink;

/// <summary>FRA_SPORT_RANGE and FRA_SPORT_MASK, or those of the destination port; default: any port.</summary>
public readonly record struct RulePorts(ushort First, ushort Last, ushort Mask)
{
    public bool IsAny => (First | Last | Mask) == 0;
}

/// <summary>RTM_NEWRULE, RTM_DELRULE.</summary>
public sealed record RuleMessage
{
    public required byte Family { get; init; }

    public required byte DestinationLength { get; init; }

    public required byte SourceLength { get; init; }

    public required byte Tos { get; init; }

    /// <summary>FR_ACT_*</summary>
    public required byte Action { get; init; }

    /// <summary>FIB_RULE_*</summary>
    public required uint Flags { get; init; }

    public uint Table { get; private set; }

    public uint Priority { get; private set; }

    /// <summary>The priority that FR_ACT_GOTO leads to.</summary>
    public uint Target { get; private set; }

    public InetAddress Destination { get; private set; }

    public InetAddress Source { get; private set; }

    public uint Mark { get; private set; }

    /// <summary>null: the rule doesn't say, which with a mark means all bits.</summary>
    public uint? MarkMask { get; private set; }

    public string InputInterface { get; private set; } = "";

    public string OutputInterface { get; private set; } = "";

    public ulong TunnelId { get; private set; }

    public bool L3Mdev { get; private set; }

    /// <summary>FRA_UID_RANGE; null: any.</summary>
    public (uint First, uint Last)? Uids { get; private set; }

    /// <summary>IPPROTO_*, 0 any.</summary>
    public byte IpProtocol { get; private set; }

    public RulePorts SourcePorts { get; private set; }

    public RulePorts DestinationPorts { get; private set; }

    /// <summary>FRA_DSCP (kernel 6.13), six bits; null: the rule compares Tos instead, if that isn't 0.</summary>
    public byte? Dscp { get; private set; }

    public byte? DscpMask { get; private set; }

    /// <summary>FRA_FLOWLABEL; null: any.</summary>
    public uint? FlowLabel { get; private set; }

    public uint? FlowLabelMask { get; private set; }

    /// <summary>null: none. The kernel writes -1 for that.</summary>
    public uint? SuppressPrefixLength { get; private set; }

    public uint? SuppressInterfaceGroup { get; private set; }

    /// <summary>FRA_FLOW: for accounting and tc, not for routing.</summary>
    public uint Realms { get; private set; }

    /// <summary>RTPROT_*: who made the rule.</summary>
    public byte Protocol { get; private set; }

    /// <summary>The first attribute that this class has no name for; 0: none.</summary>
    public ushort Unknown { get; private set; }

    public static bool TryParse(in NetlinkMessage message, [NotNullWhen(true)] out RuleMessage? rule)
    {
        rule = null;
        if (message.Type is not (Rtm.RTM_NEWRULE or Rtm.RTM_DELRULE) || !message.TryHeader(out FibRuleHdr h))
        {
            return false;
        }

        RuleMessage m = new()
        {
            Family = h.Family,
            DestinationLength = h.DestinationLength,
            SourceLength = h.SourceLength,
            Tos = h.Tos,
            Action = h.Action,
            Flags = h.Flags,
            Table = h.Table,
        };
        NetlinkAttributes attributes = message.Attributes(Unsafe.SizeOf<FibRuleHdr>());
        while (attributes.MoveNext())
        {
            if (!m.TryTake(attributes.Current))
            {
                return false;
            }
        }

        if (attributes.Malformed || h.DestinationLength > 8 * Math.Max(4, (int)m.Destination.Length) || h.SourceLength > 8 * Math.Max(4, (int)m.Source.Length))
        {
            return false;
        }

        rule = m;
        return true;
    }

    public static NetlinkRequest Dump(byte family) =>
        new NetlinkRequest().Begin(Rtm.RTM_GETRULE, Nlm.NLM_F_REQUEST | Nlm.NLM_F_DUMP, new FibRuleHdr { Family = family });

    private bool TryTake(NetlinkAttribute a)
    {
        switch (a.Type)
        {
            case RuleConstants.FRA_TABLE:
                Table = a.U32;
                return a.Payload.Length == 4;
            case RuleConstants.FRA_PRIORITY:
                Priority = a.U32;
                return a.Payload.Length == 4;
            case RuleConstants.FRA_GOTO:
                Target = a.U32;
                return a.Payload.Length == 4;
            case RuleConstants.FRA_DST:
                Destination = InetAddress.TryRead(a.Payload, out InetAddress destination) ? destination : default;
                return !Destination.IsNone;
            case RuleConstants.FRA_SRC:
                Source = InetAddress.TryRead(a.Payload, out InetAddress source) ? source : default;
                return !Source.IsNone;
            case RuleConstants.FRA_FWMARK:
                Mark = a.U32;
                return a.Payload.Length == 4;
            case RuleConstants.FRA_FWMASK:
                MarkMask = a.U32;
                return a.Payload.Length == 4;
            case RuleConstants.FRA_IIFNAME:
                InputInterface = a.Text;
                return true;
            case RuleConstants.FRA_OIFNAME:
                OutputInterface = a.Text;
                return true;
            case RuleConstants.FRA_TUN_ID:
                TunnelId = a.U64BigEndian;
                return a.Payload.Length == 8;
            case RuleConstants.FRA_L3MDEV:
                L3Mdev = a.U8 != 0;
                return a.Payload.Length == 1;
            case RuleConstants.FRA_UID_RANGE:
                Uids = a.Payload.Length == 8 ? (a.U32, (uint)(a.U64 >> 32)) : null;
                return Uids is not null;
            case RuleConstants.FRA_IP_PROTO:
                IpProtocol = a.U8;
                return a.Payload.Length == 1;
            case RuleConstants.FRA_SPORT_RANGE:
                SourcePorts = SourcePorts with { First = a.U16, Last = (ushort)(a.U32 >> 16) };
                return a.Payload.Length == 4;
            case RuleConstants.FRA_DPORT_RANGE:
                DestinationPorts = DestinationPorts with { First = a.U16, Last = (ushort)(a.U32 >> 16) };
                return a.Payload.Length == 4;
            case RuleConstants.FRA_SPORT_MASK:
                SourcePorts = SourcePorts with { Mask = a.U16 };
                return a.Payload.Length == 2;
            case RuleConstants.FRA_DPORT_MASK:
                DestinationPorts = DestinationPorts with { Mask = a.U16 };
                return a.Payload.Length == 2;
            case RuleConstants.FRA_DSCP:
                Dscp = a.U8;
                return a.Payload.Length == 1;
            case RuleConstants.FRA_DSCP_MASK:
                DscpMask = a.U8;
                return a.Payload.Length == 1;
            case RuleConstants.FRA_FLOWLABEL:
                FlowLabel = a.U32BigEndian;
                return a.Payload.Length == 4;
            case RuleConstants.FRA_FLOWLABEL_MASK:
                FlowLabelMask = a.U32BigEndian;
                return a.Payload.Length == 4;
            case RuleConstants.FRA_SUPPRESS_PREFIXLEN:
                SuppressPrefixLength = a.U32 == uint.MaxValue ? null : a.U32;
                return a.Payload.Length == 4;
            case RuleConstants.FRA_SUPPRESS_IFGROUP:
                SuppressInterfaceGroup = a.U32 == uint.MaxValue ? null : a.U32;
                return a.Payload.Length == 4;
            case RuleConstants.FRA_FLOW:
                Realms = a.U32;
                return a.Payload.Length == 4;
            case RuleConstants.FRA_PROTOCOL:
                Protocol = a.U8;
                return a.Payload.Length == 1;
            case RuleConstants.FRA_PAD:
                return true;
            default:
                Unknown = Unknown == 0 ? a.Type : Unknown;
                return true;
        }
    }
}
