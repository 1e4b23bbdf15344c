using System.Text.RegularExpressions;
using FastPathSync.Bpf;
using FastPathSync.Linux;
using FastPathSync.NetFpc;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FastPath.Tests.Ports;

/// <summary>The whole process on veth ports, with packets from outside. Reproduce: dotnet run --project tests/FastPath.Tests.</summary>
public sealed unsafe class RouterTests
{
    private const byte TimeExceeded = 11, EchoReply = 0, DestinationUnreachable = 3;
    private const int SIGSTOP = 19, SIGCONT = 18;

    [Theory]
    [InlineData("--mode native", PortMode.Native)]
    [InlineData("--mode generic", PortMode.Generic)]
    [InlineData("", PortMode.Native)]
    public void ForwardsByteForByte(string arguments, PortMode mode)
    {
        using RouterLab lab = new();
        lab.Start(arguments);
        Assert.Equal(mode, lab.Port(0)->Mode);
        byte[] sent = LabFrames.Udp();
        lab.SendLeft(sent);
        byte[]? got = lab.ReceiveRight(LabFrames.IsUdp);
        Assert.Equal(LabFrames.Forwarded(sent), got);
        PortCounters* c = lab.Counters(0);
        Assert.True(RouterLab.Eventually(() => c->Forwarded == 1));
        Assert.Equal(1ul, c->Rx);
        Assert.Equal(1ul, lab.Counters(1)->Tx);
        lab.Stop();
        Assert.Equal(0u, lab.State->Forwarding);
    }

    [Theory]
    [InlineData("--mode native --punt egress")]
    [InlineData("--mode native --punt tap")]
    [InlineData("--mode generic --punt egress")]
    [InlineData("--mode generic --punt tap")]
    public void LinuxAnswersExpiredPacketsOnce(string arguments)
    {
        using RouterLab lab = new();
        lab.Start(arguments);
        byte[] sent = LabFrames.Udp(ttl: 1);
        lab.SendLeft(sent);
        byte[]? answer = lab.ReceiveLeft(f => LabFrames.IsIcmp(f, TimeExceeded));
        Assert.NotNull(answer);
        Assert.Equal(new byte[] { 10, 1, 0, 1 }, answer[26..30]);
        Assert.Equal(sent[14..42], answer[42..70]); // it saw our packet as it was
        Assert.Null(lab.ReceiveLeft(f => LabFrames.IsIcmp(f, TimeExceeded), 100));
        PortCounters* c = lab.Counters(0);
        Assert.Equal(1ul, c->Punted[(int)PuntReason.TtlExpired]);
        Assert.Equal(1ul, c->Rx);
        bool generic = arguments.Contains("generic", StringComparison.Ordinal);
        Assert.True(RouterLab.Eventually(() => lab.State->Fptun[(int)FptunCommand.Basic] == 1 && lab.Port(0)->Passed[(int)PassReason.Reinjected] == (generic ? 1ul : 0ul)));
    }

    [Fact]
    public void WhatIsLinuxsIsPassedAtOnce()
    {
        using RouterLab lab = new();
        lab.Start();
        lab.Exec("l", "ping -c 2 -i 0.2 -W 1 10.1.0.1");
        Assert.True(RouterLab.Eventually(() => lab.Port(0)->Passed[(int)PassReason.LocalAddress] == 2));
        Assert.Equal(0ul, lab.Counters(0)->Rx);
        byte[] other = LabFrames.Udp();
        other[5] = 9;
        lab.SendLeft(other);
        Assert.True(RouterLab.Eventually(() => lab.Port(0)->Passed[(int)PassReason.OtherHost] == 1));
    }

    [Fact]
    public void DemotionIsObeyedAndEnds()
    {
        using RouterLab lab = new();
        lab.Start();
        lab.Vrf->PassAll = Families.Both;
        Volatile.Write(ref lab.Vrf->Change, lab.Vrf->Change + 1);
        Thread.Sleep(50);
        byte[] sent = LabFrames.Udp();
        lab.SendLeft(sent);
        Assert.Equal(LabFrames.Forwarded(sent), lab.ReceiveRight(LabFrames.IsUdp)); // by Linux
        Assert.Equal(0ul, lab.Counters(0)->Rx);
        lab.Vrf->PassAll = Families.None;
        Volatile.Write(ref lab.Vrf->Change, lab.Vrf->Change + 1);
        Thread.Sleep(50);
        lab.SendLeft(sent);
        Assert.Equal(LabFrames.Forwarded(sent), lab.ReceiveRight(LabFrames.IsUdp));
        Assert.True(RouterLab.Eventually(() => lab.Counters(0)->Forwarded == 1));
        Assert.True(RouterLab.Eventually(() => lab.Port(0)->Passed[(int)PassReason.Demoted] >= 1));
    }

    [Fact]
    public void TablesThatNobodyKeepsAreNotUsed()
    {
        using RouterLab lab = new();
        lab.Start();
        lab.Beats = false;
        Thread.Sleep(1500); // as long as a killed fpmd takes to be back, and more
        byte[] sent = LabFrames.Udp();
        lab.SendLeft(sent);
        Assert.Equal(LabFrames.Forwarded(sent), lab.ReceiveRight(LabFrames.IsUdp));
        Assert.True(RouterLab.Eventually(() => lab.Counters(0)->Forwarded == 1));
        Assert.True(RouterLab.Eventually(() => lab.State->Forwarding == 0, 4000), lab.Log);
        lab.SendLeft(sent);
        Assert.Equal(LabFrames.Forwarded(sent), lab.ReceiveRight(LabFrames.IsUdp)); // by Linux
        Assert.Equal(1ul, lab.Counters(0)->Rx);
        Assert.True(RouterLab.Eventually(() => lab.Port(0)->Passed[(int)PassReason.Demoted] >= 1));
        lab.Beats = true;
        Assert.True(RouterLab.Eventually(() => lab.State->Forwarding == 1), lab.Log);
        lab.SendLeft(sent);
        Assert.NotNull(lab.ReceiveRight(LabFrames.IsUdp));
        Assert.True(RouterLab.Eventually(() => lab.Counters(0)->Forwarded == 2));
        Assert.True(RouterLab.Eventually(() => Regex.IsMatch(lab.Log, "fpmd has not beaten(.|\n)*keeps the tables again")), lab.Log);
    }

    [Fact]
    public void AStoppedProcessHandsOverAndTakesBack()
    {
        using RouterLab lab = new();
        lab.Start();
        lab.Signal(SIGSTOP);
        Thread.Sleep(100);
        byte[] sent = LabFrames.Udp();
        lab.SendLeft(sent);
        Assert.Equal(LabFrames.Forwarded(sent), lab.ReceiveRight(LabFrames.IsUdp, 200));
        Assert.Equal(0ul, lab.Counters(0)->Rx);
        lab.Signal(SIGCONT);
        Thread.Sleep(100);
        lab.SendLeft(sent);
        Assert.Equal(LabFrames.Forwarded(sent), lab.ReceiveRight(LabFrames.IsUdp, 200));
        Assert.True(RouterLab.Eventually(() => lab.Counters(0)->Forwarded == 1));
        Assert.True(RouterLab.Eventually(() => lab.Port(0)->Passed[(int)PassReason.HeartbeatLost] >= 1));
    }

    [Fact]
    public void AKilledProcessLeavesLinuxForwardingAndItsCountersToTheNext()
    {
        using RouterLab lab = new();
        lab.Start();
        byte[] sent = LabFrames.Udp();
        lab.SendLeft(sent);
        Assert.NotNull(lab.ReceiveRight(LabFrames.IsUdp));
        lab.Signal(Libc.SIGKILL);
        Thread.Sleep(100);
        lab.SendLeft(sent);
        Assert.Equal(LabFrames.Forwarded(sent), lab.ReceiveRight(LabFrames.IsUdp, 200));
        lab.WaitForDeath();
        File.Delete(Path.Combine(lab.Directory, "netfpc.sock"));
        lab.Start();
        lab.SendLeft(sent);
        Assert.NotNull(lab.ReceiveRight(LabFrames.IsUdp));
        Assert.True(RouterLab.Eventually(() => lab.Counters(0)->Forwarded == 2));
    }

    [Fact]
    public void FramesAreConservedUnderBurstsOfEverything()
    {
        using RouterLab lab = new();
        lab.Start("--frames 1024");
        byte[] forward = LabFrames.Udp(), expired = LabFrames.Udp(ttl: 1), noRoute = LabFrames.Udp(destination: 0x0b000001);
        for (int i = 0; i < 20000; i++)
        {
            lab.SendLeft(i % 16 == 0 ? expired : i % 16 == 1 ? noRoute : forward);
        }

        PortCounters* c = lab.Counters(0);
        WorkerState* w = lab.Worker();
        Assert.True(RouterLab.Eventually(() => c->Rx + lab.Port(0)->NoFrame == 20000), $"rx {c->Rx} no-frame {lab.Port(0)->NoFrame}");
        ulong punted = 0, dropped = 0;
        for (int i = 0; i < 32; i++)
        {
            punted += c->Punted[i];
        }

        for (int i = 0; i < 8; i++)
        {
            dropped += c->Dropped[i];
        }

        Assert.Equal(c->Rx, c->Forwarded + punted + dropped);
        Assert.True(RouterLab.Eventually(() => w->FramesInUse == 0), $"in use {w->FramesInUse}");
        Thread.Sleep(300);
        Assert.Equal(0ul, w->FramesLost);
        Assert.Equal(1024ul, w->Frames);
    }

    [Fact]
    public void APortMayVanishAndComeBack()
    {
        using RouterLab lab = new();
        lab.Start();
        byte[] sent = LabFrames.Udp();
        lab.SendLeft(sent);
        Assert.NotNull(lab.ReceiveRight(LabFrames.IsUdp));
        lab.Ip("r", "link set r0 name gone0");
        Assert.True(RouterLab.Eventually(() => lab.Port(0)->Status == PortStatus.Gone), lab.Log);
        Assert.Equal(PortStatus.Up, lab.Port(1)->Status);
        lab.Ip("r", "link set gone0 name r0");
        Assert.True(RouterLab.Eventually(() => lab.Port(0)->Status == PortStatus.Up, 4000), lab.Log);
        lab.SendLeft(sent);
        Assert.NotNull(lab.ReceiveRight(LabFrames.IsUdp));
        Assert.True(RouterLab.Eventually(() => lab.Counters(0)->Forwarded == 2), lab.Log);

        lab.Ip("l", "link del l0");
        Assert.True(RouterLab.Eventually(() => lab.Port(0)->Status == PortStatus.Gone), lab.Log);
        Thread.Sleep(500);
        Assert.Equal(0ul, lab.Worker()->FramesLost);
        lab.Stop();
    }

    [Fact]
    public void AnMtuThatDoesNotFitIsLinuxsUntilItFitsAgain()
    {
        using RouterLab lab = new();
        lab.Start("--mode generic");
        Assert.Equal(1778u, lab.Port(0)->MaxMtu);
        lab.Ip("r", "link set r0 mtu 9000");
        Assert.True(RouterLab.Eventually(() => lab.Port(0)->Mtu == 9000));
        byte[] sent = LabFrames.Udp();
        lab.SendLeft(sent);
        Assert.Equal(LabFrames.Forwarded(sent), lab.ReceiveRight(LabFrames.IsUdp));
        Assert.Equal(0ul, lab.Counters(0)->Rx);
        lab.Ip("r", "link set r0 mtu 1500");
        Assert.True(RouterLab.Eventually(() => lab.Port(0)->Mtu == 1500));
        lab.SendLeft(sent);
        Assert.NotNull(lab.ReceiveRight(LabFrames.IsUdp));
        Assert.True(RouterLab.Eventually(() => lab.Counters(0)->Forwarded == 1));
    }

    [Fact]
    public void NetfpcTellsThePortMtuAndItsLimit()
    {
        using RouterLab lab = new();
        lab.Start("--mode generic");
        using NetFpcClient client = new(Path.Combine(lab.Directory, "netfpc.sock"), TimeSpan.FromSeconds(2));
        Assert.Equal(lab.State->Pid, client.Ping().Pid);
        uint ifindex = lab.Port(0)->IfIndex;
        Assert.Equal((1500u, 1778u), (client.GetPortMtu(ifindex).Mtu, client.GetPortMtu(ifindex).MaxMtu));
        lab.Ip("r", "link set r0 mtu 1400");
        Assert.Equal(1400u, client.SetPortMtu(ifindex, 1400).Mtu);
        Assert.Contains("1778", Assert.Throws<NetFpcRefusedException>(() => client.SetPortMtu(ifindex, 9000)).Message, StringComparison.Ordinal);
        Assert.Equal(Errno.ENODEV, Assert.Throws<NetFpcRefusedException>(() => client.GetPortMtu(9999)).ErrorNumber);
    }

    [Fact]
    public void TwoWorkersServeTwoQueues()
    {
        using RouterLab lab = new(queues: 2);
        lab.Start("--workers 2");
        Assert.Equal(2u, lab.Port(0)->Queues);
        byte[] sent = LabFrames.Udp();
        lab.SendLeft(sent);
        Assert.Equal(LabFrames.Forwarded(sent), lab.ReceiveRight(LabFrames.IsUdp));
    }

    [Theory]
    [InlineData("--port nosuch", "nosuch: no such interface")]
    [InlineData("--port r0 --port r0", "given twice")]
    [InlineData("--port lo", "not an Ethernet interface")]
    [InlineData("--port r0 --workers 2", "use --workers 1")]
    [InlineData("--port r0 --cpu 900", "not online")]
    [InlineData("", "no port")]
    public void WhatCannotStartSaysWhyInOneLine(string arguments, string expected)
    {
        using RouterLab lab = new();
        (int status, string error) = lab.StartFailing(arguments);
        Assert.NotEqual(0, status);
        Assert.Contains(expected, error, StringComparison.Ordinal);
        Assert.Single(error.Split('\n', StringSplitOptions.RemoveEmptyEntries));
        lab.Exec("r", "sh -c \"! ip link show fpn0 && ! ip link | grep -q xdp\"");
    }

    [Fact]
    public void ASecondFastPathInTheNamespaceIsRefused()
    {
        using RouterLab lab = new();
        lab.Start();
        (int status, string error) = lab.StartFailing("--port r0", keep: true);
        Assert.NotEqual(0, status);
        Assert.Contains("fpn0 already exists", error, StringComparison.Ordinal);
    }

    [Fact]
    public void AForeignXdpProgramIsNamed()
    {
        using RouterLab lab = new();
        using BpfObject program = BpfObject.Open("xdp_redirect");
        program.Load();
        using FileDescriptor link = lab.InRouter(() =>
            program.Program("xdp_redirect").AttachXdp(Libc.if_nametoindex("r0"), XdpAttachMode.Native));
        (int status, string error) = lab.StartFailing("--port r0");
        Assert.NotEqual(0, status);
        Assert.Matches("another XDP program .id [1-9]", error);
    }

    [Fact]
    public void MissingCapabilitiesAreNamed()
    {
        using RouterLab lab = new();
        (int status, string error) = lab.StartFailing("--port r0", "setpriv --bounding-set -net_admin,-sys_admin,-bpf --inh-caps -net_admin,-sys_admin,-bpf");
        Assert.NotEqual(0, status);
        Assert.Contains("CAP_NET_ADMIN", error, StringComparison.Ordinal);
    }

    [Fact]
    public void VethPeerWithMoreQueuesIsExplained()
    {
        using RouterLab lab = new();
        lab.Ip("r", "link add q0 numrxqueues 1 type veth peer name q1 numtxqueues 4 numrxqueues 4");
        lab.Ip("r", "link set q0 up");
        lab.Exec("r", "ethtool -L q1 tx 4");
        (int status, string error) = lab.StartFailing("--port q0 --mode native");
        Assert.NotEqual(0, status);
        Assert.Contains("more TX queues", error, StringComparison.Ordinal);
    }

    [Fact]
    public void MoreQueuesThanSocketsIsExplained()
    {
        using RouterLab lab = new();
        lab.Ip("r", "link add q0 numrxqueues 65 type veth peer name q1");
        lab.Exec("r", "ethtool -L q0 rx 65");
        (int status, string error) = lab.StartFailing("--port q0");
        Assert.NotEqual(0, status);
        Assert.Contains("65 receive queues; at most 64", error, StringComparison.Ordinal);
    }

    [Fact]
    public void AnMtuOverTheFrameIsExplained()
    {
        using RouterLab lab = new();
        lab.Ip("r", "link set r0 mtu 9000");
        (int status, string error) = lab.StartFailing("--port r0");
        Assert.NotEqual(0, status);
        Assert.Contains("3826", error, StringComparison.Ordinal);
    }
}
