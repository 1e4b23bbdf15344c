using System.Globalization;
using System.Text;
using System.Text.Json;
using FastPathSync.Linux;

namespace FastPathSync.Topology;

/// <summary>
/// The network of examples/frr, with its configuration: west ─ left ═ middle ─ right ─ east, FRR in the three routers, the
/// product in the middle. What FRR makes of its routes by nexthop objects is forwarded, and FRR notices nothing.
/// </summary>
public sealed class FrrTests(FrrTests.Network network) : IDisposable, IClassFixture<FrrTests.Network>
{
    private const int Prefixes = 200, Prefixes6 = 100;

    private static readonly TimeSpan s_converges = TimeSpan.FromSeconds(25);

    public sealed class Network : IDisposable
    {
        private readonly string _home;

        public Network()
        {
            FrrRouter.Require();
            Lab = new Lab();
            _home = Path.Combine(Path.GetTempPath(), $"{Lab.Prefix}frr");
            try
            {
                LabNamespace west = Add("west"), left = Add("left"), right = Add("right"), east = Add("east");
                (West, Left, Middle, Right, East) = (west, left, Add("middle"), right, east);
                Lab.Link(west, "host", left, "lan");
                Lab.Link(left, "a0", Middle, "a1");
                Lab.Link(left, "b0", Middle, "b1");
                Lab.Link(Middle, "c1", right, "c0");
                Lab.Link(right, "lan", east, "host");
                Host(west, 1);
                Host(east, 2);
                Directory.CreateDirectory(_home);
                Start(left, "left", StaticRoutes(1));
                Frr = Start(Middle, "middle", "");
                Start(right, "right", StaticRoutes(2));
                Wait.Until(() => Frr.OspfFull() == 3 && Frr.Ospf6Full() == 3, s_converges, "OSPFv2 and OSPFv3 are Full on three links", TimeSpan.FromMilliseconds(200));
                Wait.Until(() => Frr.BgpEstablished("ipv4") == 2 && Frr.BgpEstablished("ipv6") == 2, s_converges, "BGP is Established with both, in both families", TimeSpan.FromMilliseconds(200));
                Wait.Until(() => KernelRoutes(4) == 2 * Prefixes && KernelRoutes(6) == 2 * Prefixes6, s_converges, "zebra has installed all routes by nexthop objects", TimeSpan.FromMilliseconds(200));
                Wait.Until(() => west.Try("ping -n -c 1 -W 1 10.102.17.1").Ok && west.Try("ping -n -c 1 -W 1 2001:db8:102:11::1").Ok, s_converges, "west reaches east");
                Product = new Product(Middle).Start("--port a1 --port b1 --port c1");
                Sessions = Frr.BgpSessions();
            }
            catch
            {
                Dispose();
                throw;
            }
        }

        public Lab Lab { get; }

        public LabNamespace West { get; }

        public LabNamespace Left { get; }

        public LabNamespace Middle { get; }

        public LabNamespace Right { get; }

        public LabNamespace East { get; }

        public FrrRouter Frr { get; }

        public Product Product { get; }

        /// <summary>Of the middle, when the product began.</summary>
        public string Sessions { get; }

        /// <summary>How many BGP routes the kernel has by a nexthop object.</summary>
        public int KernelRoutes(int family)
        {
            using JsonDocument routes = JsonDocument.Parse(Middle.Run($"ip -{family} -j route show proto bgp").Output);
            return routes.RootElement.EnumerateArray().Count(r => r.TryGetProperty("nhid", out _));
        }

        public void Dispose()
        {
            Lab.Dispose();
            if (Directory.Exists(_home))
            {
                Directory.Delete(_home, recursive: true);
            }
        }

        private LabNamespace Add(string role)
        {
            LabNamespace ns = Lab.AddNamespace(role);

            // Without DAD an address can be used at once.
            ns.Sysctl(
                ("net.ipv6.conf.all.disable_ipv6", "0"), ("net.ipv6.conf.default.disable_ipv6", "0"), ("net.ipv6.conf.default.accept_dad", "0"));
            if (role is "left" or "middle" or "right")
            {
                ns.Sysctl(("net.ipv4.ip_forward", "1"), ("net.ipv6.conf.all.forwarding", "1"));
            }

            return ns;
        }

        private static void Host(LabNamespace host, int n)
        {
            host.Run($"ip address add 10.{n}.0.2/24 dev host");
            host.Run($"ip address add 2001:db8:{n}::2/64 dev host");
            host.Run($"ip route add default via 10.{n}.0.1");
            host.Run($"ip route add default via 2001:db8:{n}::1");
            host.Run($"ip route add local 10.10{n}.0.0/16 dev lo");
            host.Run($"ip route add local 2001:db8:10{n}::/48 dev lo");
        }

        private FrrRouter Start(LabNamespace router, string role, string more) =>
            new(router, Path.Combine(_home, role), File.ReadAllText(Path.Combine(Repository.Root, "examples", "frr", $"{role}.conf")) + more);

        private static string StaticRoutes(int n)
        {
            StringBuilder text = new();
            for (int i = 0; i < Prefixes; i++)
            {
                text.Append(CultureInfo.InvariantCulture, $"ip route 10.10{n}.{i}.0/24 10.{n}.0.2\n");
            }

            for (int i = 0; i < Prefixes6; i++)
            {
                text.Append(CultureInfo.InvariantCulture, $"ipv6 route 2001:db8:10{n}:{i:x}::/64 2001:db8:{n}::2\n");
            }

            return text.ToString();
        }
    }

    [Theory]
    [InlineData(4, Prefixes)]
    [InlineData(6, Prefixes6)]
    public void FrrsRoutesAreForwardedByTheirNexthopObjects(int family, int prefixes)
    {
        network.Product.WaitVerified(3);
        Assert.Equal(prefixes, Forwarded(family, "a1"));
        Assert.Equal(prefixes, Forwarded(family, "c1"));
    }

    [Theory]
    [InlineData(4, "10.102.17.1")]
    [InlineData(6, "2001:db8:102:11::1")]
    public void TrafficBetweenCustomersGoesByTheFastPath(int family, string destination)
    {
        network.West.Run($"ping -n -q -c 1 -W 1 {destination}"); // neighbours
        CounterReport before = network.Product.SettledTotal();
        ulong kernel = ForwardedByLinux(family);
        CommandResult ping = network.West.Run($"ping -n -q -c 1000 -i 0.002 -W 2 {destination}");
        Assert.Contains(" 0% packet loss", ping.Output, StringComparison.Ordinal);
        CounterReport after = network.Product.SettledTotal();
        Assert.True(after.Forwarded - before.Forwarded >= 2000, $"the fast path forwarded {after.Forwarded - before.Forwarded} of 2000; {after.Describe()}");
        kernel = ForwardedByLinux(family) - kernel;
        Assert.True(kernel < 100, $"Linux forwarded {kernel}");
    }

    [Fact]
    public void ABrokenLinkIsReroutedAndNoSessionIsLost()
    {
        network.Product.WaitVerified(3);
        using UdpFlow east = UdpFlow.Start(network.West, network.East, "10.102.17.1", 5001, 2_000);
        using UdpFlow west = UdpFlow.Start(network.East, network.West, "10.101.17.1", 5001, 2_000);
        east.WaitFlowing();
        west.WaitFlowing();
        network.Left.Run("ip link set a0 down");
        try
        {
            Wait.Until(() => AllBy("b1"), TimeSpan.FromSeconds(5), "all routes to the left go by b1", TimeSpan.FromMilliseconds(100));
            network.Product.WaitVerified(3);
            east.WaitFlowing();
            west.WaitFlowing();
            ulong before = network.Product.Stats().Total.Forwarded, kernel = ForwardedByLinux(4);
            Thread.Sleep(500);
            Assert.True(network.Product.Stats().Total.Forwarded - before > 1000, "the fast path forwards by the other link");
            Assert.True(ForwardedByLinux(4) - kernel < 100, "and Linux doesn't");
        }
        finally
        {
            network.Left.Run("ip link set a0 up");
            Wait.Until(() => AllBy("a1") && network.Frr.OspfFull() == 3 && network.Frr.Ospf6Full() == 3, TimeSpan.FromSeconds(15), "all routes to the left go by a1 again", TimeSpan.FromMilliseconds(100));
        }

        network.Product.WaitVerified(3);
        foreach (FlowReport report in (ReadOnlySpan<FlowReport>)[east.Stop(), west.Stop()])
        {
            TestContext.Current.TestOutputHelper?.WriteLine($"{report}");

            // FRR's SPF timers alone take 50 to 150 ms; the dead interval of 4 s would be the sign that carrier loss was missed.
            Assert.True(report.LongestGap < TimeSpan.FromSeconds(1), report.ToString());
        }

        AssertUnnoticed();
    }

    [Fact]
    public void KillingTheFastPathIsNotNoticed()
    {
        int pid = network.Product.PidOf("fastpath");
        using UdpFlow flow = UdpFlow.Start(network.West, network.East, "10.102.17.1", 5002, 5_000);
        flow.WaitFlowing();
        network.Lab.Note($"kill -9 {pid}");
        LinuxException.ThrowIfNegative(Libc.kill(pid, Libc.SIGKILL), "kill", $"pid {pid}");
        Wait.Until(() => network.Product.Status() is { State: "healthy" } s && s.Daemons.Any(d => d.Name == "fastpath" && d.Pid != pid && d.Pid != 0), TimeSpan.FromSeconds(5), "a new fast path is healthy");
        Thread.Sleep(1000); // hellos
        FlowReport report = flow.Stop();
        Assert.True(report.LongestGap < TimeSpan.FromMilliseconds(100), report.ToString());
        AssertUnnoticed();
        network.Product.WaitVerified(3);
    }

    public void Dispose() => TopologyTest.ExplainFailure(network.Lab, network.Product);

    private void AssertUnnoticed()
    {
        Assert.Equal(3, network.Frr.OspfFull());
        Assert.Equal(3, network.Frr.Ospf6Full());
        Assert.Equal(network.Sessions, network.Frr.BgpSessions());
    }

    private bool AllBy(string dev) => Forwarded(4, dev) == Prefixes && Forwarded(6, dev) == Prefixes6;

    private int Forwarded(int family, string dev) => network.Product.Show("route show").EnumerateArray().Count(r =>
        r.GetProperty("protocol").GetString() == "bgp" && r.TryGetProperty("nhid", out _) && r.GetProperty("active").GetBoolean()
        && r.GetProperty("fastpath").GetString() == "forward" && r.GetProperty("dev").GetString() == dev
        && r.GetProperty("dst").GetString()!.Contains(':', StringComparison.Ordinal) == (family == 6));

    private ulong ForwardedByLinux(int family) => family == 4
        ? network.Middle.Snmp("Ip", "ForwDatagrams")
        : ulong.Parse(
            network.Middle.Inside(() => File.ReadAllLines("/proc/thread-self/net/snmp6")).Single(l => l.StartsWith("Ip6OutForwDatagrams", StringComparison.Ordinal)).Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries)[1],
            CultureInfo.InvariantCulture);
}
