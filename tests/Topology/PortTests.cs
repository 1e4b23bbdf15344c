using System.Text.Json;
using FastPathSync.Linux;

namespace FastPathSync.Topology;

/// <summary>r0 and r1 are served from the start; r2, the second way to the server, is added and deleted at run time.</summary>
public sealed class TwoPortLab : RouterLab
{
    public override string StartOptions => "--port r0 --port r1";
}

/// <summary>Ports come and go at run time, and those that stay lose nothing.</summary>
public sealed class PortTests(TwoPortLab lab) : TopologyTest(lab), IClassFixture<TwoPortLab>
{
    private const double ComesBackSeconds = 5;
    private const string OverR2 = "10.3.0.2";

    [Fact]
    public void AnAddedPortForwardsADeletedOneIsLinuxsAndTheOthersLoseNothing()
    {
        WithoutR2();
        using UdpFlow others = Lab.StartFlow(rate: 12_000, port: 5401);
        others.WaitFlowing();
        Assert.True(ThroughR2(5402, out ulong tx) > 900, "Linux sends what leaves by r2 before it is a port");
        Assert.Equal(0ul, tx);

        Product.Fpctl("port add r2").MustSucceed();
        Assert.Equal("healthy", Product.Status().State);
        Assert.Equal(["r0", "r1", "r2"], Product.Status().Ports.Select(p => p.Ifname));
        Assert.True(ThroughR2(5403, out tx) < 100, "the fast path sends what leaves by r2");
        Assert.InRange(tx, 900ul, 1_000ul);
        Product.WaitVerified(2);

        Product.Fpctl("port del r2").MustSucceed();
        Assert.Equal("healthy", Product.Status().State);
        Assert.Equal(["r0", "r1"], Product.Status().Ports.Select(p => p.Ifname));
        Assert.True(ThroughR2(5404, out _) > 900, "Linux sends what leaves by r2 again");
        Assert.DoesNotContain("xdp", Router.Run("ip link show dev r2").Output, StringComparison.Ordinal);
        FlowReport report = others.Stop();
        Assert.True(report is { Missing: 0, Duplicates: 0 }, $"the other ports must not notice: {report}");
        Product.WaitVerified(2);
        Product.AssertConserved();
    }

    [Fact]
    public void FourTimesThereAndBackLoseAndLeaveNothing()
    {
        WithoutR2();
        int[] restarts = [.. Product.Status().Daemons.Select(d => d.Restarts)];
        int descriptors = Descriptors(), threads = Threads(), programs = Programs();
        using UdpFlow others = Lab.StartFlow(rate: 5_000, port: 5410);
        using UdpFlow own = Lab.StartFlow(rate: 5_000, port: 5411, destination: OverR2);
        own.WaitFlowing();
        for (int i = 0; i < 4; i++)
        {
            Product.Fpctl("port add r2").MustSucceed();
            Product.Fpctl("port del r2").MustSucceed();
        }

        FlowReport report = others.Stop(), ofR2 = own.Stop();
        Assert.True(report is { Missing: 0, Duplicates: 0 }, $"the other ports must not notice: {report}");
        Assert.True(ofR2 is { Missing: 0, Duplicates: 0 }, $"what leaves by r2 finds its way: {ofR2}");
        Assert.InRange(Descriptors(), 0, descriptors + 3); // fewer than one a turn
        Assert.InRange(Threads(), 0, threads + 3);
        Wait.Until(() => Programs() == programs, TimeSpan.FromSeconds(2), $"as many XDP programs as before: {programs}");
        Assert.Equal(restarts, Product.Status().Daemons.Select(d => d.Restarts));
        Product.AssertConserved();

        int Descriptors() => Directory.GetFiles($"/proc/{Product.PidOf("fastpath")}/fd").Length;
        int Threads() => Directory.GetDirectories($"/proc/{Product.PidOf("fastpath")}/task").Length;
        int Programs() => Command.Run(["bpftool", "prog", "show"], null, null).Output.Split('\n').Count(l => l.Contains("name xdp_redirect", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("fastpath")]
    [InlineData("fpmd")]
    [InlineData("cmgrd")]
    [InlineData("supervisor")]
    public void AKilledDaemonComesBackWithTheChangedPorts(string daemon)
    {
        WithR2();
        Kill(daemon);
        Assert.Equal(["r0", "r1", "r2"], Product.Status().Ports.Select(p => p.Ifname));
        Assert.True(ThroughR2(5420, out ulong tx) < 100 && tx > 900, $"the fast path sends what leaves by r2: {tx}");
    }

    [Fact]
    public void AKilledFastPathDoesNotBringADeletedPortBack()
    {
        WithR2();
        WithoutR2();
        Kill("fastpath");
        Assert.Equal(["r0", "r1"], Product.Status().Ports.Select(p => p.Ifname));
        Assert.True(ThroughR2(5421, out _) > 900, "Linux sends what leaves by r2");
    }

    [Theory]
    [InlineData("port add r0", 1, "port 'r0' is served already")]
    [InlineData("port add r9", 1, "port 'r9': no such interface in this network namespace")]
    [InlineData("port add nowhere/r9", 1, "there is no VRF (network namespace) 'nowhere'")]
    [InlineData("port add lo", 1, "the loopback interface has nothing to forward")]
    [InlineData("port del r9", 1, "port 'r9' is none that is served")]
    [InlineData("port add", 2, null)]
    public void WhatCannotBeIsRefusedInOneLineAndChangesNothing(string command, int status, string? says)
    {
        string[] before = [.. Product.Status().Ports.Select(p => p.Ifname)];
        CommandResult result = Product.Fpctl(command);
        Assert.Equal(status, result.ExitCode);
        if (says is not null)
        {
            Assert.Contains(says, Assert.Single(result.ErrorLines), StringComparison.Ordinal);
        }

        Assert.Equal(before, Product.Status().Ports.Select(p => p.Ifname));
        Assert.Equal("healthy", Product.Status().State);
    }

    [Fact]
    public void AnMtuThatNeedsLargerFramesIsRefused()
    {
        WithoutR2();
        Router.Run("ip link set r2 mtu 3000");
        try
        {
            CommandResult result = Product.Fpctl("port add r2");
            Assert.Equal(1, result.ExitCode);
            Assert.Contains("its MTU 3000 needs larger packet frames than the fast path was started with", Assert.Single(result.ErrorLines), StringComparison.Ordinal);
            Assert.Equal("healthy", Product.Status().State);
            Assert.Equal(["r0", "r1"], Product.Status().Ports.Select(p => p.Ifname));
        }
        finally
        {
            Router.Run("ip link set r2 mtu 1500");
        }
    }

    [Fact]
    public void TheLastPortCannotBeDeleted()
    {
        WithoutR2();
        Product.Fpctl("port del r0").MustSucceed();
        CommandResult last = Product.Fpctl("port del r1");
        Assert.Equal(1, last.ExitCode);
        Assert.Contains("port 'r1' is the last one", Assert.Single(last.ErrorLines), StringComparison.Ordinal);
        Product.Fpctl("port add r0").MustSucceed();
        Assert.Equal(["r0", "r1"], Product.Status().Ports.Select(p => p.Ifname));
        using UdpFlow flow = Lab.StartFlow(rate: 2_000, limit: 1_000, port: 5430);
        Assert.Equal(0, flow.Finish().Missing);
    }

    [Fact]
    public void APortOfAnotherVrfBringsItsTablesAndTakesThemAway()
    {
        WithoutR2();
        LabNamespace blue = Lab.Lab.AddNamespace("blue");
        Lab.Lab.Link(Client, "b0", blue, "e0");
        Client.Run("ip address add 10.8.0.2/24 dev b0");
        blue.Run("ip address add 10.8.0.1/24 dev e0");
        using UdpFlow others = Lab.StartFlow(rate: 10_000, port: 5440);
        others.WaitFlowing();
        Product.Fpctl($"port add {blue.Name}/e0").MustSucceed();
        Assert.Equal("healthy", Product.Status().State);
        Assert.Equal(["r0", "r1", "e0"], Product.Status().Ports.Select(p => p.Ifname));
        Assert.Contains("10.8.0.0/24", Product.Show($"route show --vrf {blue.Name}").EnumerateArray().Select(r => r.GetProperty("dst").GetString()));
        Client.Run("ping -q -c 1 -W 2 10.8.0.1");
        Product.Fpctl($"port del {blue.Name}/e0").MustSucceed();
        Assert.Equal("healthy", Product.Status().State);
        Assert.DoesNotContain(Product.Show("vrf show").EnumerateArray(), v => v.GetProperty("name").GetString() == blue.Name);
        FlowReport report = others.Stop();
        Assert.True(report is { Missing: 0, Duplicates: 0 }, $"the other VRF must not notice: {report}");
        Product.AssertConserved();
        Wait.Until(() => !blue.Run("ip link show").Output.Contains("fpn0", StringComparison.Ordinal), TimeSpan.FromSeconds(2), "nothing is left in the VRF");
    }

    [Fact]
    public void RpcTellsWhatTheFastPathKnowsOfAPort()
    {
        WithoutR2();
        JsonElement[] ports = [.. Product.Show("rpc ports").EnumerateArray()];
        Assert.Equal(["r0", "r1"], ports.Select(p => p.GetProperty("ifname").GetString()));
        Assert.Equal(Mac("r0"), Product.Show("rpc mac r0").GetProperty("address").GetString());
        Assert.Contains("01:00:5e:00:00:01", Product.Show("rpc mac r0").GetProperty("multicast").EnumerateArray().Select(m => m.GetString()));
        Assert.Equal((1500, 1778), (Product.Show("rpc mtu r0").GetProperty("mtu").GetInt32(), Product.Show("rpc mtu r0").GetProperty("maxMtu").GetInt32()));
        Assert.Equal([0], Product.Show("rpc queues r0").GetProperty("workers").EnumerateArray().Select(w => w.GetInt32()));
        Assert.True(Product.Show("rpc promisc r0 on").GetProperty("promisc").GetBoolean());
        Assert.Contains("PROMISC", Router.Run("ip link show dev r0").Output, StringComparison.Ordinal);
        Assert.False(Product.Show("rpc promisc r0 off").GetProperty("promisc").GetBoolean());
        Assert.DoesNotContain("PROMISC", Router.Run("ip link show dev r0").Output, StringComparison.Ordinal);
        CommandResult large = Product.Fpctl("rpc mtu r0 9000");
        Assert.Contains("port r0: frames of MTU 9000 don't fit the packet frames (largest MTU: 1778)", Assert.Single(large.ErrorLines), StringComparison.Ordinal);
        Assert.Equal(2, Product.Fpctl("rpc mac r2").ExitCode);
    }

    [Fact]
    public void RpcToAHaltedFastPathFailsAfterSomeSeconds()
    {
        const int SIGCONT = 18, SIGSTOP = 19; // asm-generic/signal.h
        int pid = Product.PidOf("fastpath");
        Lab.Lab.Note($"kill -STOP {pid}");
        _ = Libc.kill(pid, SIGSTOP);
        try
        {
            CommandResult result = Product.Fpctl("rpc ping", TimeSpan.FromSeconds(5));
            Assert.Equal(1, result.ExitCode);
            Assert.Contains("the fast path process did not answer within 2 s; is it halted?", Assert.Single(result.ErrorLines), StringComparison.Ordinal);
        }
        finally
        {
            _ = Libc.kill(pid, SIGCONT);
        }

        Wait.Until(() => Product.Status().State == "healthy", TimeSpan.FromSeconds(ComesBackSeconds), "status is healthy");
    }

    [Fact]
    public void WhatLinuxChangesOfAPortReachesTheFastPathByItself()
    {
        _ = Product;
        string mac = Mac("r0");
        Router.Run("ip link set r0 address 02:00:00:00:aa:01");
        Client.Run("ip neigh flush dev c0");
        Client.Run("ping -q -c 1 -W 2 10.1.0.1");
        Wait.Until(() => Product.Show("rpc mac r0").GetProperty("address").GetString() == "02:00:00:00:aa:01", TimeSpan.FromSeconds(2), "XDP compares with the new address");
        Forwards(5450);
        Router.Run($"ip link set r0 address {mac}");
        Client.Run("ip neigh flush dev c0");
        Client.Run("ping -q -c 1 -W 2 10.1.0.1");

        Router.Run("ip link set r0 mtu 1400");
        Wait.Until(() => Product.Show("rpc mtu r0").GetProperty("mtu").GetInt32() == 1400, TimeSpan.FromSeconds(2), "the port works with the new MTU");
        Router.Run("ip link set r0 mtu 1500");

        Router.Run("ip link set r1 down");
        Wait.Until(() => Product.Status().Ports.Single(p => p.Ifname == "r1").State == "down", TimeSpan.FromSeconds(2), "the port is down");
        Router.Run("ip link set r1 up");
        Wait.Until(() => Product.Status().Ports.Single(p => p.Ifname == "r1").State == "up", TimeSpan.FromSeconds(2), "the port is up");
        Router.Run("ip route replace 10.9.0.0/16 via 10.2.0.2");
        Router.Run("ping -q -c 1 -W 2 10.2.0.2");
        Product.WaitVerified(3);
        Forwards(5451);
    }

    [Fact]
    public void PacketsToOtherMacsAreLinuxsInPromiscuousModeAndOnAMacvlan()
    {
        _ = Product;
        byte[] stranger = [2, 0, 0, 0, 0xbb, 1];
        byte[] frame = new PacketBuilder().Ether(stranger, Client.MacOf("c0")).Ipv4("10.1.0.2", RouterLab.Target).Udp(9, RouterLab.SilentPort, [1]).Build();
        Router.Run("ip link set r0 promisc on");
        using (PacketSocket router = Router.OpenPacketSocket("r0"), client = Client.OpenPacketSocket("c0"))
        {
            ulong before = Product.SettledTotal().PassedBy("other-host");
            client.Send(frame);
            Assert.Contains(router.TakeWhenQuiet(1), f => f.Bytes.AsSpan(0, 6).SequenceEqual(stranger));
            Assert.Equal(before + 1, Product.SettledTotal().PassedBy("other-host"));
        }

        Router.Run("ip link set r0 promisc off");
        Router.Run("ip link add link r0 name mv0 type macvlan mode private");
        try
        {
            Router.Run("ip address add 10.1.0.77/24 dev mv0");
            Router.Sysctl(("net.ipv4.conf.all.arp_ignore", "1"));
            Router.Run("ip link set mv0 up");
            Client.Run($"ip neigh replace 10.1.0.77 lladdr {Mac("mv0")} dev c0");
            Client.Run("ping -q -c 2 -W 2 10.1.0.77");
        }
        finally
        {
            Router.Try("ip link delete mv0");
            Router.Sysctl(("net.ipv4.conf.all.arp_ignore", "0"));
        }

        Wait.Until(() => Product.Status() is { State: "healthy", Demotions: [] }, TimeSpan.FromSeconds(3), "no demotion is left");
    }

    private string Mac(string ifname) => string.Join(':', Router.MacOf(ifname).Select(b => $"{b:x2}"));

    /// <summary>The fast path, and not Linux, forwards from r0 to r1.</summary>
    private void Forwards(int port)
    {
        ulong kernel = Router.Snmp("Ip", "ForwDatagrams");
        using UdpFlow flow = Lab.StartFlow(rate: 4_000, limit: 1_000, port: port);
        FlowReport report = flow.Finish();
        Assert.True(report.Missing == 0, report.ToString());
        Assert.True(Router.Snmp("Ip", "ForwDatagrams") - kernel < 100, "Linux forwarded");
    }

    private void WithR2()
    {
        if (!Product.Status().Ports.Any(p => p.Ifname == "r2"))
        {
            Product.Fpctl("port add r2").MustSucceed();
        }
    }

    private void WithoutR2()
    {
        if (Product.Status().Ports.Any(p => p.Ifname == "r2"))
        {
            Product.Fpctl("port del r2").MustSucceed();
        }
    }

    /// <summary>A thousand packets that leave by r2: how many of them Linux forwarded, and how many the fast path sent there.</summary>
    private ulong ThroughR2(int port, out ulong tx)
    {
        ulong kernel = Router.Snmp("Ip", "ForwDatagrams"), before = Tx();
        using UdpFlow flow = Lab.StartFlow(rate: 4_000, limit: 1_000, port: port, destination: OverR2);
        FlowReport report = flow.Finish();
        Assert.True(report.Missing == 0, report.ToString());
        tx = Tx() - before;
        return Router.Snmp("Ip", "ForwDatagrams") - kernel;

        ulong Tx() => Product.Stats().Ports.SingleOrDefault(p => p.Ifname == "r2")?.Tx ?? 0;
    }

    private void Kill(string daemon)
    {
        int pid = Product.PidOf(daemon);
        Lab.Lab.Note($"kill -9 {pid}");
        LinuxException.ThrowIfNegative(Libc.kill(pid, Libc.SIGKILL), "kill", $"pid {pid}");
        Wait.Until(() => IsBack(daemon, pid), TimeSpan.FromSeconds(ComesBackSeconds), $"{daemon} is back and status is healthy");
    }

    private bool IsBack(string daemon, int killed)
    {
        try
        {
            return Product.Status() is { State: "healthy" } s && s.Daemons.Any(d => d.Name == daemon && d.Pid != killed && d.Pid != 0);
        }
        catch (JsonException)
        {
            return false;
        }
    }
}
