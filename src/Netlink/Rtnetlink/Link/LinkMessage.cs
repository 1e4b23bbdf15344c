using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace FastPathSync.Netlink.Rtnetlink;

/// <summary>struct ifinfomsg (linux/rtnetlink.h).</summary>
[StructLayout(LayoutKind.Sequential)]
public struct IfInfoMsg
{
    public byte Family;
    public byte Pad;
    public ushort Type;
    public int Index;
    public uint Flags;
    public uint Change;
}

/// <summary>linux/if_link.h, net/if.h, RFC 2863 operational states.</summary>
public static class LinkConstants
{
    public const ushort IFLA_ADDRESS = 1, IFLA_IFNAME = 3, IFLA_MTU = 4, IFLA_LINK = 5, IFLA_MASTER = 10, IFLA_OPERSTATE = 16,
        IFLA_LINKINFO = 18, IFLA_AF_SPEC = 26, IFLA_EXT_MASK = 29, IFLA_XDP = 43;

    public const ushort IFLA_INFO_KIND = 1;
    public const ushort IFLA_INET6_CONF = 2;

    /// <summary>Places in IFLA_INET6_CONF (linux/ipv6.h).</summary>
    public const int DEVCONF_MTU6 = 2, DEVCONF_DISABLE_IPV6 = 26;
    public const uint IFF_UP = 1, IFF_LOOPBACK = 8, IFF_RUNNING = 0x40, IFF_PROMISC = 0x100, IFF_LOWER_UP = 0x10000;

    /// <summary>IFLA_EXT_MASK: leave the statistics out.</summary>
    public const uint RTEXT_FILTER_SKIP_STATS = 8;
}

/// <summary>RTM_NEWLINK, RTM_DELLINK.</summary>
public sealed class LinkMessage
{
    /// <summary>AF_UNSPEC, or AF_BRIDGE for a bridge's own message about a port, which says nothing of the link itself.</summary>
    public required byte Family { get; init; }

    public required int Index { get; init; }

    /// <summary>ARPHRD_*</summary>
    public required ushort Type { get; init; }

    /// <summary>IFF_*</summary>
    public required uint Flags { get; init; }

    public string Name { get; private set; } = "";

    /// <summary>IFLA_INFO_KIND, empty for hardware and lo.</summary>
    public string Kind { get; private set; } = "";

    public byte[] Address { get; private set; } = [];

    public uint Mtu { get; private set; }

    /// <summary>IF_OPER_*</summary>
    public byte OperState { get; private set; }

    public int Master { get; private set; }

    public int Link { get; private set; }

    /// <summary>net.ipv6.conf.IF.mtu; 0 when there is no IPv6 on it (its MTU is under 1280).</summary>
    public uint Mtu6 { get; private set; }

    /// <summary>net.ipv6.conf.IF.disable_ipv6</summary>
    public bool Ipv6Disabled { get; private set; }

    public bool HasIpv6 => Mtu6 != 0 && !Ipv6Disabled;

    public bool IsUp => (Flags & LinkConstants.IFF_UP) != 0;

    public bool HasCarrier => (Flags & LinkConstants.IFF_LOWER_UP) != 0;

    public static bool TryParse(in NetlinkMessage message, [System.Diagnostics.CodeAnalysis.NotNullWhen(true)] out LinkMessage? link)
    {
        link = null;
        if (message.Type is not (Rtm.RTM_NEWLINK or Rtm.RTM_DELLINK) || !message.TryHeader(out IfInfoMsg h) || h.Index <= 0)
        {
            return false;
        }

        LinkMessage m = new() { Family = h.Family, Index = h.Index, Type = h.Type, Flags = h.Flags };
        NetlinkAttributes attributes = message.Attributes(Unsafe.SizeOf<IfInfoMsg>());
        while (attributes.MoveNext())
        {
            NetlinkAttribute a = attributes.Current;
            switch (a.Type)
            {
                case LinkConstants.IFLA_IFNAME:
                    m.Name = a.Text;
                    break;
                case LinkConstants.IFLA_ADDRESS:
                    m.Address = a.Payload.ToArray();
                    break;
                case LinkConstants.IFLA_MTU:
                    m.Mtu = a.U32;
                    break;
                case LinkConstants.IFLA_OPERSTATE:
                    m.OperState = a.U8;
                    break;
                case LinkConstants.IFLA_MASTER:
                    m.Master = (int)a.U32;
                    break;
                case LinkConstants.IFLA_LINK:
                    m.Link = (int)a.U32;
                    break;
                case LinkConstants.IFLA_LINKINFO:
                    NetlinkAttributes info = a.Nested;
                    while (info.MoveNext())
                    {
                        if (info.Current.Type == LinkConstants.IFLA_INFO_KIND)
                        {
                            m.Kind = info.Current.Text;
                        }
                    }

                    if (info.Malformed)
                    {
                        return false;
                    }

                    break;
                case LinkConstants.IFLA_AF_SPEC:
                    m.ReadIpv6(a.Nested);
                    break;
            }
        }

        if (attributes.Malformed)
        {
            return false;
        }

        link = m;
        return true;
    }

    /// <summary>Takes over what changes without an event.</summary>
    public void TakeIpv6(LinkMessage later)
    {
        Mtu6 = later.Mtu6;
        Ipv6Disabled = later.Ipv6Disabled;
    }

    private void ReadIpv6(NetlinkAttributes families)
    {
        foreach (NetlinkAttribute family in families)
        {
            if (family.Type != Rtm.AF_INET6)
            {
                continue;
            }

            foreach (NetlinkAttribute a in family.Nested)
            {
                ReadOnlySpan<int> values = MemoryMarshal.Cast<byte, int>(a.Payload);
                if (a.Type == LinkConstants.IFLA_INET6_CONF && values.Length > LinkConstants.DEVCONF_DISABLE_IPV6)
                {
                    Mtu6 = (uint)values[LinkConstants.DEVCONF_MTU6];
                    Ipv6Disabled = values[LinkConstants.DEVCONF_DISABLE_IPV6] != 0;
                }
            }
        }
    }

    public static NetlinkRequest Dump() =>
        new NetlinkRequest().Begin(Rtm.RTM_GETLINK, Nlm.NLM_F_REQUEST | Nlm.NLM_F_DUMP, default(IfInfoMsg))
            .Attribute(LinkConstants.IFLA_EXT_MASK, LinkConstants.RTEXT_FILTER_SKIP_STATS);
}
