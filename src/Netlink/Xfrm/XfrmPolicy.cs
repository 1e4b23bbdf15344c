using System.Net;
using System.Runtime.InteropServices;

namespace FastPathSync.Netlink.Xfrm;

/// <summary>Constants of linux/xfrm.h.</summary>
public static class Xfrm
{
    public const int XFRMNLGRP_POLICY = 4;
    public const ushort XFRM_MSG_NEWPOLICY = 0x13, XFRM_MSG_GETPOLICY = 0x15, XFRM_MSG_GETDEFAULT = 0x28;
    public const byte XFRM_POLICY_IN = 0, XFRM_POLICY_OUT = 1, XFRM_POLICY_FWD = 2;
    public const byte XFRM_USERPOLICY_UNSPEC = 0, XFRM_USERPOLICY_BLOCK = 1, XFRM_USERPOLICY_ACCEPT = 2;
    public const ushort AF_UNSPEC = 0, AF_INET = 2, AF_INET6 = 10;

    /// <summary>Asks for every policy of the namespace.</summary>
    public static NetlinkRequest DumpPolicies() => new NetlinkRequest().Begin(XFRM_MSG_GETPOLICY, Nlm.NLM_F_REQUEST | Nlm.NLM_F_DUMP, new UserPolicyId());

    /// <summary>Asks what happens where no policy matches (kernel 5.15; EINVAL before).</summary>
    public static NetlinkRequest GetDefault() =>
        new NetlinkRequest().Begin(XFRM_MSG_GETDEFAULT, Nlm.NLM_F_REQUEST | Nlm.NLM_F_ACK, new XfrmUserPolicyDefault());

    /// <summary>struct xfrm_userpolicy_id: the kernel takes it as the header of GETPOLICY; a dump ignores its content.</summary>
    [StructLayout(LayoutKind.Sequential, Size = 64)]
    private struct UserPolicyId;
}

/// <summary>struct xfrm_userpolicy_default: UNSPEC, BLOCK or ACCEPT per direction.</summary>
[StructLayout(LayoutKind.Sequential)]
public struct XfrmUserPolicyDefault
{
    public byte In;
    public byte Forward;
    public byte Out;
}

/// <summary>XFRM_MSG_NEWPOLICY: struct xfrm_userpolicy_info, as far as its identity and direction.</summary>
public readonly record struct XfrmPolicy(ushort Family, byte Direction, byte Action, uint Priority, uint Index, string Selector)
{
    // struct xfrm_userpolicy_info { xfrm_selector sel; xfrm_lifetime_cfg lft; xfrm_lifetime_cur curlft; u32 priority; u32 index; u8 dir; u8 action; ... }
    private const int Size = 168, OffsetDestination = 0, OffsetSource = 16, OffsetFamily = 40, OffsetDestinationLength = 42,
        OffsetSourceLength = 43, OffsetPriority = 152, OffsetIndex = 156, OffsetDirection = 160, OffsetAction = 161;

    /// <summary>Whether it can match IPv4 packets.</summary>
    public bool IsIpv4 => Family is Xfrm.AF_INET or Xfrm.AF_UNSPEC;

    public bool IsIpv6 => Family is Xfrm.AF_INET6 or Xfrm.AF_UNSPEC;

    public static bool TryParse(in NetlinkMessage message, out XfrmPolicy policy)
    {
        policy = default;
        ReadOnlySpan<byte> p = message.Payload;
        if (message.Type != Xfrm.XFRM_MSG_NEWPOLICY || p.Length < Size)
        {
            return false;
        }

        ushort family = MemoryMarshal.Read<ushort>(p[OffsetFamily..]);
        int addressLength = family == Xfrm.AF_INET ? 4 : 16;
        policy = new XfrmPolicy(
            family,
            p[OffsetDirection],
            p[OffsetAction],
            MemoryMarshal.Read<uint>(p[OffsetPriority..]),
            MemoryMarshal.Read<uint>(p[OffsetIndex..]),
            $"src {new IPAddress(p.Slice(OffsetSource, addressLength))}/{p[OffsetSourceLength]} dst {new IPAddress(p.Slice(OffsetDestination, addressLength))}/{p[OffsetDestinationLength]}");
        return true;
    }
}
