using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace FastPathSync.Netlink.Rtnetlink;

/// <summary>struct ndmsg (linux/neighbour.h).</summary>
[StructLayout(LayoutKind.Sequential)]
public struct NdMsg
{
    public byte Family;
    public byte Pad1;
    public ushort Pad2;
    public int Index;
    public ushort State;
    public byte Flags;
    public byte Type;
}

/// <summary>linux/neighbour.h</summary>
public static class NeighbourConstants
{
    public const ushort NDA_DST = 1, NDA_LLADDR = 2;
    public const byte NTF_USE = 1, NTF_PROXY = 8;
    public const ushort NUD_INCOMPLETE = 1, NUD_REACHABLE = 2, NUD_STALE = 4, NUD_DELAY = 8, NUD_PROBE = 0x10, NUD_FAILED = 0x20,
        NUD_NOARP = 0x40, NUD_PERMANENT = 0x80;
}

/// <summary>RTM_NEWNEIGH, RTM_DELNEIGH.</summary>
public sealed class NeighbourMessage
{
    /// <summary>AF_INET, AF_INET6, or AF_BRIDGE for a forwarding database's entry.</summary>
    public required byte Family { get; init; }

    public required int Index { get; init; }

    /// <summary>NUD_*</summary>
    public required ushort State { get; init; }

    /// <summary>NTF_*</summary>
    public required byte Flags { get; init; }

    /// <summary>NDA_DST; none in entries of a forwarding database.</summary>
    public InetAddress Destination { get; private set; }

    public byte[] LinkLayerAddress { get; private set; } = [];

    public bool IsProxy => (Flags & NeighbourConstants.NTF_PROXY) != 0;

    public static bool TryParse(in NetlinkMessage message, [NotNullWhen(true)] out NeighbourMessage? neighbour)
    {
        neighbour = null;
        if (message.Type is not (Rtm.RTM_NEWNEIGH or Rtm.RTM_DELNEIGH) || !message.TryHeader(out NdMsg h))
        {
            return false;
        }

        NeighbourMessage m = new() { Family = h.Family, Index = h.Index, State = h.State, Flags = h.Flags };
        NetlinkAttributes attributes = message.Attributes(Unsafe.SizeOf<NdMsg>());
        while (attributes.MoveNext())
        {
            NetlinkAttribute a = attributes.Current;
            switch (a.Type)
            {
                case NeighbourConstants.NDA_DST:
                    if (!InetAddress.TryRead(a.Payload, out InetAddress destination))
                    {
                        return false;
                    }

                    m.Destination = destination;
                    break;
                case NeighbourConstants.NDA_LLADDR:
                    m.LinkLayerAddress = a.Payload.ToArray();
                    break;
            }
        }

        if (attributes.Malformed || (h.Family is Rtm.AF_INET or Rtm.AF_INET6 && m.Destination.IsNone))
        {
            return false;
        }

        neighbour = m;
        return true;
    }

    public static NetlinkRequest Dump(byte family) =>
        new NetlinkRequest().Begin(Rtm.RTM_GETNEIGH, Nlm.NLM_F_REQUEST | Nlm.NLM_F_DUMP, new NdMsg { Family = family });
}
