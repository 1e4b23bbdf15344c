using System.Runtime.InteropServices;

namespace FastPathSync.SharedMemory.Tables;

/// <summary>What becomes of a packet that a rule matches.</summary>
public enum RuleAction : byte
{
    /// <summary>Linux's, under the rule's Reason.</summary>
    Punt = 0,

    /// <summary>Look it up in the trie whose root slot is Target.</summary>
    Lookup = 1,

    /// <summary>Look it up in the family's merged table: main, for whom an unconditional lookup in local came first.</summary>
    LookupMerged = 2,

    /// <summary>Go on at the rule Target, counted from the first of the list.</summary>
    Goto = 3,
}

[Flags]
public enum CompiledRuleFlags : byte
{
    None = 0,

    /// <summary>Matches what its selectors don't match.</summary>
    Invert = 1,

    /// <summary>It has a selector that isn't understood: whatever all the others match is Linux's.</summary>
    Unknown = 2,

    /// <summary>A lookup that finds a route is Linux's: whether the route is suppressed isn't known.</summary>
    PuntFound = 4,

    /// <summary>The table is local: a throw route in it is Linux's, for the merged table doesn't say what main has behind it.</summary>
    Local = 8,
}

/// <summary>
/// A policy rule as workers walk it. What can be told without a packet (forwarded ones have no mark, user, tunnel or output
/// interface yet) is decided when it is compiled: a rule that never matches isn't there, one that always does has no
/// selectors. Writer: fpmd. Published as RuleList says; never changed while a list names it.
/// </summary>
[StructLayout(LayoutKind.Sequential)]
public struct CompiledRule
{
    public const ushort AnyPort = 0xffff;

    public FibKey Destination;
    public FibKey DestinationMask;
    public FibKey Source;
    public FibKey SourceMask;

    public uint FlowLabel;
    public uint FlowLabelMask;
    public ushort SourcePort;             // value and mask, and a range: both must hold
    public ushort SourcePortMask;
    public ushort SourcePortFirst;
    public ushort SourcePortLast;
    public ushort DestinationPort;
    public ushort DestinationPortMask;
    public ushort DestinationPortFirst;
    public ushort DestinationPortLast;
    public ushort InputPort;              // PortId, AnyPort
    public byte Dscp;                     // DS field; the ECN bits are never compared
    public byte DscpMask;
    public byte Protocol;                 // 0 any
    public CompiledRuleFlags Flags;
    public RuleAction Action;
    public PuntReason Reason;
    public int Target;
    public int SuppressDepth;             // a found prefix of at most this length isn't accepted; -1: all are
    public uint Priority;
    public uint Reserved0;
    public ulong Reserved1;
    public ulong Reserved2;

    /// <summary>Every bit the same: there is no padding.</summary>
    public readonly bool Is(in CompiledRule other) =>
        MemoryMarshal.AsBytes(new ReadOnlySpan<CompiledRule>(in this)).SequenceEqual(MemoryMarshal.AsBytes(new ReadOnlySpan<CompiledRule>(in other)));
}

/// <summary>
/// Where a family's rules stand: one word of VrfState, so that a list replaces another by one store. 0: the rules are the
/// default ones and the merged table is all there is. Bits 0-31 first rule, 32-47 count, 48 whether some rule asks for
/// protocol or ports, 63 always set.
/// </summary>
public readonly record struct RuleList(ulong Value)
{
    private const ulong Present = 1ul << 63, Transport = 1ul << 48;

    public bool IsDefault => Value == 0;

    public int First => (int)(uint)Value;

    public int Count => (int)(Value >> 32) & 0xffff;

    public bool NeedsTransport => (Value & Transport) != 0;

    public static RuleList Of(int first, int count, bool needsTransport) =>
        new(Present | (needsTransport ? Transport : 0) | ((ulong)(uint)count << 32) | (uint)first);
}
