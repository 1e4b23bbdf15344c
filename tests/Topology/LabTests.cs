using FastPathSync.Linux;

namespace FastPathSync.Topology;

/// <summary>The harness itself, against plain kernel forwarding.</summary>
public sealed class LabTests(RouterLab lab) : TopologyTest(lab), IClassFixture<RouterLab>
{
    [Fact]
    public void KernelForwardsAFlowWithoutLoss()
    {
        Lab.WarmUp();
        ulong before = Router.Snmp("Ip", "ForwDatagrams");
        using UdpFlow flow = Lab.StartFlow(rate: 10_000, limit: 10_000);
        FlowReport report = flow.Finish();
        Assert.True(report.Missing <= 10 && report.Duplicates == 0, report.ToString());
        Assert.InRange(Router.Snmp("Ip", "ForwDatagrams") - before, 9_990ul, 10_100ul);
    }

    [Fact]
    public void RawFramesArriveWithTtlDecrementedAndPaddingCut()
    {
        Lab.WarmUp();
        using PacketSocket client = Client.OpenPacketSocket("c0");
        using PacketSocket server = Server.OpenPacketSocket("s0");
        byte[] frame = Lab.FromClient().Ipv4("10.1.0.2", RouterLab.Target, ttl: 9).Udp(1, 2, [1, 2, 3]).Build(padding: new byte[15]);
        client.Send(frame);
        CapturedFrame received = Assert.Single(server.TakeWhenQuiet());
        Assert.Equal(frame.Length - 15, received.Bytes.Length);
        Assert.Equal(8, received.Bytes[PacketBuilder.EtherLength + 8]);
        Assert.Equal(0, PacketBuilder.Checksum(received.Bytes.AsSpan(PacketBuilder.EtherLength, 20), 0));
    }

    [Fact]
    public void AnInterruptedFlowShowsItsGap()
    {
        Lab.WarmUp();
        using UdpFlow flow = Lab.StartFlow(rate: 2_000, port: 5002);
        flow.WaitFlowing();
        Router.Run("ip route add blackhole 10.9.0.1/32");
        flow.WaitStopped();
        Thread.Sleep(200);
        Router.Run("ip route del blackhole 10.9.0.1/32");
        flow.WaitFlowing();
        Assert.InRange(flow.Stop().LongestGap.TotalMilliseconds, 200, 2000);
    }

    [Fact]
    public void DisposeLeavesNothing()
    {
        string prefix;
        int pid;
        using (Lab lab = new())
        {
            prefix = lab.Prefix;
            LabNamespace a = lab.AddNamespace("a"), b = lab.AddNamespace("b");
            lab.Link(a, "v0", b, "v1");
            pid = a.Start("sleep 100").Pid;
        }

        Assert.Empty(Reaper.FindLeftovers(prefix));
        Assert.False(Directory.Exists($"/proc/{pid}"));
    }

    [Fact]
    public void TheReaperRemovesWhatADeadRunLeft()
    {
        // A pid above the kernel's largest (PID_MAX_LIMIT, 2^22) can't be anyone's.
        string name = $"{Lab.Lab.Prefix[..5]}4194305-0-x";
        Lab.Lab.Host($"ip netns add {name}").MustSucceed();
        BackgroundProcess left = new(Command.Start(["ip", "netns", "exec", name, "sleep", "100"]));
        Wait.Until(() => Command.Run(["ip", "netns", "pids", name]).Output.Trim() == $"{left.Pid}", TimeSpan.FromSeconds(2), "the process runs in the namespace");
        Reaper.RemoveLeftovers();
        Assert.False(File.Exists($"/run/netns/{name}"));
        Wait.Until(() => left.HasExited, TimeSpan.FromSeconds(2), "the process ends");
        left.Dispose();
        Assert.Contains(Router.Name, Directory.GetFiles("/run/netns").Select(Path.GetFileName));
    }
}
