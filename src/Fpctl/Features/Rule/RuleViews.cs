using System.Globalization;
using FastPathSync.Fpctl.Inspection;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.Fpctl.Features.Rule;

/// <summary>Makes rule views of the tables.</summary>
internal sealed class RuleViews(InstanceTables tables)
{
    private const byte AF_INET6 = 10, FR_ACT_TO_TBL = 1, FR_ACT_GOTO = 2, FR_ACT_NOP = 3, FR_ACT_BLACKHOLE = 6, FR_ACT_UNREACHABLE = 7, FR_ACT_PROHIBIT = 8;

    /// <summary>In the kernel's order, IPv4 first. A family of 0: both.</summary>
    public IEnumerable<RuleView> Show(byte family)
    {
        Dictionary<string, string> gaps = [];
        foreach ((_, DemotionRecord d) in tables.Demotions.All())
        {
            if (d.Effect == DemotionEffect.Partial)
            {
                gaps[d.Object.ToString()] = d.Reason.ToString();
            }
        }

        List<RuleRecord> rules = [.. InOrder(tables.Rules.All().Select(r => r.Value).Where(r => family == 0 || r.Family == family))];
        foreach (RuleRecord r in rules)
        {
            bool resolved = rules.Exists(o => o.Family == r.Family && o.Priority == r.Target);
            yield return View(r) with
            {
                Fastpath = gaps.ContainsKey(NameOf(r)) ? "partial" : "honoured",
                Reason = gaps.GetValueOrDefault(NameOf(r)),
                Unresolved = r.Action == FR_ACT_GOTO && !resolved ? true : null,
            };
        }
    }

    public static IEnumerable<RuleRecord> InOrder(IEnumerable<RuleRecord> rules) =>
        rules.OrderBy(r => r.Family).ThenBy(r => r.Priority).ThenBy(r => r.Order);

    public static string NameOf(in RuleRecord r) => $"ip {(r.Family == AF_INET6 ? "-6 " : "")}rule {r.Priority}";

    public static RuleView View(RuleRecord r)
    {
        (int? sport, int? sportStart, int? sportEnd, string? sportMask) = Ports(r.SourcePorts);
        (int? dport, int? dportStart, int? dportEnd, string? dportMask) = Ports(r.DestinationPorts);
        int bits = r.Family == AF_INET6 ? 128 : 32;
        return new RuleView
        {
            Family = r.Family == AF_INET6 ? "inet6" : "inet",
            Priority = r.Priority,
            Not = When(r.Has(RuleFlags.Invert)),
            Src = r.SourceLength == 0 ? "all" : r.Source.ToString(),
            Srclen = r.SourceLength == 0 || r.SourceLength == bits ? null : r.SourceLength,
            Dst = r.DestinationLength == 0 ? null : r.Destination.ToString(),
            Dstlen = r.DestinationLength == 0 || r.DestinationLength == bits ? null : r.DestinationLength,
            Tos = r.Tos == 0 ? null : Hex(r.Tos),
            Dscp = r.Has(RuleFlags.Dscp) ? Number(r.Dscp) : null,
            DscpMask = r.Has(RuleFlags.DscpMask) && r.DscpMask != 0x3f ? Hex(r.DscpMask) : null,
            Fwmark = r.Mark != 0 || r.Has(RuleFlags.MarkMask) ? Hex(r.Mark) : null,
            Fwmask = r.Has(RuleFlags.MarkMask) && r.MarkMask != uint.MaxValue ? Hex(r.MarkMask) : null,
            Iif = Name(r.InputInterface),
            Oif = Name(r.OutputInterface),
            L3mdev = When(r.Has(RuleFlags.L3Mdev)),
            UidStart = r.Has(RuleFlags.Uids) ? r.UidFirst : null,
            UidEnd = r.Has(RuleFlags.Uids) ? r.UidLast : null,
            Ipproto = r.IpProtocol == 0 ? null : KernelNames.IpProtocol(r.IpProtocol),
            Sport = sport,
            SportStart = sportStart,
            SportEnd = sportEnd,
            SportMask = sportMask,
            Dport = dport,
            DportStart = dportStart,
            DportEnd = dportEnd,
            DportMask = dportMask,
            TunId = r.TunnelId == 0 ? null : r.TunnelId,
            Flowlabel = r.Has(RuleFlags.FlowLabel) ? Hex(r.FlowLabel) : null,
            FlowlabelMask = r.Has(RuleFlags.FlowLabelMask) && r.FlowLabelMask != 0xf_ffff ? Hex(r.FlowLabelMask) : null,
            Table = r.Action == FR_ACT_TO_TBL && !r.Has(RuleFlags.L3Mdev) ? KernelNames.Table(r.Table) : null,
            SuppressPrefixlen = r.Has(RuleFlags.SuppressPrefixLength) ? r.SuppressPrefixLength : null,
            SuppressIfgroup = r.Has(RuleFlags.SuppressInterfaceGroup) ? Number(r.SuppressInterfaceGroup) : null,
            FlowFrom = r.Realms >> 16 == 0 ? null : Number(r.Realms >> 16),
            FlowTo = (r.Realms & 0xffff) == 0 ? null : Number(r.Realms & 0xffff),
            Goto = r.Action == FR_ACT_GOTO ? r.Target : null,
            Nop = When(r.Action == FR_ACT_NOP),
            Action = ActionOf(r.Action),
            Protocol = r.Protocol is 0 or 2 ? null : KernelNames.Protocol(r.Protocol),
            Fastpath = "honoured",
        };
    }

    /// <summary>As `ip rule` prints it, without the priority.</summary>
    public static string Text(RuleView v)
    {
        List<string> words = [];
        void Add(string name, object? value, bool bare = false)
        {
            if (value is not null)
            {
                words.Add(bare ? name : $"{name} {value}");
            }
        }

        Add("not", v.Not, bare: true);
        Add("from", v.Srclen is null ? v.Src : $"{v.Src}/{v.Srclen}");
        Add("to", v.Dst is null || v.Dstlen is null ? v.Dst : $"{v.Dst}/{v.Dstlen}");
        Add("tos", v.Tos);
        Add("dscp", v.DscpMask is null ? v.Dscp : $"{v.Dscp}/{v.DscpMask}");
        Add("fwmark", v.Fwmask is null ? v.Fwmark : $"{v.Fwmark}/{v.Fwmask}");
        Add("iif", v.Iif);
        Add("oif", v.Oif);
        Add("uidrange", v.UidStart is null ? null : $"{v.UidStart}-{v.UidEnd}");
        Add("ipproto", v.Ipproto);
        Add("sport", PortText(v.Sport, v.SportStart, v.SportEnd, v.SportMask));
        Add("dport", PortText(v.Dport, v.DportStart, v.DportEnd, v.DportMask));
        Add("tun_id", v.TunId);
        Add("flowlabel", v.FlowlabelMask is null ? v.Flowlabel : $"{v.Flowlabel}/{v.FlowlabelMask}");
        Add("lookup", v.Table);
        Add("lookup [l3mdev-table]", v.L3mdev, bare: true);
        Add("suppress_prefixlength", v.SuppressPrefixlen);
        Add("suppress_ifgroup", v.SuppressIfgroup);
        Add("realms", v.FlowFrom is null ? v.FlowTo : $"{v.FlowFrom}/{v.FlowTo ?? "0"}");
        Add("goto", v.Goto);
        Add("[unresolved]", v.Unresolved, bare: true);
        Add("nop", v.Nop, bare: true);
        Add(v.Action ?? "", v.Action, bare: true);
        Add("proto", v.Protocol);
        return string.Join(' ', words);
    }

    private static string? PortText(int? one, int? first, int? last, string? mask) =>
        mask is not null ? $"{one}/{mask}" : one is not null ? Number((uint)one) : first is null ? null : $"{first}-{last}";

    private static (int? One, int? First, int? Last, string? Mask) Ports(RulePortRange p) =>
        (p.First | p.Last | p.Mask) == 0 ? default
        : p.First == p.Last || p.Mask != 0 ? (p.First, null, null, p.Mask is 0 or 0xffff ? null : Hex(p.Mask))
        : (null, p.First, p.Last, null);

    private static string? ActionOf(byte action) => action switch
    {
        FR_ACT_TO_TBL or FR_ACT_GOTO or FR_ACT_NOP => null,
        FR_ACT_BLACKHOLE => "blackhole",
        FR_ACT_UNREACHABLE => "unreachable",
        FR_ACT_PROHIBIT => "prohibit",
        _ => Number(action),
    };

    private static string? Name(Name16 name) => name.ToString() is { Length: > 0 } text ? text : null;

    private static bool? When(bool set) => set ? true : null;

    private static string Hex(uint n) => $"0x{n:x}";

    private static string Number(uint n) => n.ToString(CultureInfo.InvariantCulture);
}
