using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace FastPathSync.Netlink.Rtnetlink;

/// <summary>struct ifaddrmsg (linux/if_addr.h).</summary>
[StructLayout(LayoutKind.Sequential)]
public struct IfAddrMsg
{
    public byte Family;
    public byte PrefixLength;
    public byte Flags;
    public byte Scope;
    public int Index;
}

/// <summary>linux/if_addr.h</summary>
public static class AddressConstants
{
    public const ushort IFA_ADDRESS = 1, IFA_LOCAL = 2, IFA_LABEL = 3, IFA_BROADCAST = 4, IFA_FLAGS = 8;
    public const uint IFA_F_SECONDARY = 1, IFA_F_OPTIMISTIC = 4, IFA_F_DADFAILED = 8, IFA_F_DEPRECATED = 0x20, IFA_F_TENTATIVE = 0x40;
}

/// <summary>RTM_NEWADDR, RTM_DELADDR.</summary>
public sealed class AddressMessage
{
    public required byte Family { get; init; }

    public required byte PrefixLength { get; init; }

    /// <summary>RT_SCOPE_*</summary>
    public required byte Scope { get; init; }

    public required int Index { get; init; }

    /// <summary>IFA_LOCAL; IFA_ADDRESS where the family has no IFA_LOCAL.</summary>
    public InetAddress Local { get; private set; }

    /// <summary>IFA_ADDRESS: the peer on point-to-point links, else equal to Local.</summary>
    public InetAddress Address { get; private set; }

    public InetAddress Broadcast { get; private set; }

    public string Label { get; private set; } = "";

    /// <summary>IFA_F_*; IFA_FLAGS where present, for the header holds only eight of them.</summary>
    public uint Flags { get; private set; }

    public static bool TryParse(in NetlinkMessage message, [NotNullWhen(true)] out AddressMessage? address)
    {
        address = null;
        if (message.Type is not (Rtm.RTM_NEWADDR or Rtm.RTM_DELADDR) || !message.TryHeader(out IfAddrMsg h) || h.Index <= 0)
        {
            return false;
        }

        AddressMessage m = new() { Family = h.Family, PrefixLength = h.PrefixLength, Scope = h.Scope, Index = h.Index, Flags = h.Flags };
        NetlinkAttributes attributes = message.Attributes(Unsafe.SizeOf<IfAddrMsg>());
        while (attributes.MoveNext())
        {
            NetlinkAttribute a = attributes.Current;
            InetAddress value;
            switch (a.Type)
            {
                case AddressConstants.IFA_LOCAL:
                    if (!InetAddress.TryRead(a.Payload, out value))
                    {
                        return false;
                    }

                    m.Local = value;
                    break;
                case AddressConstants.IFA_ADDRESS:
                    if (!InetAddress.TryRead(a.Payload, out value))
                    {
                        return false;
                    }

                    m.Address = value;
                    break;
                case AddressConstants.IFA_BROADCAST:
                    if (!InetAddress.TryRead(a.Payload, out value))
                    {
                        return false;
                    }

                    m.Broadcast = value;
                    break;
                case AddressConstants.IFA_LABEL:
                    m.Label = a.Text;
                    break;
                case AddressConstants.IFA_FLAGS:
                    m.Flags = a.U32;
                    break;
            }
        }

        if (m.Local.IsNone)
        {
            m.Local = m.Address;
        }
        else if (m.Address.IsNone)
        {
            m.Address = m.Local;
        }

        if (attributes.Malformed || m.Local.IsNone || h.PrefixLength > m.Local.Length * 8)
        {
            return false;
        }

        address = m;
        return true;
    }

    public static NetlinkRequest Dump(byte family) =>
        new NetlinkRequest().Begin(Rtm.RTM_GETADDR, Nlm.NLM_F_REQUEST | Nlm.NLM_F_DUMP, new IfAddrMsg { Family = family });
}
