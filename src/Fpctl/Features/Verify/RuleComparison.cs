using FastPathSync.Fpctl.Features.Rule;
using FastPathSync.Fpctl.Inspection;
using FastPathSync.Netlink.Rtnetlink;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.Fpctl.Features.Verify;

/// <summary>Compares the policy rules, and the order among those of one priority, which decides between them.</summary>
internal static class RuleComparison
{
    /// <summary>A rule of the kernel's as a record of ours: without what only fpmd gives it.</summary>
    public static RuleRecord RecordOf(RuleMessage m)
    {
        RuleFlags flags = Flag((m.Flags & RuleConstants.FIB_RULE_INVERT) != 0, RuleFlags.Invert) | Flag(m.L3Mdev, RuleFlags.L3Mdev)
            | Flag(m.Dscp is not null, RuleFlags.Dscp) | Flag(m.DscpMask is not null, RuleFlags.DscpMask) | Flag(m.MarkMask is not null, RuleFlags.MarkMask)
            | Flag(m.Uids is not null, RuleFlags.Uids) | Flag(m.FlowLabel is not null, RuleFlags.FlowLabel)
            | Flag(m.FlowLabelMask is not null, RuleFlags.FlowLabelMask) | Flag(m.SuppressPrefixLength is not null, RuleFlags.SuppressPrefixLength)
            | Flag(m.SuppressInterfaceGroup is not null, RuleFlags.SuppressInterfaceGroup);
        return new RuleRecord
        {
            TunnelId = m.TunnelId,
            Destination = IpAddress.FromBytes(m.Destination.ToArray()),
            Source = IpAddress.FromBytes(m.Source.ToArray()),
            Priority = m.Priority,
            Table = m.Table,
            Target = m.Target,
            Mark = m.Mark,
            MarkMask = m.MarkMask ?? 0,
            UidFirst = m.Uids?.First ?? 0,
            UidLast = m.Uids?.Last ?? 0,
            FlowLabel = m.FlowLabel ?? 0,
            FlowLabelMask = m.FlowLabelMask ?? 0,
            SuppressPrefixLength = m.SuppressPrefixLength ?? 0,
            SuppressInterfaceGroup = m.SuppressInterfaceGroup ?? 0,
            Realms = m.Realms,
            Flags = flags,
            Unknown = m.Unknown,
            Family = m.Family,
            Action = m.Action,
            DestinationLength = m.DestinationLength,
            SourceLength = m.SourceLength,
            Tos = m.Tos,
            Dscp = m.Dscp ?? 0,
            DscpMask = m.DscpMask ?? 0,
            IpProtocol = m.IpProtocol,
            Protocol = m.Protocol,
            SourcePorts = Range(m.SourcePorts),
            DestinationPorts = Range(m.DestinationPorts),
            InputInterface = Name16.From(m.InputInterface),
            OutputInterface = Name16.From(m.OutputInterface),
        };
    }

    public static void Run(IReadOnlyList<RuleRecord> kernel, InstanceTables tables, Findings findings) => findings.Compare(
        "rule",
        Numbered(kernel),
        Numbered(RuleViews.InOrder(tables.Rules.All().Select(r => r.Value)).Select(r => r with { IdHigh = 0, IdLow = 0, Order = 0, Generation = 0 })),
        k => k.Text,
        k => Place(k.Place),
        f => Place(f.Place),
        (k, f) => k.Place == f.Place && k.Rule.Is(f.Rule));

    private static string Place(int place) => place == 0 ? "the first of its priority" : $"behind {place} of its priority";

    /// <summary>By what they say, and how many equal ones stand before; with the place among those of one priority.</summary>
    private static Dictionary<(string Text, int Twin), (RuleRecord Rule, int Place)> Numbered(IEnumerable<RuleRecord> rules)
    {
        Dictionary<(string, int), (RuleRecord, int)> numbered = [];
        Dictionary<(byte, uint), int> places = [];
        foreach (RuleRecord r in rules)
        {
            string text = $"{RuleViews.NameOf(r)}: {RuleViews.Text(RuleViews.View(r))}";
            int twin = 0, place = places.GetValueOrDefault((r.Family, r.Priority));
            while (!numbered.TryAdd((text, twin), (r, place)))
            {
                twin++;
            }

            places[(r.Family, r.Priority)] = place + 1;
        }

        return numbered;
    }

    private static RuleFlags Flag(bool set, RuleFlags flag) => set ? flag : RuleFlags.None;

    private static RulePortRange Range(RulePorts p) => new() { First = p.First, Last = p.Last, Mask = p.Mask };
}
