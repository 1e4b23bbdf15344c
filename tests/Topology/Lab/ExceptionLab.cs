using System.Buffers.Binary;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using FastPathSync.Linux;

namespace FastPathSync.Topology;

/// <summary>What came of the packet of a row: where, and what; "s0 packet" and its bytes.</summary>
public sealed record ExceptionOutcome(List<(string What, string Bytes)> Frames)
{
    public string Reaction => string.Join(", ", Frames.Select(f => f.What));
}

/// <summary>What came of all rows, and by how much each counter ("punted no-route", "forwarded") rose, in each stage.</summary>
public sealed record ExceptionRun(Dictionary<string, ExceptionOutcome> Outcomes, Dictionary<(string Stage, string Way), ulong> Counted);

/// <summary>
/// The lab with both families, routes of every kind, and more links: r3 fd08::1 10.4.0.1 ── s3 is no port; r4 10.5.0.1 ── s4 is
/// down; r5 10.6.0.1 fd06::1 ── s5 has a hook on its egress. Sends all packets of ExceptionRows: to the kernel alone before the
/// product starts, then to both.
/// </summary>
public class ExceptionLab : RouterLab
{
    /// <summary>Behind the last route of too many.</summary>
    public const string WithoutNexthop = "10.71.43.1";

    /// <summary>With room for all the lab's own routes.</summary>
    private const int Nexthops = 256, TooMany = 300;

    private static readonly (string Device, ushort EtherType)[] s_listened =
        [.. from device in (string[])["c0", "s0", "s1", "s3", "s5"] from type in (ushort[])[0x0800, 0x86dd, 0x0806] select (device, type)];

    private readonly Socket? _silent;
    private ExceptionRun? _ours;

    public ExceptionLab()
    {
        try
        {
            foreach (LabNamespace ns in (LabNamespace[])[Client, Router, Server])
            {
                RouterLab.EnableIpv6WithoutRationing(ns);
            }

            Lab.Link(Router, "r3", Server, "s3");
            Lab.Link(Router, "r4", Server, "s4");
            Lab.Link(Router, "r5", Server, "s5");
            Router.Sysctl(
                ("net.ipv6.conf.all.forwarding", "1"), ("net.ipv4.conf.r0.rp_filter", "2"), ("net.ipv4.conf.r4.ignore_routes_with_linkdown", "1"), ("net.ipv6.conf.r4.ignore_routes_with_linkdown", "1"),
                ("net.ipv4.neigh.r1.retrans_time_ms", "100"), ("net.ipv6.neigh.r1.retrans_time_ms", "100")); // who doesn't answer is given up quickly
            Addresses();
            Routes();
            Neighbours();
            Router.Run("nft -f -", input: "table netdev t {\nchain c {\ntype filter hook egress device r5 priority 0;\ncounter\n}\n}\n");
            Server.Run("ip link set s4 down");

            // As RouterLab's own: what goes to this port brings nothing back.
            _silent = Server.Inside(() =>
            {
                Socket s = new(AddressFamily.InterNetworkV6, SocketType.Dgram, ProtocolType.Udp) { DualMode = false };
                s.Bind(new IPEndPoint(IPAddress.IPv6Any, SilentPort));
                return s;
            });
            WarmUpAll();
            Wait.Until(() => Router.Run("ip -6 address show tentative").Output.Length == 0, TimeSpan.FromSeconds(5), "link-local addresses, from which redirects are sent, are in use");
            Kernel = Run(null);
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public override string StartOptions => $"{base.StartOptions} --port r4 --port r5 --table-sizes nexthops={Nexthops}";

    public ExceptionRun Kernel { get; }

    /// <summary>With the product.</summary>
    public ExceptionRun Ours
    {
        get
        {
            if (_ours is null)
            {
                WarmUpAll();
                _ours = Run(Product);
            }

            return _ours;
        }
    }

    /// <summary>A host of its own for each packet of IPv4.</summary>
    public static string SourceOf(ushort id) => $"10.1.0.{100 + (id % 100)}";

    public override void Dispose()
    {
        _silent?.Dispose();
        base.Dispose();
    }

    private void Addresses()
    {
        Client.Run("ip address add fd01::2/64 dev c0 nodad");
        Client.Run("ip route add default via fd01::1");
        foreach ((string device, string ipv4, string ipv6) in ((string, string, string)[])[("r3", "10.4.0", "fd08:"), ("r4", "10.5.0", "fd05:"), ("r5", "10.6.0", "fd06:")])
        {
            Router.Run($"ip address add {ipv4}.1/24 dev {device}");
            Router.Run($"ip address add {ipv6}:1/64 dev {device} nodad");
            Server.Run($"ip address add {ipv4}.2/24 dev s{device[1]}");
            Server.Run($"ip address add {ipv6}:2/64 dev s{device[1]} nodad");
        }

        foreach ((string device, string address) in ((string, string)[])[("r0", "fd01::1"), ("r1", "fd02::1"), ("r2", "fd03::1")])
        {
            Router.Run($"ip address add {address}/64 dev {device} nodad");
        }

        Server.Run("ip address add fd02::2/64 dev s0 nodad");
        Server.Run("ip address add fd03::2/64 dev s1 nodad");
        Server.Run("ip route add default via fd02::1");
        Server.Run("ip route add local fd09::/16 dev lo");
    }

    private void Routes() => Router.Run("ip -batch -", input: """
        route add blackhole 10.20.1.0/24
        route add unreachable 10.20.2.0/24
        route add prohibit 10.20.3.0/24
        route add throw 10.20.5.0/24
        route add 10.20.4.0/24 via 10.2.0.2 mtu 1000
        route add 10.21.0.0/16 via 10.4.0.2
        route add 10.22.0.0/16 via 10.6.0.2
        route add 10.23.0.0/16 via 10.2.0.2
        route add 10.23.0.0/16 tos 0x10 via 10.3.0.2
        route add 10.24.0.0/16 nexthop via 10.5.0.2 nexthop via 10.5.0.3
        route add 10.27.0.0/16 via 10.5.0.2
        route add 10.25.0.0/16 via 10.1.0.9
        route add 10.26.0.0/16 via 10.2.0.2
        route add multicast 10.45.0.0/16 dev r1
        route add 10.46.0.0/16 encap ip id 5 dst 10.2.0.9 via 10.2.0.2 dev r1
        route add local 10.66.0.0/16 dev lo
        route add fd09::/16 via fd02::2
        route add fd0a::/16 via fd02::2 mtu 1400
        route add fd0b::/16 via fd02::2 mtu lock 1300
        route add fd0e::/16 from fd01::/16 via fd02::2
        route add fd0e::/16 via fd03::2
        route add fd0f::/16 dev r1
        route append fd0f::/16 dev r3
        route add blackhole fd20:1::/32
        route add unreachable fd20:2::/32
        route add prohibit fd20:3::/32
        route add throw fd20:5::/32
        route add fd21::/16 via fd08::2
        route add fd22::/16 via fd06::2
        route add fd23::/16 nexthop via fd05::2 nexthop via fd05::3
        route add nat fd24::/16 dev r1 table main
        route add fd26::/16 via fd02::2
        route add multicast fd45::/16 dev r1 table main
        route add fd46::/16 encap ip6 id 5 dst fd02::9 via fd02::2 dev r1
        route add local fd66::/16 dev lo

        """);

    private void Neighbours()
    {
        string client = Mac(Client, "c0"), server = Mac(Server, "s0");
        Router.Run("ip -batch -", input: $"""
            neigh add 10.1.0.9 lladdr 02:00:00:00:00:99 dev r0 nud permanent
            neigh add fd01::9 lladdr 02:00:00:00:00:99 dev r0 nud permanent
            neigh add fe80::1234 lladdr 02:00:00:00:00:99 dev r0 nud permanent
            neigh add fd01::20 lladdr {client} dev r0 nud permanent
            neigh add fd01::21 lladdr {client} dev r0 nud permanent
            neigh add fd0f::1 lladdr {server} dev r1 nud permanent
            neigh add fd0f::1 lladdr {Mac(Server, "s3")} dev r3 nud permanent
            neigh add fd24::1 lladdr {server} dev r1 nud permanent
            neigh add fd45::1 lladdr {server} dev r1 nud permanent

            """);

        // The kernel rations its ICMP errors and redirects (inet_peer) to each of them.
        Router.Run("ip -batch -", input: string.Concat(ExceptionRows.All.Select(r => $"neigh add {SourceOf(r.Id)} lladdr {client} dev r0 nud permanent\n")));
    }

    private void WarmUpAll()
    {
        WarmUp();
        Reach(Client, "fd01::1");
        foreach (string host in (string[])["10.4.0.2", "10.6.0.2", "fd02::2", "fd03::2", "fd08::2", "fd06::2"])
        {
            Reach(Router, host);
        }
    }

    private ExceptionRun Run(Product? product)
    {
        ExceptionRun run = new([], []);
        foreach (IGrouping<string, ExceptionRow> stage in ExceptionRows.All.GroupBy(r => r.Stage))
        {
            using IDisposable set = Set(stage.Key, product);
            for (int attempt = 0; ; attempt++)
            {
                CounterReport? before = product?.SettledTotal();
                Dictionary<string, ExceptionOutcome> outcomes = Exchange([.. stage]);
                CounterReport? after = product?.SettledTotal();

                // While the machine gives the worker no CPU, Linux has everything: no packet is counted by its reason then.
                if (attempt < 3 && before is not null && after!.PassedBy("heartbeat-lost") != before.PassedBy("heartbeat-lost"))
                {
                    continue;
                }

                outcomes.ToList().ForEach(o => run.Outcomes[o.Key] = o.Value);
                if (before is not null)
                {
                    Count(run, stage.Key, before, after!);
                }

                break;
            }
        }

        return run;
    }

    private static void Count(ExceptionRun run, string stage, CounterReport before, CounterReport after)
    {
        run.Counted[(stage, "forwarded")] = after.Forwarded - before.Forwarded;
        after.Punted.ToList().ForEach(p => run.Counted[(stage, $"punted {p.Key}")] = p.Value - before.PuntedBy(p.Key));
        after.Passed.ToList().ForEach(p => run.Counted[(stage, $"passed {p.Key}")] = p.Value - before.PassedBy(p.Key));
    }

    /// <summary>Until it is disposed of.</summary>
    public IDisposable Set(string stage, Product? product)
    {
        switch (stage)
        {
            case ExceptionRows.Rule:
                Router.Run("ip rule add to 10.26.0.0/16 lookup main suppress_ifgroup 5");
                Router.Run("ip -6 rule add to fd26::/16 lookup main suppress_ifgroup 5");
                product?.WaitVerified(3);
                return new Undo(() =>
                {
                    Router.Run("ip rule del to 10.26.0.0/16");
                    Router.Run("ip -6 rule del to fd26::/16");
                    product?.WaitVerified(3);
                });
            case ExceptionRows.Socket:
                List<FileDescriptor> sockets = [.. ((ushort[])[0x0800, 0x86dd]).Select(SocketOf)];
                Thread.Sleep(product is null ? 0 : 300); // it is noticed within 200 ms
                return new Undo(() =>
                {
                    sockets.ForEach(s => s.Dispose());
                    Thread.Sleep(product is null ? 0 : 300);
                });
            case ExceptionRows.Full:
                ManyRoutes("add");
                if (product is not null)
                {
                    Wait.Until(
                        () => product.Status().Demotions.Any(d => d.Reason.Contains("nexthop table is full", StringComparison.Ordinal)), TimeSpan.FromSeconds(5), "status says that a table is full");
                }

                return new Undo(() => ManyRoutes("del"));
            default:
                product?.WaitVerified(3);
                return new Undo(() => { });
        }
    }

    /// <summary>Of one protocol, which the kernel serves behind its tc hooks.</summary>
    private FileDescriptor SocketOf(ushort etherType) => Router.Inside(
        () => FileDescriptor.FromCall(Libc.socket(Libc.AF_PACKET, Libc.SOCK_RAW | Libc.SOCK_CLOEXEC, BinaryPrimitives.ReverseEndianness(etherType)), "socket", "AF_PACKET"));

    private void ManyRoutes(string verb) => Router.Run(
        "ip -batch -", input: string.Concat(Enumerable.Range(0, TooMany).Select(i => $"route {verb} 10.{70 + (i >> 8)}.{i & 255}.0/24 via 10.2.0.2 dev r1 mtu {1400 - i}\n")));

    private Dictionary<string, ExceptionOutcome> Exchange(IReadOnlyList<ExceptionRow> rows)
    {
        (string Device, PacketSocket Socket)[] all = [.. s_listened.Select(l => (l.Device, (l.Device == "c0" ? Client : Server).OpenPacketSocket(l.Device, l.EtherType)))];
        try
        {
            all[0].Socket.Send(rows.Select(r => r.Frame(this)), packetsPerSecond: 2_000);
            PacketSocket.WaitQuiet([.. all.Select(a => a.Socket)], quietSeconds: rows.Any(r => r.Way.EndsWith("no-neighbour", StringComparison.Ordinal)) ? 0.6 : 0.25);
            Dictionary<string, ExceptionOutcome> outcomes = rows.ToDictionary(r => r.Name, _ => new ExceptionOutcome([]));
            foreach ((string device, PacketSocket socket) in all)
            {
                foreach (byte[] frame in socket.Take().Select(f => f.Bytes))
                {
                    if (rows.FirstOrDefault(r => IsAbout(frame, r)) is ExceptionRow row && What(frame, row) is string what)
                    {
                        outcomes[row.Name].Frames.Add(($"{device} {what}", TrailerLab.Text(frame)));
                    }
                }
            }

            foreach (ExceptionOutcome o in outcomes.Values)
            {
                // How often a neighbour is asked for is a matter of time.
                List<(string What, string Bytes)> distinct = [.. o.Frames.GroupBy(f => f).SelectMany(g => g.Key.What.EndsWith("packet", StringComparison.Ordinal) ? g : g.Take(1)).Order()];
                o.Frames.Clear();
                o.Frames.AddRange(distinct);
            }

            return outcomes;
        }
        finally
        {
            Array.ForEach(all, a => a.Socket.Dispose());
        }
    }

    /// <summary>The packet itself or a part of it, what quotes it, or a question for the neighbour that it needs.</summary>
    private bool IsAbout(byte[] frame, ExceptionRow row)
    {
        byte[] sent = row.Frame(this);
        return frame.AsSpan().IndexOf(row.Marker) >= 0
            || (IsArp(frame) ? sent[12] == 0x08 && frame.AsSpan(38, 4).SequenceEqual(sent.AsSpan(30, 4))
                : IsSolicitation(frame) ? sent[12] == 0x86 && frame.AsSpan(62, 16).SequenceEqual(sent.AsSpan(38, 16))
                : frame[12] == 0x08 && frame[23] != 1 && BinaryPrimitives.ReadUInt16BigEndian(frame.AsSpan(18)) == row.Id);
    }

    private static string? What(byte[] frame, ExceptionRow row) =>
        IsArp(frame) ? "arp"
        : IsSolicitation(frame) ? "ns"
        : frame[12] == 0x08 && frame[23] == 1 ? string.Create(CultureInfo.InvariantCulture, $"{frame[34]}.{frame[35]}")
        : frame[12] == 0x86 && frame[20] == 58 ? string.Create(CultureInfo.InvariantCulture, $"{frame[54]}.{frame[55]}")
        : "packet";

    private static bool IsArp(byte[] frame) => frame[13] == 0x06;

    private static bool IsSolicitation(byte[] frame) => frame is [_, _, _, _, _, _, _, _, _, _, _, _, 0x86, ..] && frame[20] == 58 && frame[54] == 135;

    private static string Mac(LabNamespace ns, string device) => string.Join(':', ns.MacOf(device).Select(b => b.ToString("x2", CultureInfo.InvariantCulture)));

    private sealed class Undo(Action action) : IDisposable
    {
        public void Dispose() => action();
    }
}
