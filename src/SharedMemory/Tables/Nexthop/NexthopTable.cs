using System.Runtime.InteropServices;

namespace FastPathSync.SharedMemory.Tables;

/// <summary>What a worker does with a packet whose lookup ended at a nexthop.</summary>
public enum NexthopAction : byte
{
    /// <summary>Hand the packet to Linux; the word carries the reason. The zero word is "punt: no route".</summary>
    Punt = 0,

    /// <summary>Rewrite by the adjacency at Index and send.</summary>
    Forward = 1,

    /// <summary>The destination is on-link on the interface with ifindex Index: look its neighbour up.</summary>
    OnLink = 2,

    /// <summary>Choose one of MemberCount members starting at member Index: the first whose bound the flow hash doesn't exceed.</summary>
    Group = 3,

    /// <summary>A resilient group: member Index + flow hash mod MemberCount, each member being one of the kernel's buckets.</summary>
    Buckets = 4,
}

/// <summary>
/// A nexthop as workers read it: one aligned 64-bit word, so that a change is one store and every route that leads here
/// follows at once. Bits 0-31 index, 32-47 MTU (or member count), 48-55 punt reason, 56-63 action.
/// </summary>
public readonly record struct NexthopWord(ulong Value)
{
    public uint Index => (uint)Value;

    public uint Mtu => (uint)(Value >> 32) & 0xffff;

    public uint MemberCount => (uint)(Value >> 32) & 0xffff;

    public PuntReason Reason => (PuntReason)(byte)(Value >> 48);

    public NexthopAction Action => (NexthopAction)(byte)(Value >> 56);

    public bool IsGroup => Action is NexthopAction.Group or NexthopAction.Buckets;

    /// <param name="reason">Why.</param>
    /// <param name="ifindex">Of a route that does lead somewhere, the interface: where packets from there may come in (rp_filter).</param>
    public static NexthopWord Punt(PuntReason reason, uint ifindex = 0) => new(((ulong)reason << 48) | ifindex);

    public static NexthopWord Forward(int adjacency, uint mtu) => Make(NexthopAction.Forward, (uint)adjacency, mtu);

    public static NexthopWord OnLink(uint ifindex, uint mtu) => Make(NexthopAction.OnLink, ifindex, mtu);

    public static NexthopWord Group(int firstMember, int count) => Make(NexthopAction.Group, (uint)firstMember, (uint)count);

    public static NexthopWord Buckets(int firstMember, int count) => Make(NexthopAction.Buckets, (uint)firstMember, (uint)count);

    private static NexthopWord Make(NexthopAction action, uint index, uint mtu) =>
        new(((ulong)action << 56) | ((ulong)Math.Min(mtu, 0xffff) << 32) | index);
}

public enum NexthopKind : byte
{
    None = 0,

    /// <summary>Through a gateway, or on-link when Gateway is None.</summary>
    Single = 1,

    /// <summary>Linux's answer to give: local, broadcast, blackhole, unreachable, unsupported ...</summary>
    Punt = 2,

    Group = 3,

    /// <summary>A group whose members are buckets that only the kernel reassigns (NEXTHOP_GRP_TYPE_RES).</summary>
    ResilientGroup = 4,
}

/// <summary>
/// The full nexthop beside each word, for fpctl and for fpmd's own restart. Index 0 is the FIB's default: what happens to
/// addresses that no route but 0.0.0.0/0 covers. Writer: fpmd.
/// </summary>
[StructLayout(LayoutKind.Sequential)]
public struct NexthopRecord
{
    public uint ObjectId;      // NHA_ID, 0 for nexthops that live in their routes
    public uint IfIndex;
    public IpAddress Gateway;
    public ushort Mtu;         // of the route, 0: the interface's
    public NexthopKind Kind;
    public PuntReason Reason;  // of Kind Punt
    public int FirstMember;
    public ushort MemberCount;
    public ushort Flags;       // RTNH_F_*

    /// <summary>AF_* of the routes that use it: what an MTU of 0 means depends on it.</summary>
    public byte Family;
    public byte Reserved0;

    /// <summary>Of Kind ResilientGroup: so many buckets stand behind the members.</summary>
    public ushort BucketCount;
    public uint Reserved1;
    public ulong Generation;

    public readonly bool IsGroup => Kind is NexthopKind.Group or NexthopKind.ResilientGroup;
}

/// <summary>
/// A group's member. A flow whose hash is at most UpperBound (and above the previous member's) goes this way. Of a bucket
/// only Nexthop counts.
/// </summary>
[StructLayout(LayoutKind.Sequential)]
public struct GroupMember
{
    /// <summary>UpperBound of one that no hash reaches; such members stand behind the others.</summary>
    public const uint NoShare = 0;

    public uint UpperBound;
    public int Nexthop;
    public uint Weight;
    public uint Order;        // as configured
}

/// <summary>The nexthop segment: words, then as many members, then records.</summary>
public static unsafe class NexthopSegment
{
    public static nuint BodyLength => BodyLengthFor(Capacities.Nexthops);

    public static nuint BodyLengthFor(int nexthops) => RecordsAt(nexthops) + RecordTable.BytesFor<NexthopRecord>(nexthops);

    public static ulong* Words(Segment s) => (ulong*)s.Body;

    public static GroupMember* Members(Segment s) => (GroupMember*)(s.Body + ((nuint)s.Capacity * 8));

    public static byte* Records(Segment s) => s.Body + RecordsAt(s.Capacity);

    private static nuint RecordsAt(int nexthops) => (nuint)nexthops * (8 + (nuint)sizeof(GroupMember));
}
