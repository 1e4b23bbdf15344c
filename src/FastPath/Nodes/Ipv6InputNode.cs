using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using FastPathSync.Packets;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FastPath.Nodes;

/// <summary>
/// ipv6-input: is this an IPv6 packet that Linux would route? As ip6_rcv_core (net/ipv6/ip6_input.c), and of ip6_forward
/// (net/ipv6/ip6_output.c) what it says of sources; RFC 8200, RFC 4291.
/// </summary>
/// <remarks>
/// May enter: frames of at least 54 bytes with EtherType 0x86dd, none of them punted. Nothing is written to a packet here.
/// Unlike IPv4, a source that is an address of our own is no fault, nor is a mapped one (::ffff:0:0/96): Linux doesn't look.
/// Leaves behind: Key, TotalLength. Edges, in the order in which Linux asks:
///   Punt HeaderError         version is not 6.
///   Punt MartianSource       source ::1, ff00::/8, or the unspecified address.
///   Punt MartianDestination  destination ::1 or ::.
///   Punt Multicast           destination in ff00::/8.
///   Punt Truncated           the frame ends before the payload does.
///   Punt ExtensionHeader     hop-by-hop options, a jumbogram's among them (RFC 2675).
///   Punt LinkLocal           source or destination in fe80::/10.
///   next                     everything else; other extension headers are the business of the destination (RFC 8200 §4).
/// </remarks>
internal static unsafe class Ipv6InputNode
{
    /// <summary>Addresses with one of these upper halves may be special: 0, and fe00::/7.</summary>
    private const ulong SpecialFrom = 0xfe00_0000_0000_0000;

    public static void Run(ref PacketVector v, in WorkerTables t)
    {
        int n = v.Count;
        byte** data = v.Data;
        uint* length = v.Length, totalLength = v.TotalLength, odd = v.Odd;
        FibKey* key = v.Key;
        FibTrieReader tries = t.Tries;
        int main = t.Ipv6Main;
        uint any = 0;
        for (int i = 0; i < n; i++)
        {
            byte* ip = data[i] + EthernetHeader.Size;
            uint total = Ipv6Header.Size + (uint)((Be16*)(ip + Ipv6Header.PayloadLengthOffset))->Value;
            ulong source = BigEndian64(ip + Ipv6Header.SourceOffset);
            FibKey destination = new(BigEndian64(ip + Ipv6Header.DestinationOffset), BigEndian64(ip + Ipv6Header.DestinationOffset + 8));
            key[i] = destination;
            totalLength[i] = total;

            // No branch: whatever is not zero in the end has the packet looked at again, by Classify. It may prove sound.
            uint faults = (uint)((ip[0] & 0xf0) ^ Ipv6Header.VersionBits)
                | ((length[i] - EthernetHeader.Size - total) >> 31)
                | (ip[Ipv6Header.NextHeaderOffset] == IpProtocol.HopByHop ? 1u : 0u)
                | (source - 1 >= SpecialFrom - 1 ? 1u : 0u)
                | (destination.High - 1 >= SpecialFrom - 1 ? 1u : 0u);
            odd[i] = faults;
            any |= faults;
            if ((i & 7) == 7)
            {
                tries.Prefetch(main, key + i - 7, 8); // for ipv6-lookup
            }
        }

        if (any != 0)
        {
            ClassifyOdd(ref v);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static ulong BigEndian64(byte* p) => BinaryPrimitives.ReverseEndianness(*(ulong*)p);

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void ClassifyOdd(ref PacketVector v)
    {
        for (int i = 0; i < v.Count; i++)
        {
            if (v.Odd[i] != 0 && Fault((Ipv6Header*)(v.Data[i] + EthernetHeader.Size), v.Length[i] - EthernetHeader.Size) is PuntReason reason)
            {
                v.Punt(i, reason);
            }
        }
    }

    private static PuntReason? Fault(Ipv6Header* ip, uint room)
    {
        Ipv6Address source = ip->Source, destination = ip->Destination;
        if (ip->Version != 6)
        {
            return PuntReason.HeaderError;
        }

        if (source.IsLoopback)
        {
            return PuntReason.MartianSource;
        }

        if (destination.IsLoopback)
        {
            return PuntReason.MartianDestination;
        }

        if (destination.IsMulticast)
        {
            return PuntReason.Multicast;
        }

        if (source.IsMulticast)
        {
            return PuntReason.MartianSource;
        }

        if (room < ip->TotalLength)
        {
            return PuntReason.Truncated;
        }

        return ip->NextHeader == IpProtocol.HopByHop ? PuntReason.ExtensionHeader
            : source.IsUnspecified ? PuntReason.MartianSource
            : destination.IsUnspecified ? PuntReason.MartianDestination
            : source.IsLinkLocal || destination.IsLinkLocal ? PuntReason.LinkLocal
            : null;
    }
}
