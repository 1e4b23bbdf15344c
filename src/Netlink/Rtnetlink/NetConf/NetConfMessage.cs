using System.Diagnostics.CodeAnalysis;

namespace FastPathSync.Netlink.Rtnetlink;

/// <summary>linux/netconf.h</summary>
public static class NetConfConstants
{
    public const ushort NETCONFA_IFINDEX = 1, NETCONFA_FORWARDING = 2, NETCONFA_RP_FILTER = 3, NETCONFA_PROXY_NEIGH = 5, NETCONFA_IGNORE_ROUTES_WITH_LINKDOWN = 6;
    public const int NETCONFA_IFINDEX_ALL = -1, NETCONFA_IFINDEX_DEFAULT = -2;
}

/// <summary>
/// RTM_NEWNETCONF, RTM_DELNETCONF. An event carries only what changed: the others are null. struct netconfmsg is its
/// family, one byte.
/// </summary>
public sealed class NetConfMessage
{
    public required byte Family { get; init; }

    /// <summary>An interface, NETCONFA_IFINDEX_ALL or NETCONFA_IFINDEX_DEFAULT.</summary>
    public int Index { get; private set; }

    public bool? Forwarding { get; private set; }

    public uint? RpFilter { get; private set; }

    public bool? ProxyNeighbour { get; private set; }

    public bool? IgnoreRoutesWithLinkDown { get; private set; }

    public static bool TryParse(in NetlinkMessage message, [NotNullWhen(true)] out NetConfMessage? netConf)
    {
        netConf = null;
        if (message.Type is not (Rtm.RTM_NEWNETCONF or Rtm.RTM_DELNETCONF) || message.Payload.IsEmpty)
        {
            return false;
        }

        NetConfMessage m = new() { Family = message.Payload[0] };
        NetlinkAttributes attributes = message.Attributes(1);
        while (attributes.MoveNext())
        {
            NetlinkAttribute a = attributes.Current;
            switch (a.Type)
            {
                case NetConfConstants.NETCONFA_IFINDEX:
                    m.Index = (int)a.U32;
                    break;
                case NetConfConstants.NETCONFA_FORWARDING:
                    m.Forwarding = a.U32 != 0;
                    break;
                case NetConfConstants.NETCONFA_RP_FILTER:
                    m.RpFilter = a.U32;
                    break;
                case NetConfConstants.NETCONFA_PROXY_NEIGH:
                    m.ProxyNeighbour = a.U32 != 0;
                    break;
                case NetConfConstants.NETCONFA_IGNORE_ROUTES_WITH_LINKDOWN:
                    m.IgnoreRoutesWithLinkDown = a.U32 != 0;
                    break;
            }
        }

        if (attributes.Malformed || m.Index == 0)
        {
            return false;
        }

        netConf = m;
        return true;
    }

    public static NetlinkRequest Dump(byte family) =>
        new NetlinkRequest().Begin(Rtm.RTM_GETNETCONF, Nlm.NLM_F_REQUEST | Nlm.NLM_F_DUMP, family);
}
