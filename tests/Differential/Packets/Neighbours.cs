using System.Net;

namespace FastPathSync.Differential;

/// <summary>ARP and neighbour discovery from the hosts: for the router's addresses and others, true to who they are.</summary>
internal static class Neighbours
{
    public static (int Port, string Kind, byte[] Frame) Next(Dice dice, byte[] tag)
    {
        int port = dice.Below(RouterPair.Ports);
        return dice.OneIn(2) ? (port, "arp", Arp(dice, port, tag)) : (port, "nd", Nd(dice, port));
    }

    private static byte[] Arp(Dice dice, int port, byte[] tag)
    {
        string from = Family.Ipv4.LiveHost(dice.OneIn(6) ? dice.Below(RouterPair.Ports) : port, dice);
        string target = dice.Pick(Family.Ipv4.OwnAddress(port), Family.Ipv4.OwnAddress(dice.Below(RouterPair.Ports)), Family.Ipv4.LiveHost(port, dice), "10.64.0.1");
        byte[] mac = Hosts.MacOf(from);
        int operation = dice.Pick(1, 1, 1, 2, 7);
        string to = operation == 1 ? dice.Pick("ff:ff:ff:ff:ff:ff", RouterPair.MacOf(port)) : RouterPair.MacOf(port);
        byte[] body = [0, 1, 8, 0, 6, 4, 0, (byte)operation, .. mac, .. IPAddress.Parse(from).GetAddressBytes(), .. Hosts.Bytes(to == "ff:ff:ff:ff:ff:ff" ? "00:00:00:00:00:00" : to), .. IPAddress.Parse(target).GetAddressBytes()];
        if (dice.OneIn(8))
        {
            body[dice.Below(8)] ^= (byte)(1 << dice.Below(8));
        }

        return new FrameBuilder().Ether(to, Hosts.Text(mac), 0x0806).Raw(dice.OneIn(10) ? body[..dice.Below(body.Length)] : body).Raw(dice.OneIn(2) ? [.. new byte[10], .. tag] : []).Build();
    }

    private static byte[] Nd(Dice dice, int port)
    {
        string from = dice.OneIn(3) ? $"fe80::{dice.Between(2, 4)}" : Family.Ipv6.LiveHost(port, dice);
        byte[] mac = Hosts.MacOf(from);
        byte[] target = IPAddress.Parse(dice.Pick(Family.Ipv6.OwnAddress(port), Family.Ipv6.OwnAddress(dice.Below(RouterPair.Ports)), Family.Ipv6.LiveHost(port, dice))).GetAddressBytes();
        bool multicast = dice.OneIn(2);
        byte[] group = [0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, target[13], target[14], target[15]];
        string to = multicast ? $"33:33:ff:{target[13]:x2}:{target[14]:x2}:{target[15]:x2}" : RouterPair.MacOf(port);
        // Neighbour solicitations (RFC 4861 §4.3); a hop limit below 255 makes them invalid.
        byte[] body = [135, 0, 0, 0, 0, 0, 0, 0, .. target, 1, 1, .. mac];
        return new FrameBuilder().Ether(to, Hosts.Text(mac), 0x86dd)
            .Ipv6(IPAddress.Parse(from), new IPAddress(multicast ? group : target), dice.OneIn(6) ? 64 : 255, 58).Raw(dice.OneIn(6) ? body[..24] : body).Icmpv6Checksum().Build();
    }
}
