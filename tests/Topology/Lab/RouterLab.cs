using System.Net;
using System.Net.Sockets;

namespace FastPathSync.Topology;

/// <summary>
/// client c0 10.1.0.2/24 ── r0 10.1.0.1 ROUTER r1 10.2.0.1 ── s0 10.2.0.2/24 server, and a second way to the same server:
/// r2 10.3.0.1 ── s1 10.3.0.2/24. The server owns all of 10.9.0.0/16 and 10.64.0.0/10; the router reaches 10.9.0.0/16 via 10.2.0.2.
/// </summary>
public class RouterLab : IDisposable
{
    public const string Target = "10.9.0.1";
    public const ushort SilentPort = 2;
    private readonly Socket? _silent;
    private Product? _product;

    public RouterLab()
        : this(new Lab(), "")
    {
    }

    /// <summary>One of several in a lab; <paramref name="role"/> stands before the names of its namespaces.</summary>
    protected RouterLab(Lab lab, string role)
    {
        Lab = lab;
        try
        {
            Client = Lab.AddNamespace($"{role}client");
            Router = Lab.AddNamespace($"{role}router");
            Server = Lab.AddNamespace($"{role}server");
            Lab.Link(Client, "c0", Router, "r0");
            Lab.Link(Router, "r1", Server, "s0");
            Lab.Link(Router, "r2", Server, "s1");
            Client.Run("ip address add 10.1.0.2/24 dev c0");
            Router.Run("ip address add 10.1.0.1/24 dev r0");
            Router.Run("ip address add 10.2.0.1/24 dev r1");
            Router.Run("ip address add 10.3.0.1/24 dev r2");
            Server.Run("ip address add 10.2.0.2/24 dev s0");
            Server.Run("ip address add 10.3.0.2/24 dev s1");
            Client.Run("ip route add default via 10.1.0.1");
            Server.Run("ip route add default via 10.2.0.1");
            Server.Run("ip route add local 10.9.0.0/16 dev lo");
            Server.Run("ip route add local 10.64.0.0/10 dev lo");
            Router.Sysctl(("net.ipv4.ip_forward", "1"));
            Router.Run("ip route add 10.9.0.0/16 via 10.2.0.2");

            // Bound and never read: what goes there brings no ICMP port unreachable back through the router.
            _silent = Server.Inside(() =>
            {
                Socket s = new(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);
                s.Bind(new IPEndPoint(IPAddress.Any, SilentPort));
                return s;
            });
        }
        catch
        {
            Lab.Dispose();
            throw;
        }
    }

    public Lab Lab { get; }

    public LabNamespace Client { get; }

    public LabNamespace Router { get; }

    public LabNamespace Server { get; }

    public virtual string StartOptions => "--port r0 --port r1 --port r2";

    /// <summary>The product in the router, started by whoever asks first.</summary>
    public Product Product
    {
        get
        {
            if (_product is null)
            {
                WarmUp();
                _product = new Product(Router).Start(StartOptions);
            }

            return _product;
        }
    }

    public bool ProductStarted => _product is not null;

    public void StopProduct()
    {
        _product?.Stop();
        _product = null;
    }

    /// <summary>Resolves the neighbours on all links, so that no test depends on who came first.</summary>
    public void WarmUp()
    {
        Reach(Client, "10.1.0.1");
        Reach(Router, "10.2.0.2");
        Reach(Router, "10.3.0.2");
    }

    /// <summary>An IPv6 address is of use at once; answers to errors are not rationed.</summary>
    public static void EnableIpv6WithoutRationing(LabNamespace ns) => ns.Sysctl(
        ("net.ipv6.conf.default.accept_dad", "0"), ("net.ipv6.conf.all.accept_dad", "0"), ("net.ipv6.conf.default.disable_ipv6", "0"),
        ("net.ipv6.conf.all.disable_ipv6", "0"), ("net.ipv6.icmp.ratelimit", "0"), ("net.ipv4.icmp_ratelimit", "0"),
        ("net.ipv4.icmp_msgs_per_sec", "1000000"), ("net.ipv4.icmp_msgs_burst", "1000000"));

    /// <summary>On a busy machine an answer may come too late for the first question.</summary>
    protected static void Reach(LabNamespace from, string address) =>
        Wait.Until(() => from.Try($"ping -q -c 1 -W 2 {address}").Ok, TimeSpan.FromSeconds(10), $"{from.Name} reaches {address}");

    /// <summary>A frame that the client sends to the router, up to the IP header.</summary>
    public PacketBuilder FromClient() => new PacketBuilder().Ether(_routerMac ??= Router.MacOf("r0"), _clientMac ??= Client.MacOf("c0"));

    /// <summary>Once links have been made anew.</summary>
    public void ForgetMacs() => _routerMac = _clientMac = null;

    private byte[]? _routerMac, _clientMac;

    public UdpFlow StartFlow(int rate = 10_000, int port = 5000, string destination = Target, int limit = 600_000) =>
        UdpFlow.Start(Client, Server, destination, port, rate, limit);

    public virtual void Dispose()
    {
        _silent?.Dispose();
        Lab.Dispose();
        GC.SuppressFinalize(this);
    }
}
