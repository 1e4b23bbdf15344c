using System.Runtime.CompilerServices;
using FastPathSync.Netlink.Rtnetlink;

namespace FastPathSync.Netlink.TrafficControl;

/// <summary>RTM_NEWTFILTER: a filter, or (handle 0) the list of filters of one preference.</summary>
public readonly record struct TcFilter(string Kind, uint Handle)
{
    /// <summary>linux/pkt_sched.h: the hooks of clsact, TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS or …EGRESS); the first is also that of ingress.</summary>
    public const uint IngressParent = 0xffff_fff2, EgressParent = 0xffff_fff3;

    private const ushort RTM_NEWTFILTER = 44, RTM_GETTFILTER = 46; // linux/rtnetlink.h

    public static NetlinkRequest Dump(int ifindex, uint parent) =>
        new NetlinkRequest().Begin(RTM_GETTFILTER, Nlm.NLM_F_REQUEST | Nlm.NLM_F_DUMP, new TcMsg { Index = ifindex, Parent = parent });

    public static bool TryParse(in NetlinkMessage message, out TcFilter filter)
    {
        filter = default;
        if (message.Type != RTM_NEWTFILTER || !message.TryHeader(out TcMsg header))
        {
            return false;
        }

        foreach (NetlinkAttribute a in message.Attributes(Unsafe.SizeOf<TcMsg>()))
        {
            if (a.Type == QdiscConstants.TCA_KIND)
            {
                filter = new TcFilter(a.Text, header.Handle);
                return true;
            }
        }

        return false;
    }
}
