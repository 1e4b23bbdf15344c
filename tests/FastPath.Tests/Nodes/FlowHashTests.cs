using System.Buffers.Binary;
using FastPathSync.FastPath.Nodes;
using FastPathSync.SharedMemory.Tables;
using static FastPathSync.Packets.Building.Packet;

namespace FastPathSync.FastPath.Tests.Nodes;

/// <summary>Which packets are one flow, by policy (Documentation/networking/ip-sysctl.rst), and how flows spread.</summary>
public sealed unsafe class FlowHashTests
{
    private const uint SourceIp = 1, DestinationIp = 2, Protocol = 4, SourcePort = 16, DestinationPort = 32, InnerSourceIp = 64, InnerDestinationPort = 2048;

    [Fact]
    public void Policy0KnowsAddressesOnly()
    {
        uint h = Hash(0, Udp("10.0.0.1", "10.2.0.1", 1, 2));
        Assert.Equal(h, Hash(0, Udp("10.0.0.1", "10.2.0.1", 3, 4)));
        Assert.Equal(h, Hash(0, Ether().Ipv4("10.0.0.1", "10.2.0.1").Tcp().Build()));
        Assert.NotEqual(h, Hash(0, Udp("10.0.0.2", "10.2.0.1", 1, 2)));
        Assert.NotEqual(h, Hash(0, Udp("10.0.0.1", "10.2.0.2", 1, 2)));
    }

    /// <summary>
    /// Computed apart from this code, from struct flow_keys and a SipHash-2-4 that gives the vector of its paper; that Linux
    /// chooses by it is what the topology tests of ECMP show.
    /// </summary>
    [Theory]
    [InlineData(0, 0x18257a54)]
    [InlineData(1, 0xb5807106)]
    public void TheHashIsLinuxs(uint policy, uint hash) => Assert.Equal(hash, Hash(policy, Udp("10.0.0.1", "10.2.0.1", 7, 9)));

    [Fact]
    public void TheHashOfIpv6IsLinuxs() => Assert.Equal(0x2e85b102u, Hash6(1, Ipv6(1, 2, label: 5, 7, 9)));

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void BothDirectionsAreOneFlow(uint policy) =>
        Assert.Equal(Hash(policy, Udp("10.0.0.1", "10.2.0.1", 7, 9)), Hash(policy, Udp("10.2.0.1", "10.0.0.1", 9, 7)));

    [Theory]
    [InlineData(3)]
    [InlineData(4)]
    [InlineData(5)]
    [InlineData(11)]
    [InlineData(12)]
    public void Policy0SendsIcmpErrorsTheWayOfTheFlowTheyAreAbout(int type)
    {
        byte[] about = Udp("10.0.0.1", "10.2.0.1", 7, 9);
        byte[] error = Ether().Ipv4("10.7.7.7", "10.0.0.1").Icmp(type).Payload(about.AsSpan(14, 28)).Build();
        Assert.Equal(Hash(0, about), Hash(0, error));
        byte[] echo = Ether().Ipv4("10.7.7.7", "10.0.0.1").Icmp().Payload(about.AsSpan(14, 28)).Build();
        Assert.NotEqual(Hash(0, about), Hash(0, echo));
        byte[] fragment = Ether().Ipv4("10.7.7.7", "10.0.0.1", flagsAndOffset: 1).Icmp(type).Payload(about.AsSpan(14, 28)).Build();
        Assert.NotEqual(Hash(0, about), Hash(0, fragment));
        byte[] cut = Ether().Ipv4("10.7.7.7", "10.0.0.1").Icmp(type).Payload(about.AsSpan(14, 19)).Build();
        Assert.Equal(Hash(0, Udp("10.7.7.7", "10.0.0.1", 1, 1)), Hash(0, cut));
    }

    [Fact]
    public void Policy1KnowsPortsAndProtocol()
    {
        uint h = Hash(1, Udp("10.0.0.1", "10.2.0.1", 7, 9));
        Assert.Equal(h, Hash(1, Ether().Ipv4("10.0.0.1", "10.2.0.1", tos: 4, id: 99, ttl: 3).Udp(7, 9).Payload(50).Build()));
        Assert.NotEqual(h, Hash(1, Udp("10.0.0.1", "10.2.0.1", 8, 9)));
        Assert.NotEqual(h, Hash(1, Udp("10.0.0.1", "10.2.0.1", 7, 10)));
        Assert.NotEqual(h, Hash(1, Ether().Ipv4("10.0.0.1", "10.2.0.1").Tcp(7, 9).Build()));
        Assert.Equal(Hash(1, Ping(1)), Hash(1, Ping(2)));
    }

    [Fact]
    public void Policy1SendsAllFragmentsOneWay()
    {
        byte[] first = Ether().Ipv4("10.0.0.1", "10.2.0.1", flagsAndOffset: 0x2000).Udp(7, 9).Payload(32).Build();
        byte[] later = Ether().Ipv4("10.0.0.1", "10.2.0.1", protocol: 17, flagsAndOffset: 5).Payload(32).Build();
        Assert.Equal(Hash(1, first), Hash(1, later));
        Assert.NotEqual(Hash(1, first), Hash(1, Udp("10.0.0.1", "10.2.0.1", 7, 9)));
    }

    [Theory]
    [InlineData("ipip")]
    [InlineData("gre")]
    [InlineData("gre-key")]
    [InlineData("teb")]
    [InlineData("sit")]
    public void Policy2KnowsTheInnerAddresses(string tunnel)
    {
        uint h = Hash(2, Tunnel(tunnel, Inner(tunnel, 1), "10.0.0.1"));
        Assert.Equal(h, Hash(2, Tunnel(tunnel, Inner(tunnel, 1), "10.0.0.2")));
        Assert.NotEqual(h, Hash(2, Tunnel(tunnel, Inner(tunnel, 2), "10.0.0.1")));
        Assert.Equal(Hash(0, Tunnel(tunnel, Inner(tunnel, 1), "10.0.0.1")), Hash(0, Tunnel(tunnel, Inner(tunnel, 2), "10.0.0.1")));
        Assert.Equal(Hash(1, Tunnel(tunnel, Inner(tunnel, 1), "10.0.0.1")), Hash(1, Tunnel(tunnel, Inner(tunnel, 2), "10.0.0.1")));
    }

    [Fact]
    public void Policy2WithoutTunnelIsPolicy0()
    {
        Assert.Equal(Hash(2, Udp("10.0.0.1", "10.2.0.1", 1, 2)), Hash(2, Udp("10.0.0.1", "10.2.0.1", 3, 4)));
        Assert.NotEqual(Hash(2, Udp("10.0.0.1", "10.2.0.1", 1, 2)), Hash(2, Udp("10.0.0.1", "10.2.0.2", 1, 2)));
    }

    [Theory]
    [InlineData(SourceIp, true, false, false, false)]
    [InlineData(DestinationIp, false, true, false, false)]
    [InlineData(SourcePort, false, false, true, false)]
    [InlineData(DestinationPort, false, false, false, true)]
    [InlineData(Protocol, false, false, false, false)]
    [InlineData(SourceIp | DestinationPort, true, false, false, true)]
    public void Policy3KnowsTheFieldsAskedFor(uint fields, bool source, bool destination, bool sport, bool dport)
    {
        uint h = Hash(3, Udp("10.0.0.1", "10.2.0.1", 7, 9), fields);
        Assert.Equal(source, h != Hash(3, Udp("10.0.0.9", "10.2.0.1", 7, 9), fields));
        Assert.Equal(destination, h != Hash(3, Udp("10.0.0.1", "10.2.0.9", 7, 9), fields));
        Assert.Equal(sport, h != Hash(3, Udp("10.0.0.1", "10.2.0.1", 8, 9), fields));
        Assert.Equal(dport, h != Hash(3, Udp("10.0.0.1", "10.2.0.1", 7, 8), fields));
        Assert.Equal((fields & Protocol) != 0, h != Hash(3, Ether().Ipv4("10.0.0.1", "10.2.0.1").Tcp(7, 9).Build(), fields));
    }

    [Fact]
    public void Policy3KnowsInnerFields()
    {
        byte[] a = Tunnel("ipip", Udp("30.0.0.1", "30.0.0.2", 7, 9), "10.0.0.1"), b = Tunnel("ipip", Udp("30.0.0.1", "30.0.0.2", 7, 8), "10.0.0.5");
        Assert.Equal(Hash(3, a, InnerSourceIp), Hash(3, b, InnerSourceIp));
        Assert.NotEqual(Hash(3, a, InnerSourceIp | InnerDestinationPort), Hash(3, b, InnerSourceIp | InnerDestinationPort));
        Assert.Equal(Hash(3, Udp("10.0.0.1", "10.2.0.1", 1, 2), InnerSourceIp), Hash(3, Udp("10.0.0.9", "10.2.0.9", 3, 4), InnerSourceIp));
    }

    [Fact]
    public void Ipv6PoliciesKnowAddressesLabelAndPorts()
    {
        byte[] p = Ipv6(1, 2, label: 5, 7, 9);
        Assert.Equal(Hash6(0, p), Hash6(0, Ipv6(1, 2, 5, 8, 9)));
        Assert.NotEqual(Hash6(0, p), Hash6(0, Ipv6(1, 2, 6, 7, 9)));
        Assert.NotEqual(Hash6(0, p), Hash6(0, Ipv6(3, 2, 5, 7, 9)));
        Assert.Equal(Hash6(0, p), Hash6(0, Ipv6(2, 1, 5, 7, 9)));
        Assert.Equal(Hash6(1, p), Hash6(1, Ipv6(2, 1, 6, 9, 7)));
        Assert.NotEqual(Hash6(1, p), Hash6(1, Ipv6(1, 2, 5, 8, 9)));
        Assert.NotEqual(Hash6(3, p, 8), Hash6(3, Ipv6(1, 2, 6, 7, 9), 8));
        Assert.Equal(Hash6(3, p, 8), Hash6(3, Ipv6(4, 5, 5, 1, 1), 8));
    }

    [Fact]
    public void Ipv6ExtensionHeadersArePassedAndFragmentsHaveNoPorts()
    {
        byte[] plain = Ipv6(1, 2, 5, 7, 9);
        byte[] options = [.. plain[..6], 0, plain[7], .. plain[8..40], 17, 0, 0, 0, 0, 0, 0, 0, .. plain[40..]];
        Assert.Equal(Hash6(1, plain), Hash6(1, options));
        byte[] fragment = [.. plain[..6], 44, plain[7], .. plain[8..40], 17, 0, 0, 1, 0, 0, 0, 0, .. plain[40..]];
        byte[] other = [.. fragment];
        other[49] = 77;
        Assert.Equal(Hash6(1, fragment), Hash6(1, other));
        Assert.NotEqual(Hash6(1, plain), Hash6(1, fragment));
    }

    [Fact]
    public void Ipv6ErrorsGoTheWayOfTheirFlow()
    {
        byte[] about = Ipv6(1, 2, 5, 7, 9);
        byte[] error = [.. Ipv6(8, 1, 0, 0, 0)[..40], 3, 0, 0, 0, 0, 0, 0, 0, .. about];
        error[6] = 58;
        Assert.Equal(Hash6(0, about), Hash6(0, error));
        error[40] = 129; // echo reply
        Assert.NotEqual(Hash6(0, about), Hash6(0, error));
    }

    /// <summary>Every prefix of every kind of packet, with nothing behind it that may be read.</summary>
    [Fact]
    public void NothingIsReadBehindThePacket()
    {
        using GuardedFrames frames = new();
        byte[][] packets =
        [
            Udp("10.0.0.1", "10.2.0.1", 1, 2), Tunnel("ipip", Inner("ipip", 1), "10.0.0.1"), Tunnel("gre-key", Inner("gre", 1), "10.0.0.1"),
            Tunnel("teb", Inner("teb", 1), "10.0.0.1"), Tunnel("sit", Inner("sit", 1), "10.0.0.1"),
            Ether().Ipv4("10.7.7.7", "10.0.0.1").Icmp(3).Payload(Udp("10.0.0.1", "10.2.0.1", 7, 9).AsSpan(14)).Build(),
        ];
        foreach (byte[] p in packets)
        {
            for (int length = 34; length <= p.Length; length++)
            {
                byte* at = frames.Place(0, p.AsSpan(0, length).ToArray(), atEnd: true);
                for (uint policy = 0; policy < 4; policy++)
                {
                    VrfState vrf = new() { MultipathPolicy4 = policy, MultipathFields4 = 0xfff, FlowSeed = 1 };
                    _ = new FlowHash(&vrf).Ipv4(at + 14, (uint)length - 14);
                }
            }
        }
    }

    /// <summary>Shares of 10,000 flows by weight, the bounds as fpmd lays them out: within 2 % of what each should get of all.</summary>
    [Theory]
    [InlineData(0, new uint[] { 1, 1 })]
    [InlineData(0, new uint[] { 3, 1 })]
    [InlineData(1, new uint[] { 1, 2, 3, 4 })]
    [InlineData(2, new uint[] { 10, 1 })]
    [InlineData(3, new uint[] { 1, 1, 1, 1, 1, 1, 1, 1 })]
    public void WeightsAreKeptWithinTwoPercent(uint policy, uint[] weights)
    {
        const int Flows = 10_000;
        int[] got = new int[weights.Length];
        double total = weights.Sum(w => w);
        for (int flow = 0; flow < Flows; flow++)
        {
            // As a lab would make them: one pair of hosts and many ports, or one network and many hosts.
            byte[] p = policy is 1 or 3 ? Udp("10.0.0.1", "10.2.0.1", 1024 + (flow & 255), 1024 + (flow >> 8)) : Udp($"10.0.{flow >> 8}.{flow & 255}", "10.2.0.1", 1, 2);
            double at = Hash(policy, p, 0x33) / 4294967296.0 * total;
            int member = 0;
            while (at >= weights[member])
            {
                at -= weights[member++];
            }

            got[member]++;
        }

        for (int i = 0; i < weights.Length; i++)
        {
            Assert.InRange((got[i] / (double)Flows) - (weights[i] / total), -0.02, 0.02);
        }
    }

    private static uint Hash(uint policy, byte[] frame, uint fields = 7)
    {
        VrfState vrf = new() { MultipathPolicy4 = policy, MultipathFields4 = fields, FlowSeed = 0x12345678 };
        fixed (byte* p = frame)
        {
            return new FlowHash(&vrf).Ipv4(p + 14, (uint)frame.Length - 14);
        }
    }

    private static uint Hash6(uint policy, byte[] packet, uint fields = 7)
    {
        VrfState vrf = new() { MultipathPolicy6 = policy, MultipathFields6 = fields, FlowSeed = 0x12345678 };
        fixed (byte* p = packet)
        {
            return new FlowHash(&vrf).Ipv6(p, (uint)packet.Length);
        }
    }

    private static byte[] Udp(string source, string destination, int sport, int dport) => Ether().Ipv4(source, destination).Udp(sport, dport).Build();

    private static byte[] Ping(uint sequence) => Ether().Ipv4("10.0.0.1", "10.2.0.1").Icmp(rest: sequence).Build();

    private static byte[] Inner(string tunnel, byte host) => tunnel switch
    {
        "sit" => [.. new byte[14], .. Ipv6(host, 2, 0, 1, 2)],
        _ => Udp($"30.0.0.{host}", "30.0.0.99", 1, 2),
    };

    /// <param name="tunnel">Its kind.</param>
    /// <param name="inner">A frame: its Ethernet header is left out but for teb.</param>
    private static byte[] Tunnel(string tunnel, byte[] inner, string source)
    {
        (int protocol, byte[] header) = tunnel switch
        {
            "ipip" => (4, Array.Empty<byte>()),
            "sit" => (41, []),
            "gre" => (47, new byte[] { 0, 0, 8, 0 }),
            "gre-key" => (47, [0xb0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2]),
            _ => (47, [0, 0, 0x65, 0x58]),
        };
        return Ether().Ipv4(source, "10.2.0.1", protocol: protocol).Payload([.. header, .. tunnel == "teb" ? inner : inner[14..]]).Build();
    }

    /// <summary>An IPv6 header and a UDP one, from and to the host numbers given.</summary>
    private static byte[] Ipv6(byte source, byte destination, int label, ushort sport, ushort dport)
    {
        byte[] p = new byte[48];
        BinaryPrimitives.WriteUInt32BigEndian(p, 0x6000_0000 | (uint)label);
        (p[5], p[6], p[7]) = (8, 17, 64);
        (p[8], p[9], p[23]) = (0x20, 1, source);
        (p[24], p[25], p[39]) = (0x20, 1, destination);
        BinaryPrimitives.WriteUInt16BigEndian(p.AsSpan(40), sport);
        BinaryPrimitives.WriteUInt16BigEndian(p.AsSpan(42), dport);
        return p;
    }
}
