namespace FastPathSync.Packets;

/// <summary>
/// The headers between the IPv6 header and the transport's (RFC 8200 §4). All but the fragment header begin alike:
/// <code>
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |  Next Header  |  Hdr Ext Len  |                               |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+             ...               +
/// </code>
/// The length is in units of 8 bytes, not counting the first.
/// </summary>
public static unsafe class Ipv6ExtensionHeaders
{
    private const int RoutingTypeOffset = 2, SegmentsLeftOffset = 3, FirstAddressOffset = 8;
    private const byte MobileIpv6 = 2, SegmentRouting = 4;

    /// <summary>
    /// Finds the transport header of a whole packet. False when there is none to be read: a fragment, an encrypted or
    /// authenticated packet, a chain that ends outside of the packet.
    /// </summary>
    /// <param name="ip">The packet.</param>
    /// <param name="total">Its length; the caller has seen that it is all there, and at least the IPv6 header.</param>
    /// <param name="protocol">Of the transport.</param>
    /// <param name="offset">Where its header begins.</param>
    /// <param name="destination">
    /// The final one, which is the one that checksums cover (RFC 8200 §8.1): from a routing header that isn't used up.
    /// </param>
    public static bool TryFindTransport(Ipv6Header* ip, uint total, out byte protocol, out uint offset, out Ipv6Address* destination)
    {
        protocol = ip->NextHeader;
        offset = Ipv6Header.Size;
        destination = &ip->Destination;
        while (true)
        {
            switch (protocol)
            {
                case IpProtocol.HopByHop or IpProtocol.Routing or IpProtocol.DestinationOptions:
                    break;
                case IpProtocol.Fragment or IpProtocol.Esp or IpProtocol.Ah or IpProtocol.NoNextHeader:
                    return false;
                default:
                    return true;
            }

            if (total - offset < 8)
            {
                return false;
            }

            byte* header = (byte*)ip + offset;
            uint length = (header[1] + 1u) * 8;
            if (total - offset < length)
            {
                return false;
            }

            if (protocol == IpProtocol.Routing && header[SegmentsLeftOffset] != 0)
            {
                // Both kinds have the last address of the way first (RFC 6275 §6.4.1, RFC 8754 §2); other kinds hide theirs.
                if (header[RoutingTypeOffset] is not (MobileIpv6 or SegmentRouting) || length < FirstAddressOffset + sizeof(Ipv6Address))
                {
                    return false;
                }

                destination = (Ipv6Address*)(header + FirstAddressOffset);
            }

            protocol = header[0];
            offset += length;
        }
    }
}
