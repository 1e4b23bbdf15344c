namespace FastPathSync.Differential;

/// <summary>
/// What routers say on their own account, at times that depend on timers: not compared. That it happens at all shows in
/// what is compared (an unresolved neighbour's packets never come).
/// </summary>
internal static class Noise
{
    public static bool Is(ReadOnlySpan<byte> frame)
    {
        if (frame.Length < 14)
        {
            return false;
        }

        int type = (frame[12] << 8) | frame[13];
        return type switch
        {
            0x0806 => frame.Length >= 22 && frame[21] == 1, // ARP requests: resolution and probes of neighbours; replies are compared
            0x86dd => IsIpv6Noise(frame),
            0x0800 => frame.Length >= 34 && frame[23] == 2, // IGMP reports, sent after random delays
            _ => false,
        };
    }

    /// <summary>MLD (130-132, 143), router solicitations (133), neighbour solicitations (135); advertisements are compared.</summary>
    private static bool IsIpv6Noise(ReadOnlySpan<byte> frame)
    {
        if (frame.Length < 55)
        {
            return false;
        }

        // MLD has a hop-by-hop header with a router alert before it (RFC 3810 §5).
        int at = frame[20] == 0 ? 54 + ((frame[55] + 1) * 8) : 54;
        int protocol = frame[20] == 0 ? frame[54] : frame[20];
        // Forwarded ones have a hop limit below 255 and, for MLD, below 1.
        return protocol == 58 && frame.Length > at && frame[at] switch
        {
            130 or 131 or 132 or 143 => frame[21] == 1,
            133 or 135 => frame[21] == 255,
            _ => false,
        };
    }
}
