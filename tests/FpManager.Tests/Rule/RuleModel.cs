using FastPathSync.SharedMemory.Tables;
using Wire = FastPathSync.Fpc.Protocol;

namespace FastPathSync.FpManager.Tests;

/// <summary>A route of the model. Way: a gateway's number; 0: Type says what it is.</summary>
internal sealed record ModelRoute(uint Table, uint Destination, int Length, uint Type, byte Way);

/// <summary>
/// IPv4 policy routing as the kernel's source has it, written for reading: fib_rules_lookup and fib_rule_match
/// (net/core/fib_rules.c), fib4_rule_match, fib4_rule_action, fib4_rule_suppress (net/ipv4/fib_rules.c). It knows nothing
/// of how the product compiles rules.
/// </summary>
internal sealed class RuleModel
{
    private const uint Eagain = 11;

    /// <summary>In the kernel's order.</summary>
    public List<Wire.Rule> Rules { get; } = [];

    public List<ModelRoute> Routes { get; } = [];

    /// <summary>What struct flowi4 of a forwarded packet says that RuleKey leaves out.</summary>
    private const uint Mark = 0, Uid = 0, OutputInterface = 0;

    /// <param name="portName">The name of the interface that the packet came in by.</param>
    public string Lookup(RuleKey key, Func<ushort, string> portName)
    {
        int i = 0;
        while (i < Rules.Count)
        {
            Wire.Rule rule = Rules[i];
            bool? match = Match(rule, key, portName);
            if (match is null)
            {
                return "punt rule-unsupported";
            }

            if (match == false)
            {
                i++;
                continue;
            }

            if (rule.Action == 2)
            {
                int target = Rules.FindIndex(r => r.Priority == rule.Target);
                i = target > i ? target : i + 1;
                continue;
            }

            (uint error, string outcome, int length) = Act(rule, key);
            bool suppressed = error == 0 && rule.HasSuppressPrefixLength && length <= (int)rule.SuppressPrefixLength;
            if (error != Eagain && !suppressed)
            {
                return outcome;
            }

            i++;
        }

        return "punt no-route";
    }

    private (uint Error, string Outcome, int Length) Act(Wire.Rule rule, RuleKey key)
    {
        switch (rule.Action)
        {
            case 1:
                break;
            case 3:
                return (Eagain, "", 0); // FR_ACT_NOP: continue
            case 6:
                return (22, "punt blackhole", 0);
            case 7:
                return (101, "punt unreachable", 0);
            default:
                return (13, "punt prohibit", 0);
        }

        uint address = (uint)(key.Destination.High >> 32);
        ModelRoute? best = Routes.Where(r => r.Table == rule.Table && Covers(r, address)).MaxBy(r => r.Length);
        return best is null ? (Eagain, "", 0) : best.Type switch
        {
            1 => (0, $"way {best.Way}", best.Length),
            2 => (0, "punt local", best.Length),
            6 => (22, "punt blackhole", best.Length),
            7 => (101, "punt unreachable", best.Length),
            8 => (13, "punt prohibit", best.Length),
            _ => (Eagain, "", 0), // throw
        };
    }

    /// <summary>null: only Linux can tell.</summary>
    private static bool? Match(Wire.Rule rule, RuleKey key, Func<ushort, string> portName)
    {
        bool match = Known(rule, key, portName);
        return match && rule.Unknown != 0 ? null : match != rule.Invert;
    }

    private static bool Known(Wire.Rule rule, RuleKey key, Func<ushort, string> portName)
    {
        if (rule.Iif.Length > 0 && rule.Iif != portName(key.InputPort))
        {
            return false;
        }

        if (rule.Oif.Length > 0 && OutputInterface == 0)
        {
            return false;
        }

        uint mask = rule.HasFwmask ? rule.Fwmask : rule.Fwmark != 0 ? uint.MaxValue : 0;
        if (((rule.Fwmark ^ Mark) & mask) != 0 || (rule.HasUidLast && (Uid < rule.UidFirst || Uid > rule.UidLast)))
        {
            return false;
        }

        if (!Under(rule.Destination, rule.DestinationLength, key.Destination) || !Under(rule.Source, rule.SourceLength, key.Source))
        {
            return false;
        }

        if (rule.HasDscp)
        {
            if ((((uint)key.Dscp >> 2) ^ rule.Dscp) != 0)
            {
                return false;
            }
        }
        else if (rule.Tos != 0 && rule.Tos != (key.Dscp & 0x1e & 0xfc))
        {
            return false;
        }

        return (rule.IpProtocol == 0 || rule.IpProtocol == key.Protocol)
            && Within(rule.SourcePorts, key.SourcePort) && Within(rule.DestinationPorts, key.DestinationPort);
    }

    private static bool Within(Wire.RulePorts? p, ushort port) => p is null
        || (p.Mask != 0 ? ((p.First ^ port) & p.Mask) == 0 : port >= p.First && port <= p.Last);

    private static bool Under(Google.Protobuf.ByteString prefix, uint length, FibKey address) =>
        length == 0 || (Tables.Ip(new System.Net.IPAddress(prefix.Span).ToString()) ^ (uint)(address.High >> 32)) >> (int)(32 - length) == 0;

    private static bool Covers(ModelRoute r, uint address) => r.Length == 0 || (r.Destination ^ address) >> (32 - r.Length) == 0;
}
