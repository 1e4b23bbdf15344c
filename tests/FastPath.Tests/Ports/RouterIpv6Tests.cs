using FastPathSync.Packets;
using FastPathSync.SharedMemory.Tables;
using static FastPathSync.Packets.Building.Packet;

namespace FastPathSync.FastPath.Tests.Ports;

/// <summary>The whole process on veth ports, with IPv6 packets from outside.</summary>
public sealed unsafe class RouterIpv6Tests
{
    [Theory]
    [InlineData("--mode native")]
    [InlineData("--mode generic")]
    public void ForwardsByteForByte(string arguments)
    {
        using RouterLab lab = new();
        lab.AddIpv6();
        lab.Start(arguments);
        byte[] sent = LabFrames.Udp6();
        lab.SendLeft(sent);
        Assert.Equal(LabFrames.Forwarded6(sent), lab.ReceiveRight(LabFrames.IsUdp6));
        lab.SendLeft(LabFrames.Udp());
        Assert.NotNull(lab.ReceiveRight(LabFrames.IsUdp));
        PortCounters* c = lab.Counters(0);
        Assert.True(RouterLab.Eventually(() => c->Forwarded == 2));
        Assert.Equal((2ul, 2ul), (c->Rx, lab.Counters(1)->Tx));
        lab.Stop();
    }

    [Theory]
    [InlineData("--mode native --punt egress")]
    [InlineData("--mode native --punt tap")]
    [InlineData("--mode generic --punt egress")]
    [InlineData("--mode generic --punt tap")]
    public void LinuxAnswersExpiredPacketsOnce(string arguments)
    {
        using RouterLab lab = new();
        lab.AddIpv6();
        lab.Start(arguments);
        byte[] sent = LabFrames.Udp6(hopLimit: 1);
        lab.SendLeft(sent);
        byte[]? answer = lab.ReceiveLeft(f => LabFrames.IsIcmpv6(f, Icmpv6Header.TimeExceeded));
        Assert.NotNull(answer);
        Assert.Equal(sent[14..], answer[62..]); // it saw our packet as it was, and no byte behind it
        Assert.Null(lab.ReceiveLeft(f => LabFrames.IsIcmpv6(f, Icmpv6Header.TimeExceeded), 100));
        PortCounters* c = lab.Counters(0);
        Assert.Equal((1ul, 1ul), (c->Punted[(int)PuntReason.TtlExpired], c->Rx));
        bool generic = arguments.Contains("generic", StringComparison.Ordinal);
        Assert.True(RouterLab.Eventually(() => lab.State->Fptun[(int)FptunCommand.Basic] == 1 && lab.Port(0)->Passed[(int)PassReason.Reinjected] == (generic ? 1ul : 0ul)));
    }

    [Fact]
    public void WhatIsPuntedIsAnsweredByLinux()
    {
        using RouterLab lab = new();
        lab.AddIpv6();
        lab.Start();
        Answered(LabFrames.Udp6("fd99::1"), PuntReason.NoRoute, Icmpv6Header.DestinationUnreachable, "fd01::1");
        Answered(LabFrames.Udp6("fd02::"), PuntReason.Local, Icmpv6Header.DestinationUnreachable, "fd02::"); // anycast: nobody listens there

        byte[] options = Ether("02:00:00:00:01:01", "02:00:00:00:01:02").Ipv6("fd01::2", "fd02::2").Extension(IpProtocol.HopByHop).Udp().Build();
        lab.SendLeft(options);
        Assert.Equal(LabFrames.Forwarded6(options), lab.ReceiveRight(f => f.Length == options.Length));
        Assert.True(RouterLab.Eventually(() => lab.Counters(0)->Punted[(int)PuntReason.ExtensionHeader] == 1));

        void Answered(byte[] frame, PuntReason reason, byte type, string from)
        {
            lab.SendLeft(frame);
            byte[]? answer = lab.ReceiveLeft(f => LabFrames.IsIcmpv6(f, type));
            Assert.NotNull(answer);
            Assert.Equal(from, new System.Net.IPAddress(answer[22..38]).ToString());
            Assert.True(RouterLab.Eventually(() => lab.Counters(0)->Punted[(int)reason] == 1));
        }
    }

    [Fact]
    public void WhatIsLinuxsIsPassedAtOnce()
    {
        using RouterLab lab = new();
        lab.AddIpv6();
        lab.Start();
        lab.SendLeft(LabFrames.Udp6("fd01::1"));
        lab.SendLeft(LabFrames.Udp6("fd02::1"));
        lab.SendLeft(LabFrames.Udp6("fe80::1"));
        lab.SendLeft(LabFrames.Udp6(source: "fe80::1"));
        Assert.True(RouterLab.Eventually(() => lab.Port(0)->Passed[(int)PassReason.LocalAddress] == 2 && lab.Port(0)->Passed[(int)PassReason.LinkLocal] == 2));
        Assert.Equal(0ul, lab.Counters(0)->Rx);
    }

    [Fact]
    public void WithoutAnIpv6TableIpv6IsLinuxs()
    {
        using RouterLab lab = new();
        lab.Ip("r", "addr add fd01::1/64 dev r0 nodad");
        lab.Ip("r", "addr add fd02::1/64 dev r1 nodad");
        lab.Ip("r", "neigh add fd02::2 lladdr 02:00:00:00:02:02 dev r1 nud permanent");
        lab.Exec("r", "sh -c \"echo 1 >/proc/sys/net/ipv6/conf/all/forwarding\"");
        lab.Start();
        byte[] sent = LabFrames.Udp6();
        lab.SendLeft(sent);
        Assert.Equal(LabFrames.Forwarded6(sent), lab.ReceiveRight(LabFrames.IsUdp6));
        Assert.True(RouterLab.Eventually(() => lab.Port(0)->Passed[(int)PassReason.Demoted] == 1));
        lab.SendLeft(LabFrames.Udp());
        Assert.NotNull(lab.ReceiveRight(LabFrames.IsUdp));
        Assert.True(RouterLab.Eventually(() => lab.Counters(0)->Forwarded == 1));
    }

    [Fact]
    public void DemotionOfIpv6LeavesIpv4InForce()
    {
        using RouterLab lab = new();
        lab.AddIpv6();
        lab.Start();
        lab.Vrf->IngressPass[0] = (uint)Families.Ipv6;
        Volatile.Write(ref lab.Vrf->Change, lab.Vrf->Change + 1);
        Thread.Sleep(50);
        byte[] sent = LabFrames.Udp6();
        lab.SendLeft(sent);
        Assert.Equal(LabFrames.Forwarded6(sent), lab.ReceiveRight(LabFrames.IsUdp6)); // by Linux
        lab.SendLeft(LabFrames.Udp());
        Assert.NotNull(lab.ReceiveRight(LabFrames.IsUdp));
        Assert.True(RouterLab.Eventually(() => lab.Counters(0)->Rx == 1));
        lab.Vrf->IngressPass[0] = 0;
        Volatile.Write(ref lab.Vrf->Change, lab.Vrf->Change + 1);
        Thread.Sleep(50);
        lab.SendLeft(sent);
        Assert.Equal(LabFrames.Forwarded6(sent), lab.ReceiveRight(LabFrames.IsUdp6));
        Assert.True(RouterLab.Eventually(() => lab.Counters(0)->Forwarded == 2));
    }
}
