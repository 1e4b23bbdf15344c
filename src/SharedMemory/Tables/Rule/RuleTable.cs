using System.Runtime.InteropServices;

namespace FastPathSync.SharedMemory.Tables;

/// <summary>Which selectors a rule has that are known by their presence, not by their value.</summary>
[Flags]
public enum RuleFlags : ushort
{
    None = 0,
    Invert = 1,
    L3Mdev = 2,
    Dscp = 4,
    DscpMask = 8,
    MarkMask = 16,
    Uids = 32,
    FlowLabel = 64,
    FlowLabelMask = 128,
    SuppressPrefixLength = 256,
    SuppressInterfaceGroup = 512,
}

/// <summary>Port selector as the kernel's: a range, or with a mask the bits of First that count; all zero: any port.</summary>
[StructLayout(LayoutKind.Sequential)]
public struct RulePortRange
{
    public ushort First;
    public ushort Last;
    public ushort Mask;
    public ushort Reserved;
}

/// <summary>
/// Policy rules as Linux holds them, both families. Key: id. Writer: fpmd. Readers: fpctl (show, verify); workers use what
/// was compiled from them (CompiledRule).
/// </summary>
[StructLayout(LayoutKind.Sequential)]
public struct RuleRecord
{
    public ulong IdHigh;
    public ulong IdLow;
    public ulong Order;             // among rules of one family and priority
    public ulong TunnelId;
    public IpAddress Destination;
    public IpAddress Source;
    public uint Priority;
    public uint Table;
    public uint Target;             // of FR_ACT_GOTO: a priority
    public uint Mark;
    public uint MarkMask;
    public uint UidFirst;
    public uint UidLast;
    public uint FlowLabel;
    public uint FlowLabelMask;
    public uint SuppressPrefixLength;
    public uint SuppressInterfaceGroup;
    public uint Realms;
    public RuleFlags Flags;
    public ushort Unknown;          // a netlink attribute nobody has a name for, 0 none
    public byte Family;             // AF_INET, AF_INET6
    public byte Action;             // FR_ACT_*
    public byte DestinationLength;
    public byte SourceLength;
    public byte Tos;
    public byte Dscp;               // six bits
    public byte DscpMask;
    public byte IpProtocol;         // IPPROTO_*, 0 any
    public byte Protocol;           // RTPROT_*
    public byte Reserved0;
    public ushort Reserved1;
    public RulePortRange SourcePorts;
    public RulePortRange DestinationPorts;
    public Name16 InputInterface;
    public Name16 OutputInterface;
    public ulong Generation;

    public readonly bool Has(RuleFlags flag) => (Flags & flag) != 0;

    /// <summary>Every bit the same: there is no padding.</summary>
    public readonly bool Is(in RuleRecord other) =>
        MemoryMarshal.AsBytes(new ReadOnlySpan<RuleRecord>(in this)).SequenceEqual(MemoryMarshal.AsBytes(new ReadOnlySpan<RuleRecord>(in other)));
}

/// <summary>The rule segment: records, then the compiled rules, which are one arena for both families.</summary>
public static unsafe class RuleSegment
{
    public static nuint BodyLength => Records + ((nuint)Capacities.CompiledRules * (nuint)sizeof(CompiledRule));

    private static nuint Records => (RecordTable.BytesFor<RuleRecord>(Capacities.Rules) + 127) / 128 * 128;

    public static CompiledRule* Compiled(Segment s) => (CompiledRule*)(s.Body + Records);
}
