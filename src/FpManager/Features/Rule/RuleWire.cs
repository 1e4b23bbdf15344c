using System.Buffers.Binary;
using FastPathSync.SharedMemory.Tables;
using Wire = FastPathSync.Fpc.Protocol;

namespace FastPathSync.FpManager.Features.Rule;

/// <summary>A rule from FPC's message to its record. BatchValidator has seen it.</summary>
internal static class RuleWire
{
    public static RuleRecord RecordOf(Wire.Rule w, ulong generation)
    {
        RuleFlags flags = Flag(w.Invert, RuleFlags.Invert) | Flag(w.L3Mdev, RuleFlags.L3Mdev) | Flag(w.HasDscp, RuleFlags.Dscp)
            | Flag(w.HasDscpMask, RuleFlags.DscpMask) | Flag(w.HasFwmask, RuleFlags.MarkMask) | Flag(w.HasUidLast, RuleFlags.Uids)
            | Flag(w.HasFlowLabel, RuleFlags.FlowLabel) | Flag(w.HasFlowLabelMask, RuleFlags.FlowLabelMask)
            | Flag(w.HasSuppressPrefixLength, RuleFlags.SuppressPrefixLength) | Flag(w.HasSuppressInterfaceGroup, RuleFlags.SuppressInterfaceGroup);
        return new RuleRecord
        {
            IdHigh = BinaryPrimitives.ReadUInt64BigEndian(w.Id.Span),
            IdLow = BinaryPrimitives.ReadUInt64BigEndian(w.Id.Span[8..]),
            Order = w.Order,
            TunnelId = w.TunnelId,
            Destination = IpAddress.FromBytes(w.Destination.Span),
            Source = IpAddress.FromBytes(w.Source.Span),
            Priority = w.Priority,
            Table = w.Table,
            Target = w.Target,
            Mark = w.Fwmark,
            MarkMask = w.Fwmask,
            UidFirst = w.UidFirst,
            UidLast = w.UidLast,
            FlowLabel = w.FlowLabel,
            FlowLabelMask = w.FlowLabelMask,
            SuppressPrefixLength = w.SuppressPrefixLength,
            SuppressInterfaceGroup = w.SuppressInterfaceGroup,
            Realms = w.Realms,
            Flags = flags,
            Unknown = (ushort)w.Unknown,
            Family = (byte)w.Family,
            Action = (byte)w.Action,
            DestinationLength = (byte)w.DestinationLength,
            SourceLength = (byte)w.SourceLength,
            Tos = (byte)w.Tos,
            Dscp = (byte)w.Dscp,
            DscpMask = (byte)w.DscpMask,
            IpProtocol = (byte)w.IpProtocol,
            Protocol = (byte)w.Protocol,
            SourcePorts = Range(w.SourcePorts),
            DestinationPorts = Range(w.DestinationPorts),
            InputInterface = Name16.From(w.Iif),
            OutputInterface = Name16.From(w.Oif),
            Generation = generation,
        };
    }

    private static RuleFlags Flag(bool set, RuleFlags flag) => set ? flag : RuleFlags.None;

    private static RulePortRange Range(Wire.RulePorts? p) =>
        p is null ? default : new RulePortRange { First = (ushort)p.First, Last = (ushort)p.Last, Mask = (ushort)p.Mask };
}
