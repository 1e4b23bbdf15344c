namespace FastPathSync.Differential;

/// <summary>What is odd below IP: VLAN tags, foreign Ethertypes, wrong and group MAC addresses, LLC, bare headers.</summary>
internal static class LinkLayer
{
    public static (int Port, string Kind, byte[] Frame) Next(Dice dice, byte[] tag)
    {
        int port = dice.Below(RouterPair.Ports);
        Family family = dice.OneIn(3) ? Family.Ipv6 : Family.Ipv4;
        int ip = family.Bits == 32 ? 0x0800 : 0x86dd;
        System.Net.IPAddress source = System.Net.IPAddress.Parse(Family.Inside(family.BehindPrefix(port), dice));
        System.Net.IPAddress destination = System.Net.IPAddress.Parse(Family.Inside(family.BehindPrefix((port + 1) % RouterPair.Ports), dice));
        string us = RouterPair.MacOf(port), them = $"02:ee:00:00:00:{port:x2}";
        byte[] Packet(FrameBuilder b) => (family.Bits == 32 ? b.Ipv4(source, destination, 64, 17) : b.Ipv6(source, destination, 64, 17)).Udp(1000, 2000, tag).Build();
        return dice.Below(8) switch
        {
            0 => (port, "vlan", Packet(new FrameBuilder().Ether(us, them, 0).Vlan(dice.Pick(0, 0, 1, 5, 0xe000, 4095), ip))),
            1 => (port, "double vlan", Packet(new FrameBuilder().Ether(us, them, 0).Vlan(dice.Pick(0, 5), 0).Vlan(dice.Pick(0, 7), ip))),
            2 => (port, "ethertype", new FrameBuilder().Ether(us, them, dice.Pick(0x0805, 0x88cc, 0x8847, 0x8863, 0x88f7, 0x0842, 0xffff, 0x0600, 0x9000)).Raw(tag).Raw(dice.Bytes(dice.Below(60))).Build()),
            3 => (port, "802.3", new FrameBuilder().Ether(us, them, dice.Pick(0, 3, 46, 1500)).Raw([0x42, 0x42, 3]).Raw(tag).Raw(dice.Bytes(43)).Build()),
            4 => (port, "other host", Packet(new FrameBuilder().Ether(dice.Pick(RouterPair.MacOf((port + 1) % RouterPair.Ports), "02:00:00:00:00:99", "00:00:00:00:00:00"), them, ip))),
            5 => (port, "group mac", Packet(new FrameBuilder().Ether(dice.Pick("ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:05", "33:33:00:00:00:01", "01:80:c2:00:00:00"), them, ip))),
            6 => (port, "ethertype against version", Packet(new FrameBuilder().Ether(us, them, ip ^ 0x0800 ^ 0x86dd))),
            _ => (port, "bare header", new FrameBuilder().Ether(us, dice.OneIn(2) ? them : us, ip).Raw(dice.Bytes(dice.Below(20))).Build()),
        };
    }
}
