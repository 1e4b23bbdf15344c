namespace FastPathSync.Differential;

/// <summary>IPv4 options and IPv6 extension headers, sound and unsound.</summary>
internal static class Options
{
    /// <summary>Record route, timestamp, source routes, router alert, no-operation, security, unknown; lengths and pointers now and then wrong.</summary>
    public static byte[] Ipv4(Dice dice)
    {
        List<byte> options = [];
        int count = dice.Between(1, 2);
        for (int i = 0; i < count; i++)
        {
            byte[] one = dice.Below(9) switch
            {
                0 => [1],
                1 => [7, 11, 4, .. new byte[8]],
                2 => [7, 7, 8, .. dice.Bytes(4)],
                3 => [68, 12, dice.Pick<byte>(5, 9, 13), dice.Pick<byte>(0, 1), .. new byte[8]],
                4 => [(byte)dice.Pick(131, 137), 7, dice.Pick<byte>(4, 8), .. System.Net.IPAddress.Parse(Family.Ipv4.LiveHost(dice.Below(RouterPair.Ports), dice)).GetAddressBytes()],
                5 => [148, 4, 0, 0],
                6 => [130, 11, .. dice.Bytes(9)],
                7 => [(byte)dice.Pick(30, 94, 222), 4, .. dice.Bytes(2)],
                _ => [(byte)dice.Below(256), (byte)dice.Below(12), .. dice.Bytes(2)],
            };
            options.AddRange(one);
        }

        while (options.Count % 4 != 0)
        {
            options.Add(dice.OneIn(8) ? (byte)1 : (byte)0);
        }

        return [.. options.Take(40)];
    }

    /// <summary>What the first header's number is, and what writes the headers; the last of them announces <paramref name="protocol"/>.</summary>
    public static (int First, Action<FrameBuilder> Headers) Ipv6(Dice dice, int protocol)
    {
        const int HopByHop = 0, Routing = 43, Fragment = 44, Destination = 60;
        List<int> kinds = [dice.Pick(HopByHop, HopByHop, Routing, Fragment, Fragment, Destination)];
        if (dice.OneIn(3))
        {
            kinds.Add(dice.Pick(HopByHop, Routing, Fragment, Destination));
        }

        List<byte[]> bodies = [.. kinds.Select(k => Body(k))];
        return (kinds[0], b =>
        {
            for (int i = 0; i < kinds.Count; i++)
            {
                int next = i + 1 < kinds.Count ? kinds[i + 1] : protocol;
                _ = kinds[i] == Fragment
                    ? b.Fragment(next, BitConverter.ToUInt16(bodies[i]), BitConverter.ToInt32(bodies[i], 2))
                    : b.Extension(next, bodies[i]);
            }
        }
        );

        byte[] Body(int kind) => kind switch
        {
            Fragment => [(byte)dice.Pick(1, 0, 8, 9), (byte)dice.Pick(0, 0, 1, 5), .. dice.Bytes(4)],
            Routing => dice.Below(3) switch { 0 => [0, 0, 0, 0, 0, 0], 1 => [(byte)dice.Pick(0, 2, 3, 4, 99), 1, 0, 0, 0, 0, .. dice.Bytes(16)], _ => [4, 0, 0, 0, 0, 0] },
            _ => dice.Below(6) switch
            {
                0 => [5, 2, 0, 0, 1, 0], // router alert
                1 => [1, 4, 0, 0, 0, 0], // PadN
                2 => [0, 0, 0, 0, 0, 0], // Pad1
                3 => [(byte)dice.Pick(0x1e, 0x3e, 0x5e, 0x9e, 0xde), 4, .. dice.Bytes(4)], // unknown: skip, discard, report
                4 => [0xc2, 4, 0, 1, 0, 0], // jumbo payload
                _ => dice.Bytes(6),
            },
        };
    }
}
