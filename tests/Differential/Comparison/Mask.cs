namespace FastPathSync.Differential;

/// <summary>
/// What the kernel itself fills in by chance or by the clock, set to zero so that two kernels can be compared. Nothing else
/// is: every mask is listed in docs/differential.md.
/// </summary>
internal static class Mask
{
    private const int Ethernet = 14;

    public static byte[] Of(ReadOnlySpan<byte> frame)
    {
        byte[] f = frame.ToArray();
        if (f.Length >= Ethernet + 20 && f[12] == 0x08 && f[13] == 0x00)
        {
            Ipv4(f.AsSpan(Ethernet), quoted: false);
        }
        else if (f.Length >= Ethernet + 48 && f[12] == 0x86 && f[13] == 0xdd && f[20] == 44 && IsOwnFragment(f))
        {
            // The identification of datagrams that the router itself has to fragment (answers to long pings) is random.
            f.AsSpan(Ethernet + 44, 4).Clear();
        }

        return f;
    }

    private static void Ipv4(Span<byte> ip, bool quoted)
    {
        int header = (ip[0] & 15) * 4;
        if (ip[0] >> 4 != 4 || header < 20 || ip.Length < header)
        {
            return;
        }

        // Only where the checksum is right is it put out of sight.
        bool right = FrameBuilder.Sum(ip[..header], 0) == 0;
        bool changed = Timestamps(ip[20..header]);
        if (!quoted && ip[9] == 1 && ip.Length >= header + 8)
        {
            // __ip_select_ident: the identification of ICMP messages that the router makes is hashed from a random key.
            ip[4] = ip[5] = 0;
            changed = true;
            if (((ip[6] << 8) | ip[7] & 0x3fff) == 0 && ip[header] is 3 or 4 or 5 or 11 or 12)
            {
                Icmp(ip[header..]);
            }
        }

        if (changed && right)
        {
            ip[10] = ip[11] = 0;
        }
    }

    /// <summary>An error quotes the packet, with timestamps in its options when the router has written some.</summary>
    private static void Icmp(Span<byte> icmp)
    {
        if (icmp.Length >= 28 && (icmp[8] & 15) > 5)
        {
            bool right = FrameBuilder.Sum(icmp, 0) == 0;
            Ipv4(icmp[8..], quoted: true);
            if (right)
            {
                icmp[2] = icmp[3] = 0;
            }
        }
    }

    /// <summary>The times in a timestamp option (RFC 791) are milliseconds since midnight.</summary>
    private static bool Timestamps(Span<byte> options)
    {
        bool found = false;
        for (int i = 0; i + 4 <= options.Length && options[i] != 0;)
        {
            int length = options[i] == 1 ? 1 : options[i + 1];
            if (length < (options[i] == 1 ? 1 : 2) || i + length > options.Length)
            {
                break;
            }

            if (options[i] == 68)
            {
                bool withAddresses = (options[i + 3] & 15) != 0;
                for (int at = i + (withAddresses ? 8 : 4); at + 4 <= i + length; at += withAddresses ? 8 : 4)
                {
                    options.Slice(at, 4).Clear();
                    found = true;
                }
            }

            i += length;
        }

        return found;
    }

    private static bool IsOwnFragment(ReadOnlySpan<byte> frame)
    {
        // From one of the router's addresses (…::1, …::9 and so on), so with a hop limit that nobody has counted down.
        return frame[21] is 64 or 10 or 255;
    }
}
