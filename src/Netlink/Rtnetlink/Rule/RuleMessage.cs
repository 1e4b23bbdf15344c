using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace FastPathSync.Netlink.Rtnetlink;

/// <summary>struct fib_rule_hdr (linux/fib_rules.h).</summary>
[StructLayout(LayoutKind.Sequential)]
public struct FibRuleHdr
{
    public byte Family;
    public byte DestinationLength;
    public byte SourceLength;
    public byte Tos;
    public byte Table;
    public byte Reserved1;
    public byte Reserved2;
    public byte Action;
    public uint Flags;
}

/// <summary>linux/fib_rules.h</summary>
public static class RuleConstants
{
    public const ushort FRA_DST = 1, FRA_SRC = 2, FRA_IIFNAME = 3, FRA_PRIORITY = 6, FRA_FWMARK = 10, FRA_SUPPRESS_IFGROUP = 13,
        FRA_SUPPRESS_PREFIXLEN = 14, FRA_TABLE = 15, FRA_FWMASK = 16, FRA_OIFNAME = 17, FRA_PAD = 18, FRA_PROTOCOL = 21;

    public const byte FR_ACT_TO_TBL = 1;
}

/// <summary>RTM_NEWRULE, RTM_DELRULE.</summary>
public sealed class RuleMessage
{
    public required byte Family { get; init; }

    public required byte DestinationLength { get; init; }

    public required byte SourceLength { get; init; }

    public required byte Tos { get; init; }

    /// <summary>FR_ACT_*</summary>
    public required byte Action { get; init; }

    /// <summary>FIB_RULE_*: INVERT is 2.</summary>
    public required uint Flags { get; init; }

    public uint Table { get; private set; }

    public uint Priority { get; private set; }

    public InetAddress Destination { get; private set; }

    public InetAddress Source { get; private set; }

    public uint Mark { get; private set; }

    public string InputInterface { get; private set; } = "";

    public string OutputInterface { get; private set; } = "";

    /// <summary>There is a selector or action beyond table, priority and what this class names (ports, uid range, tunnel, suppress, …).</summary>
    public bool HasMore { get; private set; }

    /// <summary>Matches every packet and looks a table up.</summary>
    public bool IsPlainLookup => Action == RuleConstants.FR_ACT_TO_TBL && Flags == 0 && !HasMore && DestinationLength == 0 && SourceLength == 0
        && Tos == 0 && Mark == 0 && InputInterface.Length == 0 && OutputInterface.Length == 0;

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
            NetlinkAttribute a = attributes.Current;
            InetAddress value;
            switch (a.Type)
            {
                case RuleConstants.FRA_TABLE:
                    m.Table = a.U32;
                    break;
                case RuleConstants.FRA_PRIORITY:
                    m.Priority = a.U32;
                    break;
                case RuleConstants.FRA_DST:
                    if (!InetAddress.TryRead(a.Payload, out value))
                    {
                        return false;
                    }

                    m.Destination = value;
                    break;
                case RuleConstants.FRA_SRC:
                    if (!InetAddress.TryRead(a.Payload, out value))
                    {
                        return false;
                    }

                    m.Source = value;
                    break;
                case RuleConstants.FRA_FWMARK:
                    m.Mark = a.U32;
                    break;
                case RuleConstants.FRA_IIFNAME:
                    m.InputInterface = a.Text;
                    break;
                case RuleConstants.FRA_OIFNAME:
                    m.OutputInterface = a.Text;
                    break;
                case RuleConstants.FRA_SUPPRESS_PREFIXLEN or RuleConstants.FRA_SUPPRESS_IFGROUP:
                    m.HasMore |= a.U32 != uint.MaxValue; // the kernel writes -1 for "none"
                    break;
                case RuleConstants.FRA_FWMASK or RuleConstants.FRA_PAD or RuleConstants.FRA_PROTOCOL:
                    break; // the mask means nothing without a mark; the protocol says who made the rule
                default:
                    m.HasMore = true;
                    break;
            }
        }

        if (attributes.Malformed)
        {
            return false;
        }

        rule = m;
        return true;
    }

    public static NetlinkRequest Dump(byte family) =>
        new NetlinkRequest().Begin(Rtm.RTM_GETRULE, Nlm.NLM_F_REQUEST | Nlm.NLM_F_DUMP, new FibRuleHdr { Family = family });
}
