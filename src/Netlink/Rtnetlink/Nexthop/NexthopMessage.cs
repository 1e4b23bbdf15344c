using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace FastPathSync.Netlink.Rtnetlink;

/// <summary>struct nhmsg (linux/nexthop.h).</summary>
[StructLayout(LayoutKind.Sequential)]
public struct NhMsg
{
    public byte Family;
    public byte Scope;
    public byte Protocol;
    public byte Reserved;
    public uint Flags;
}

/// <summary>struct nexthop_grp (linux/nexthop.h).</summary>
[StructLayout(LayoutKind.Sequential)]
public struct NexthopGrp
{
    public uint Id;
    public byte Weight;
    public byte WeightHigh;
    public ushort Reserved;
}

/// <summary>linux/nexthop.h</summary>
public static class NexthopConstants
{
    public const ushort NHA_ID = 1, NHA_GROUP = 2, NHA_GROUP_TYPE = 3, NHA_BLACKHOLE = 4, NHA_OIF = 5, NHA_GATEWAY = 6, NHA_ENCAP = 8, NHA_FDB = 11,
        NHA_RES_GROUP = 12, NHA_RES_BUCKET = 13;
    public const ushort NHA_RES_GROUP_BUCKETS = 1, NHA_RES_BUCKET_INDEX = 1, NHA_RES_BUCKET_NH_ID = 3;
    public const ushort NEXTHOP_GRP_TYPE_MPATH = 0, NEXTHOP_GRP_TYPE_RES = 1;
}

/// <summary>A member of a nexthop group; Weight counts from 1.</summary>
public readonly record struct NexthopGroupMember(uint Id, uint Weight);

/// <summary>RTM_NEWNEXTHOP, RTM_DELNEXTHOP.</summary>
public sealed class NexthopMessage
{
    public required byte Family { get; init; }

    public required byte Scope { get; init; }

    /// <summary>RTPROT_*</summary>
    public required byte Protocol { get; init; }

    /// <summary>RTNH_F_*</summary>
    public required uint Flags { get; init; }

    public uint Id { get; private set; }

    public int Index { get; private set; }

    public InetAddress Gateway { get; private set; }

    public bool Blackhole { get; private set; }

    public bool Fdb { get; private set; }

    public bool Encap { get; private set; }

    /// <summary>NEXTHOP_GRP_TYPE_*</summary>
    public ushort GroupType { get; private set; }

    /// <summary>Not empty: this is a group.</summary>
    public NexthopGroupMember[] Members { get; private set; } = [];

    public static bool TryParse(in NetlinkMessage message, [NotNullWhen(true)] out NexthopMessage? nexthop)
    {
        nexthop = null;
        if (message.Type is not (Rtm.RTM_NEWNEXTHOP or Rtm.RTM_DELNEXTHOP) || !message.TryHeader(out NhMsg h))
        {
            return false;
        }

        NexthopMessage m = new() { Family = h.Family, Scope = h.Scope, Protocol = h.Protocol, Flags = h.Flags };
        NetlinkAttributes attributes = message.Attributes(Unsafe.SizeOf<NhMsg>());
        while (attributes.MoveNext())
        {
            NetlinkAttribute a = attributes.Current;
            switch (a.Type)
            {
                case NexthopConstants.NHA_ID:
                    m.Id = a.U32;
                    break;
                case NexthopConstants.NHA_OIF:
                    m.Index = (int)a.U32;
                    break;
                case NexthopConstants.NHA_GATEWAY:
                    if (!InetAddress.TryRead(a.Payload, out InetAddress gateway))
                    {
                        return false;
                    }

                    m.Gateway = gateway;
                    break;
                case NexthopConstants.NHA_BLACKHOLE:
                    m.Blackhole = true;
                    break;
                case NexthopConstants.NHA_FDB:
                    m.Fdb = true;
                    break;
                case NexthopConstants.NHA_ENCAP:
                    m.Encap = true;
                    break;
                case NexthopConstants.NHA_GROUP_TYPE:
                    m.GroupType = a.U16;
                    break;
                case NexthopConstants.NHA_GROUP:
                    ReadOnlySpan<NexthopGrp> members = MemoryMarshal.Cast<byte, NexthopGrp>(a.Payload);
                    if (a.Payload.Length % Unsafe.SizeOf<NexthopGrp>() != 0)
                    {
                        return false;
                    }

                    m.Members = new NexthopGroupMember[members.Length];
                    for (int i = 0; i < members.Length; i++)
                    {
                        // nexthop_grp_weight(): kernels before 6.12 leave the high byte zero
                        m.Members[i] = new NexthopGroupMember(members[i].Id, (uint)((members[i].WeightHigh << 8) | members[i].Weight) + 1);
                    }

                    break;
            }
        }

        if (attributes.Malformed || m.Id == 0)
        {
            return false;
        }

        nexthop = m;
        return true;
    }

    /// <summary>All nexthop objects: groups have no family, so the kernel can't filter by one.</summary>
    public static NetlinkRequest Dump() =>
        new NetlinkRequest().Begin(Rtm.RTM_GETNEXTHOP, Nlm.NLM_F_REQUEST | Nlm.NLM_F_DUMP, default(NhMsg));
}
