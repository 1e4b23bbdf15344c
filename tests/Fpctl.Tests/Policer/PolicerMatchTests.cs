using System.Buffers.Binary;
using FastPathSync.Fpctl.Features.Policer;
using FastPathSync.Linux;
using FastPathSync.Packets.Building;
using static FastPathSync.Packets.Building.Packet;

namespace FastPathSync.Fpctl.Tests.Policer;

/// <summary>Which packets a policer looks at, by the program itself; all others pass untouched.</summary>
public sealed class PolicerMatchTests
{
    private const long Now = 1_000_000_000_000;
    private const int HopByHop = 0, Fragment = 44, Destination = 60, Authentication = 51, CarriersEtherType = 0x88b5;
    private const uint Unspec = uint.MaxValue, Shot = 2, Stolen = 4; // TC_ACT_*

    private static readonly Dictionary<string, Func<PacketBuilder>> s_packets = new()
    {
        ["arp"] = () => Ether(type: 0x0806).Payload(28),
        ["lldp"] = () => Ether(type: 0x88cc).Payload(60),
        ["udp"] = () => Ether().Ipv4(ttl: 2).Udp(destination: 53).Payload(10),
        ["udp-options"] = () => Ether().Ipv4(options: [1, 1, 1, 1]).Udp(destination: 53),
        ["udp-fragment"] = () => Ether().Ipv4(protocol: 17, flagsAndOffset: 0x2001).Payload([0, 1, 0, 53, 0, 8, 0, 0]),
        ["udp-cut"] = () => Ether().Ipv4(protocol: 17).Payload([0, 1]),
        ["tcp-ttl1"] = () => Ether().Ipv4(ttl: 1).Tcp(destination: 179),
        ["icmp"] = () => Ether().Ipv4().Icmp(),
        ["icmpv6-over-ipv4"] = () => Ether().Ipv4(protocol: 58).Payload(8),
        ["udp6"] = () => Ether().Ipv6(hopLimit: 1).Udp(destination: 53),
        ["udp6-extensions"] = () => Ether().Ipv6().Extension(HopByHop).Extension(Destination, new byte[14]).Udp(destination: 53),
        ["udp6-first"] = () => Ether().Ipv6().Extension(Fragment, [0, 1, 0, 0, 0, 7]).Udp(destination: 53),
        ["udp6-later"] = () => Ether().Ipv6().Extension(Fragment, [0, 8, 0, 0, 0, 7], nextHeader: 17).Payload([0, 1, 0, 53, 0, 8, 0, 0]),
        ["udp6-ah"] = () => Ether().Ipv6().Extension(Authentication, new byte[22], length: 4).Udp(destination: 53),
        ["echo6"] = () => Ether().Ipv6().Icmpv6(),
        ["solicitation"] = () => Ether().Ipv6(hopLimit: 255).Icmpv6(type: 135),
        ["solicitation-after-hop-by-hop"] = () => Ether().Ipv6(hopLimit: 255).Extension(HopByHop).Icmpv6(type: 133),
        ["time-exceeded6"] = () => Ether().Ipv6().Icmpv6(type: 3),
    };

    public PolicerMatchTests() => Assert.SkipUnless(Libc.geteuid() == 0, "needs root: eBPF");

    [Theory]
    [InlineData("all", "arp lldp udp udp-options udp-fragment udp-cut tcp-ttl1 icmp icmpv6-over-ipv4 udp6 udp6-extensions udp6-first udp6-later udp6-ah echo6 solicitation solicitation-after-hop-by-hop time-exceeded6")]
    [InlineData("arp", "arp")]
    [InlineData("udp", "udp udp-options udp-fragment udp-cut udp6 udp6-extensions udp6-first udp6-later udp6-ah")]
    [InlineData("dport=53", "udp udp-options udp6 udp6-extensions udp6-first udp6-ah")]
    [InlineData("tcp", "tcp-ttl1")]
    [InlineData("tcp,dport=179,ttl=1", "tcp-ttl1")]
    [InlineData("udp,dport=179", "")]
    [InlineData("ttl=1", "tcp-ttl1 udp6")]
    [InlineData("ttl=2", "tcp-ttl1 udp6 udp")]
    [InlineData("icmp", "icmp echo6 solicitation solicitation-after-hop-by-hop time-exceeded6")]
    [InlineData("proto=58", "icmpv6-over-ipv4 echo6 solicitation solicitation-after-hop-by-hop time-exceeded6")]
    [InlineData("nd", "solicitation solicitation-after-hop-by-hop")]
    public void AWordMatches(string match, string expected)
    {
        List<string> policed = [];
        foreach ((string name, Func<PacketBuilder> make) in s_packets)
        {
            using Loaded policer = new(new PolicerSettings(1, 1, PolicerPer.Class, PolicerMatch.Parse(match)));
            byte[] frame = make().Build();
            Assert.Equal(Unspec, policer.Run(Now, frame));
            if (policer.Run(Now, frame) == Shot)
            {
                policed.Add(name);
            }
            else
            {
                Assert.Equal(2ul, policer.Total(PolicerLayout.Unmatched));
            }
        }

        Assert.Equal(expected.Split(' ', StringSplitOptions.RemoveEmptyEntries).Order(), policed.Order());
    }

    /// <summary>On fpn0's egress skb->protocol is the injector's; the frame tells what it is, and a drop is no error to the sender.</summary>
    [Fact]
    public void ThePuntedPacketIsKnownByItsFrame()
    {
        using Loaded policer = new(new PolicerSettings(1, 1, PolicerPer.Source, PolicerMatch.Parse("all")));
        byte[] frame = Ether().Ipv4("10.0.0.7").Udp().Build();
        BinaryPrimitives.WriteUInt16BigEndian(frame.AsSpan(12), CarriersEtherType);
        Assert.Equal(Unspec, policer.Run(Now, frame));
        Assert.Equal(Stolen, policer.Run(Now, frame));
    }

    /// <summary>No frame, however random or short (BPF_PROG_TEST_RUN wants the IP header whole), is anything but passed or dropped.</summary>
    [Fact]
    public void RubbishIsJudgedToo()
    {
        using Loaded policer = new(new PolicerSettings(1, 1, PolicerPer.Source, PolicerMatch.Parse("dport=53")));
        Random random = new(3);
        byte[][] whole = [.. s_packets.Values.Select(p => p().Build())];
        for (int i = 0; i < 20_000; i++)
        {
            byte[] frame = [.. whole[random.Next(whole.Length)]];
            for (int n = random.Next(4); n > 0; n--)
            {
                frame[random.Next(14, frame.Length)] = (byte)random.Next(256);
            }

            Assert.Contains(policer.Run(Now, frame.AsSpan(0, random.Next(frame[12] == 0x86 ? 54 : 34, frame.Length + 1))), (uint[])[Unspec, Shot]);
        }
    }
}
