using FastPathSync.Packets;
using FastPathSync.Packets.Filters;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FastPath.Capture;

/// <summary>What one packet socket wants to see. Made by the control thread; asked by all workers.</summary>
/// <param name="socket">As packet_diag tells it.</param>
/// <param name="filter">null: everything of its protocol. The kernel asks the socket's own filter again, so that too much is no fault.</param>
internal sealed unsafe class SocketFilter(PacketSocketView socket, CompiledFilter? filter) : IDisposable
{
    private readonly ushort _protocol = socket.Protocol;
    private readonly bool _cooked = socket.Cooked;

    /// <summary>Linux serves it before its tc hooks: it can be given a copy that ends there.</summary>
    public bool TakesCopies => _protocol == EtherTypes.All;

    /// <param name="packet">Data is set here, the rest is the caller's.</param>
    /// <param name="frame">From the Ethernet header on.</param>
    /// <param name="length">Of the frame.</param>
    public bool Wants(PacketContext* packet, byte* frame, uint length)
    {
        if (_protocol != EtherTypes.All && _protocol != packet->Protocol)
        {
            return false;
        }

        if (filter is null)
        {
            return true;
        }

        uint skipped = _cooked ? EthernetHeader.Size : 0u;
        packet->Data = frame + skipped;
        packet->Length = length - skipped;
        packet->LinkLayerOffset = -(int)skipped;
        packet->NetworkOffset = EthernetHeader.Size - (int)skipped;
        return filter.Match(packet) != 0;
    }

    public void Dispose() => filter?.Dispose();
}

/// <summary>The packet sockets of one port. Immutable.</summary>
/// <param name="ifIndex">Of the port.</param>
/// <param name="copied">Those that are given copies of what is forwarded.</param>
/// <param name="punted">Those that get their packets only if Linux does: what they want is punted.</param>
internal sealed unsafe class PortFilters(uint ifIndex, SocketFilter[] copied, SocketFilter[] punted)
{
    private const uint PACKET_OUTGOING = 4; // linux/if_packet.h
    private const uint ARPHRD_ETHER = 1;    // linux/if_arp.h

    public bool Copies => copied.Length != 0;

    public bool Punts => punted.Length != 0;

    public bool WantsCopy(byte* frame, uint length, bool outgoing) => Wants(copied, frame, length, outgoing);

    public bool WantsPunt(byte* frame, uint length) => Wants(punted, frame, length, outgoing: false);

    private bool Wants(SocketFilter[] filters, byte* frame, uint length, bool outgoing)
    {
        if (filters.Length == 0)
        {
            return false;
        }

        PacketContext c = new()
        {
            Protocol = (uint)((frame[12] << 8) | frame[13]),
            PacketType = outgoing ? PACKET_OUTGOING : 0,
            IfIndex = ifIndex,
            HardwareType = ARPHRD_ETHER,
        };
        foreach (SocketFilter f in filters)
        {
            if (f.Wants(&c, frame, length))
            {
                return true;
            }
        }

        return false;
    }
}
