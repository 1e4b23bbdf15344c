using System.Runtime.CompilerServices;
using FastPathSync.Netlink.Rtnetlink;

namespace FastPathSync.Netlink.TrafficControl;

/// <summary>RTM_NEWTFILTER: a filter, or (handle 0) the list of filters of one preference.</summary>
public readonly record struct TcFilter(string Kind, uint Handle)
{
    /// <summary>linux/pkt_sched.h: the hooks of clsact, TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS or …EGRESS); the first is also that of ingress.</summary>
    public const uint IngressParent = 0xffff_fff2, EgressParent = 0xffff_fff3;

    private const ushort RTM_NEWTFILTER = 44, RTM_GETTFILTER = 46; // linux/rtnetlink.h
    private const ushort TCA_OPTIONS = 2, TCA_BPF_ID = 11; // linux/rtnetlink.h, linux/pkt_cls.h

    /// <summary>Its preference: filters of a lower one are asked first.</summary>
    public ushort Priority { get; init; }

    /// <summary>The id of its eBPF program (kind "bpf"), else 0.</summary>
    public uint ProgramId { get; init; }

    public static NetlinkRequest Dump(int ifindex, uint parent) =>
        new NetlinkRequest().Begin(RTM_GETTFILTER, Nlm.NLM_F_REQUEST | Nlm.NLM_F_DUMP, new TcMsg { Index = ifindex, Parent = parent });

    public static bool TryParse(in NetlinkMessage message, out TcFilter filter)
    {
        filter = default;
        if (message.Type != RTM_NEWTFILTER || !message.TryHeader(out TcMsg header))
        {
            return false;
        }

        string? kind = null;
        uint program = 0;
        foreach (NetlinkAttribute a in message.Attributes(Unsafe.SizeOf<TcMsg>()))
        {
            if (a.Type == QdiscConstants.TCA_KIND)
            {
                kind = a.Text;
            }
            else if (a.Type == TCA_OPTIONS && kind == "bpf") // the kernel writes the kind first
            {
                program = ProgramOf(a);
            }
        }

        filter = kind is null ? default : new TcFilter(kind, header.Handle) { Priority = (ushort)(header.Info >> 16), ProgramId = program };
        return kind is not null;
    }

    private static uint ProgramOf(in NetlinkAttribute options)
    {
        foreach (NetlinkAttribute a in options.Nested)
        {
            if (a.Type == TCA_BPF_ID)
            {
                return a.U32;
            }
        }

        return 0;
    }
}
