using System.Buffers.Binary;
using System.Security.Cryptography;
using FastPathSync.Fpc;
using FastPathSync.Netlink;
using FastPathSync.Netlink.Rtnetlink;
using Google.Protobuf;
using Wire = FastPathSync.Fpc.Protocol;

namespace FastPathSync.CacheManager.Features.Rule;

/// <summary>
/// Policy rules of both families. A rule has no key in the kernel but all that it says, and a place among those of its
/// priority: a new one stands behind them (fib_newrule, net/core/fib_rules.c).
/// </summary>
/// <remarks>
/// The kernel holds equal rules several times for whoever adds them without NLM_F_EXCL. An event can't tell such a twin from
/// a rule that an earlier dump has brought already, so twins are only ever learnt by a dump.
/// </remarks>
public sealed class RuleFeature(Cascade cascade) : CachedFeature<UInt128, Wire.Rule>
{
    private static readonly byte[] s_families = [Rtm.AF_INET, Rtm.AF_INET6];
    private readonly Wire.RuleBatch _batch = new();
    private ulong _lastOrder;

    public override Wire.ObjectKind Kind => Wire.ObjectKind.Rule;

    public override IReadOnlyList<int> Groups { get; } = [Rtm.RTNLGRP_IPV4_RULE, Rtm.RTNLGRP_IPV6_RULE];

    public override IReadOnlyList<ushort> MessageTypes { get; } = [Rtm.RTM_NEWRULE, Rtm.RTM_DELRULE];

    protected override FpcType BatchType => FpcType.Rule;

    public override EventOutcome Apply(scoped in NetlinkMessage message)
    {
        if (!RuleMessage.TryParse(in message, out RuleMessage? m))
        {
            return EventOutcome.Malformed;
        }

        if (!s_families.Contains(m.Family))
        {
            return EventOutcome.Ignored; // rules of multicast routing come by the same group
        }

        Wire.Rule rule = ToWire(m);
        UInt128 id = Identify(rule, twin: 0);
        bool known = Cache.ContainsKey(id);
        if (known == (message.Type == Rtm.RTM_NEWRULE) || Cache.ContainsKey(Identify(rule, twin: 1)))
        {
            cascade.Doubt(); // older than the dump, or twins
        }
        else if (known)
        {
            Remove(id);
        }
        else
        {
            rule.Order = ++_lastOrder;
            Put(id, rule);
        }

        return EventOutcome.Applied;
    }

    protected override void Dump(NetlinkSocket socket, Dictionary<UInt128, Wire.Rule> fresh)
    {
        ulong order = 0;
        foreach (byte family in s_families)
        {
            List<Wire.Rule> rules = [];
            NetlinkDump.Run(socket, () => RuleMessage.Dump(family), rules.Clear, Urgent, (scoped in NetlinkMessage m) =>
            {
                RuleMessage r = RuleMessage.TryParse(in m, out RuleMessage? parsed) ? parsed : throw NetlinkDump.Malformed(in m);
                if (r.Family == family)
                {
                    rules.Add(ToWire(r));
                }
            });
            foreach (Wire.Rule rule in rules)
            {
                uint twin = 0;
                UInt128 id = Identify(rule, twin);
                while (fresh.ContainsKey(id))
                {
                    id = Identify(rule, ++twin);
                }

                // Whoever stands where it stood keeps its number, so that nothing is published anew.
                order = Cache.TryGetValue(id, out Wire.Rule? known) && known.Order > order ? known.Order : order + 1;
                rule.Order = order;
                fresh.Add(id, rule);
            }
        }

        _lastOrder = Math.Max(_lastOrder, order);
    }

    protected override void AppendUpsert(UInt128 key, in Wire.Rule value)
    {
        Wire.Rule rule = value.Clone();
        rule.Id = Bytes(key);
        _batch.Updates.Add(new Wire.RuleBatch.Types.Update { Upsert = rule });
    }

    protected override void AppendDelete(UInt128 key) =>
        _batch.Updates.Add(new Wire.RuleBatch.Types.Update { Delete = new Wire.RuleKey { Id = Bytes(key) } });

    protected override IMessage Batch(ulong observedNs)
    {
        _batch.ObservedNs = observedNs;
        return _batch;
    }

    protected override void EmptyBatch() => _batch.Updates.Clear();

    /// <summary>A number that only this rule has: of all that it says, and of how many equal ones stand before it.</summary>
    private static UInt128 Identify(Wire.Rule rule, uint twin)
    {
        byte[] said = new byte[rule.CalculateSize() + 4];
        rule.WriteTo(said.AsSpan(4));
        BinaryPrimitives.WriteUInt32BigEndian(said, twin);
        return BinaryPrimitives.ReadUInt128BigEndian(SHA256.HashData(said));
    }

    private static ByteString Bytes(UInt128 id)
    {
        byte[] bytes = new byte[16];
        BinaryPrimitives.WriteUInt128BigEndian(bytes, id);
        return UnsafeByteOperations.UnsafeWrap(bytes);
    }

    private static Wire.Rule ToWire(RuleMessage m)
    {
        Wire.Rule w = new()
        {
            Family = m.Family,
            Priority = m.Priority,
            Action = m.Action,
            Table = m.Table,
            Target = m.Target,
            Invert = (m.Flags & RuleConstants.FIB_RULE_INVERT) != 0,
            Destination = ByteString.CopyFrom(m.Destination.ToArray()),
            DestinationLength = m.DestinationLength,
            Source = ByteString.CopyFrom(m.Source.ToArray()),
            SourceLength = m.SourceLength,
            Tos = m.Tos,
            Iif = m.InputInterface,
            Oif = m.OutputInterface,
            Fwmark = m.Mark,
            TunnelId = m.TunnelId,
            L3Mdev = m.L3Mdev,
            IpProtocol = m.IpProtocol,
            SourcePorts = Ports(m.SourcePorts),
            DestinationPorts = Ports(m.DestinationPorts),
            Realms = m.Realms,
            Protocol = m.Protocol,
            Unknown = m.Unknown,
        };
        Set(m.MarkMask, v => w.Fwmask = v);
        Set(m.Dscp, v => w.Dscp = v);
        Set(m.DscpMask, v => w.DscpMask = v);
        Set(m.FlowLabel, v => w.FlowLabel = v);
        Set(m.FlowLabelMask, v => w.FlowLabelMask = v);
        Set(m.SuppressPrefixLength, v => w.SuppressPrefixLength = v);
        Set(m.SuppressInterfaceGroup, v => w.SuppressInterfaceGroup = v);
        if (m.Uids is (uint first, uint last))
        {
            w.UidFirst = first;
            w.UidLast = last;
        }

        return w;
    }

    private static void Set(uint? value, Action<uint> set)
    {
        if (value is uint v)
        {
            set(v);
        }
    }

    private static Wire.RulePorts? Ports(RulePorts p) => p.IsAny ? null : new Wire.RulePorts { First = p.First, Last = p.Last, Mask = p.Mask };
}
