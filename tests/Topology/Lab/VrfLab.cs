namespace FastPathSync.Topology;

/// <summary>
/// The lab twice, blue and red, with the same names, addresses and routes in both; the product in a third namespace that has
/// no ports of its own, and serves r0 and r1 of the two.
/// </summary>
public sealed class VrfLab : IDisposable
{
    private Product? _product;

    public VrfLab()
    {
        Lab = new Lab();
        try
        {
            Home = Lab.AddNamespace("home");
            Blue = new Net(Lab, "blue");
            Red = new Net(Lab, "red");
        }
        catch
        {
            Lab.Dispose();
            throw;
        }
    }

    public Lab Lab { get; }

    public LabNamespace Home { get; }

    public RouterLab Blue { get; }

    public RouterLab Red { get; }

    public string StartOptions => $"--port {Port(Blue, "r0")} --port {Port(Blue, "r1")} --port {Port(Red, "r0")} --port {Port(Red, "r1")}";

    public Product Product
    {
        get
        {
            if (_product is null)
            {
                Blue.WarmUp();
                Red.WarmUp();
                _product = new Product(Home).Start(StartOptions);
            }

            return _product;
        }
    }

    public bool ProductStarted => _product is not null;

    public static string Port(RouterLab net, string ifname) => $"{net.Router.Name}/{ifname}";

    /// <summary>The router of red as it was made at first: links, addresses, forwarding, route.</summary>
    public void RemakeRedRouter()
    {
        Lab.Host($"ip netns add {Red.Router.Name}").MustSucceed();
        Red.ForgetMacs();
        Red.Router.Run("ip link set lo up");
        Red.Router.Sysctl(("net.ipv4.conf.all.rp_filter", "0"), ("net.ipv4.conf.default.rp_filter", "0"), ("net.ipv4.ip_forward", "1"));
        Lab.Link(Red.Client, "c0", Red.Router, "r0");
        Lab.Link(Red.Router, "r1", Red.Server, "s0");
        Red.Client.Run("ip address add 10.1.0.2/24 dev c0");
        Red.Server.Run("ip address add 10.2.0.2/24 dev s0");
        Red.Router.Run("ip address add 10.1.0.1/24 dev r0");
        Red.Router.Run("ip address add 10.2.0.1/24 dev r1");
        Red.Client.Run("ip route add default via 10.1.0.1");
        Red.Server.Run("ip route add default via 10.2.0.1");
        Red.Router.Run("ip route add 10.9.0.0/16 via 10.2.0.2");
        Red.Client.Run("ping -q -c 1 -W 2 10.1.0.1");
        Red.Router.Run("ping -q -c 1 -W 2 10.2.0.2");
    }

    public void Dispose()
    {
        Red.Dispose(); // its lab is ours
        Blue.Dispose();
        Lab.Dispose();
    }

    private sealed class Net(Lab lab, string role) : RouterLab(lab, role);
}
