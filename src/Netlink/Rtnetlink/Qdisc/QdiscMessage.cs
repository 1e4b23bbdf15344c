using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace FastPathSync.Netlink.Rtnetlink;

/// <summary>struct tcmsg (linux/rtnetlink.h).</summary>
[StructLayout(LayoutKind.Sequential)]
public struct TcMsg
{
    public byte Family;
    public byte Pad1;
    public ushort Pad2;
    public int Index;
    public uint Handle;
    public uint Parent;
    public uint Info;
}

/// <summary>linux/rtnetlink.h, linux/pkt_sched.h</summary>
public static class QdiscConstants
{
    public const ushort TCA_KIND = 1;
    public const uint TC_H_ROOT = 0xFFFFFFFF, TC_H_INGRESS = 0xFFFFFFF1;
}

/// <summary>RTM_NEWQDISC, RTM_DELQDISC.</summary>
public sealed class QdiscMessage
{
    public required int Index { get; init; }

    /// <summary>0 for the default qdisc that the kernel made itself.</summary>
    public required uint Handle { get; init; }

    /// <summary>TC_H_ROOT, TC_H_INGRESS (also clsact), or a class.</summary>
    public required uint Parent { get; init; }

    public string Kind { get; private set; } = "";

    public static bool TryParse(in NetlinkMessage message, [NotNullWhen(true)] out QdiscMessage? qdisc)
    {
        qdisc = null;
        if (message.Type is not (Rtm.RTM_NEWQDISC or Rtm.RTM_DELQDISC) || !message.TryHeader(out TcMsg h))
        {
            return false;
        }

        QdiscMessage m = new() { Index = h.Index, Handle = h.Handle, Parent = h.Parent };
        NetlinkAttributes attributes = message.Attributes(Unsafe.SizeOf<TcMsg>());
        while (attributes.MoveNext())
        {
            if (attributes.Current.Type == QdiscConstants.TCA_KIND)
            {
                m.Kind = attributes.Current.Text;
            }
        }

        if (attributes.Malformed)
        {
            return false;
        }

        qdisc = m;
        return true;
    }

    public static NetlinkRequest Dump() =>
        new NetlinkRequest().Begin(Rtm.RTM_GETQDISC, Nlm.NLM_F_REQUEST | Nlm.NLM_F_DUMP, default(TcMsg));
}
