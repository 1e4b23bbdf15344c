using System.Diagnostics;
using FastPathSync.Linux;
using FastPathSync.Netlink.Rtnetlink;

namespace FastPathSync.Netlink.Tests;

/// <summary>The facade against the running kernel, in a namespace of its own.</summary>
public sealed class RtnetlinkDumpTests : IDisposable
{
    private readonly string _name = $"cm-dump-{Environment.ProcessId}";
    private readonly RtnetlinkDump _dump;

    public RtnetlinkDumpTests()
    {
        Run("ip", "netns", "add", _name);
        Shell("ip link add r0 type veth peer name c0; ip link set r0 up; ip link set c0 up; ip addr add 10.1.0.1/16 dev r0");
        _dump = RtnetlinkDump.InNamespace($"/run/netns/{_name}");
    }

    [Fact]
    public void DumpsTellWhatTheKernelHas()
    {
        Shell("ip route add 10.9.0.0/16 via 10.1.0.2; ip route append 10.9.0.0/16 via 10.1.0.3; ip nexthop add id 5 via 10.1.0.2 dev r0; "
            + "ip neigh add 10.1.0.2 lladdr 02:00:00:00:00:02 dev r0; ip neigh add proxy 10.1.0.7 dev r0; ip rule add table 78 priority 102; tc qdisc add dev r0 clsact");
        Assert.Contains(_dump.Links(), l => l.Name == "r0" && l.Kind == "veth" && l.IsUp);
        Assert.Contains(_dump.Addresses4(), a => a.Local.ToString() == "10.1.0.1");
        Assert.Equal(["10.1.0.2", "10.1.0.3"], _dump.Routes4().Where(r => r.Destination.ToString() == "10.9.0.0").Select(r => r.Single.Gateway.ToString()));
        Assert.Equal(5u, Assert.Single(_dump.Nexthops()).Id);
        Assert.Equal("10.1.0.2", Assert.Single(_dump.Neighbours4()).Destination.ToString());
        Assert.Contains(_dump.NetConf4(), c => c.Index == NetConfConstants.NETCONFA_IFINDEX_ALL && c.RpFilter is not null);
        Assert.Equal([0u, 102u, 32766u, 32767u], _dump.Rules(Rtm.AF_INET).Select(r => r.Priority));
        Assert.Contains(_dump.Qdiscs(), q => q.Kind == "clsact");
    }

    [Fact]
    public void UsedNeighboursLeaveStaleAndMissingOnesAreCounted()
    {
        const int Count = 300; // more than two batches
        Shell($"for i in $(seq 1 {Count}); do echo neigh add 10.1.$((i / 200 + 1)).$((i % 200 + 1)) lladdr 02:00:00:00:00:02 dev r0 nud stale; done | ip -batch -");
        int index = _dump.Links().Single(l => l.Name == "r0").Index;
        List<(int, InetAddress)> used = [.. _dump.Neighbours4().Select(n => (n.Index, n.Destination))];
        Assert.Equal(Count, used.Count);
        used.Insert(150, (index, InetAddress.FromV4(0x0a01fffe)));
        used.Add((index + 1000, InetAddress.FromV4(0x0a01fffe)));

        using NetlinkSocket socket = NetworkNamespace.Run($"/run/netns/{_name}", () => new NetlinkSocket(NetlinkSocket.NETLINK_ROUTE));
        NeighbourUse use = new(socket);
        Assert.Equal(Count, use.Use(used.ToArray()));
        Assert.Equal(2, use.Missing);
        Assert.DoesNotContain(_dump.Neighbours4(), n => n.State == NeighbourConstants.NUD_STALE);
        Assert.Equal(Count, _dump.Neighbours4().Count);
    }

    public void Dispose()
    {
        _dump.Dispose();
        Run("ip", "netns", "del", _name);
    }

    private void Shell(string script) => Run("ip", "netns", "exec", _name, "sh", "-ec", script);

    private static void Run(string program, params string[] arguments)
    {
        using Process p = Process.Start(program, arguments);
        p.WaitForExit();
        Assert.Equal(0, p.ExitCode);
    }
}
