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
    public void TwentyTimesThereAndBackLoseAndLeaveNothing()
    {
        WithoutR2();
        int[] restarts = [.. Product.Status().Daemons.Select(d => d.Restarts)];
        int descriptors = Descriptors(), threads = Threads(), programs = Programs();
        using UdpFlow others = Lab.StartFlow(rate: 5_000, port: 5410);
        using UdpFlow own = Lab.StartFlow(rate: 5_000, port: 5411, destination: OverR2);
        own.WaitFlowing();
        for (int i = 0; i < 20; i++)
        {
            Product.Fpctl("port add r2").MustSucceed();
            Product.Fpctl("port del r2").MustSucceed();
        }

        FlowReport report = others.Stop(), ofR2 = own.Stop();
        Assert.True(report is { Missing: 0, Duplicates: 0 }, $"the other ports must not notice: {report}");
        Assert.True(ofR2 is { Missing: 0, Duplicates: 0 }, $"what leaves by r2 finds its way: {ofR2}");
        Assert.InRange(Descriptors(), 0, descriptors + 4);
        Assert.InRange(Threads(), 0, threads + 4);
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
