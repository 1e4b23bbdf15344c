using System.Diagnostics;
using System.Net;
using FastPathSync.CacheManager.Features.Route;
using FastPathSync.CacheManager.Sync;
using FastPathSync.Fpc.Protocol;
using FastPathSync.Linux;
using FastPathSync.Netlink.Rtnetlink;
using Google.Protobuf;
using Microsoft.Extensions.Logging;

namespace FastPathSync.CacheManager.Tests.Sync;

/// <summary>
/// A network namespace with veths r0–c0 (10.1.0.1/24) and r1–c1 (10.2.0.1/24), the real engine in it, and a fake fpmd.
/// What the engine told must be what the kernel says, always and exactly.
/// </summary>
internal sealed class Router : IDisposable
{
    public const int EnoughReceiveBuffer = 16 << 20;
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(10);
    private static int _count;
    private readonly string _name = $"cm-{Environment.ProcessId}-{Interlocked.Increment(ref _count)}";
    private readonly LogLines _log = new();
    private readonly SyncLoop _engine;
    private readonly Thread _thread;
    private readonly RtnetlinkDump _dump;

    public Router(int receiveBuffer = EnoughReceiveBuffer, TimeSpan? noSpaceRetry = null, bool ipv6 = false, TimeSpan audit = default)
    {
        Run("ip", $"netns add {_name}");
        try
        {
            Run("ip", $"netns exec {_name} sysctl -q -w "
                + (ipv6 ? "net.ipv6.conf.all.forwarding=1 net.ipv6.conf.default.accept_dad=0" : "net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1"));
            Ip("link set lo up",
                "link add r0 type veth peer name c0", "link add r1 type veth peer name c1",
                "link set r0 up", "link set c0 up", "link set r1 up", "link set c1 up",
                "addr add 10.1.0.1/24 dev r0", "addr add 10.2.0.1/24 dev r1");
            if (ipv6)
            {
                Ip("addr add 2001:db8:1::1/64 dev r0 nodad", "addr add 2001:db8:2::1/64 dev r1 nodad");
            }

            _dump = RtnetlinkDump.InNamespace(NamespacePath);
            Manager = new FakeFpManager();
            _engine = new SyncLoop(Manager.Endpoint, receiveBuffer, _log) { FirstNoSpaceRetry = noSpaceRetry, AuditPeriod = audit };
            _thread = NetworkNamespace.Run(NamespacePath, () =>
            {
                Thread t = new(_engine.Run) { IsBackground = true };
                t.Start(); // inherits the namespace
                return t;
            });
            Until(() => Manager.Synchronizations.Count == 1, "the first synchronization");
        }
        catch
        {
            Run("ip", $"netns del {_name}");
            throw;
        }
    }

    public FakeFpManager Manager { get; }

    public string NamespacePath => $"/run/netns/{_name}";

    /// <summary>What refreshes after silent kernel changes found that the cascade had not foreseen.</summary>
    public IEnumerable<string> Surprises => _log.Containing("differed").Where(l => !l.Contains(" 0 differed", StringComparison.Ordinal));

    /// <summary>How many refreshes there were.</summary>
    public int Refreshes => _log.Containing("differed").Count;

    public void RequestResync() => _engine.RequestResync();

    public void Ip(params string[] commands) => Run("ip", $"-n {_name} -force -batch -", string.Join('\n', commands) + "\n");

    /// <summary>Commands of which some are meant to fail.</summary>
    public void IpForce(IEnumerable<string> commands) => Run("ip", $"-n {_name} -force -batch -", string.Join('\n', commands) + "\n", mayFail: true);

    public void Sysctl(string setting) => Run("ip", $"netns exec {_name} sysctl -q -w {setting}");

    public Fpc.Protocol.Interface Interface(string name) => Manager.All<Fpc.Protocol.Interface>(ObjectKind.Interface).Single(i => i.Name == name);

    public Fpc.Protocol.Route6? Route6(string prefix, uint metric = 1024)
    {
        IPNetwork n = IPNetwork.Parse(prefix);
        InetAddress.TryRead(n.BaseAddress.GetAddressBytes(), out InetAddress a);
        return Manager.All<Fpc.Protocol.Route6>(ObjectKind.Route6).FirstOrDefault(r => r.Key.DestinationHigh == a.High && r.Key.DestinationLow == a.Low
            && r.Key.PrefixLength == n.PrefixLength && r.Key.Metric == metric && r.Key.Table == RouteConstants.RT_TABLE_MAIN);
    }

    public Fpc.Protocol.Route? Route(string prefix)
    {
        string[] parts = prefix.Split('/');
        uint destination = System.Buffers.Binary.BinaryPrimitives.ReadUInt32BigEndian(System.Net.IPAddress.Parse(parts[0]).GetAddressBytes());
        return Manager.All<Fpc.Protocol.Route>(ObjectKind.Route)
            .FirstOrDefault(r => r.Key.Destination == destination && r.Key.PrefixLength == uint.Parse(parts[1]) && r.Key.Table == RouteConstants.RT_TABLE_MAIN);
    }

    /// <summary>Waits until the engine is idle and its mirror is the kernel's truth, object by object.</summary>
    public void Agree()
    {
        string difference = "";
        Until(() => Manager.State.Idle && (difference = Difference()).Length == 0, () => $"agreement: {difference} (idle {Manager.State.Idle})\n{_log}");
    }

    public void Until(Func<bool> condition, string what) => Until(condition, () => $"{what}\n{_log}");

    public void Dispose()
    {
        _engine.Stop();
        Assert.True(_thread.Join(5000), "the engine did not stop");
        _engine.Dispose();
        Manager.Dispose();
        _dump.Dispose();
        Run("ip", $"netns del {_name}");
    }

    private static void Until(Func<bool> condition, Func<string> what)
    {
        long begin = Stopwatch.GetTimestamp();
        while (!condition())
        {
            Assert.True(Stopwatch.GetElapsedTime(begin) < Patience, $"waited for {what()}");
            Thread.Sleep(5);
        }
    }

    public static void Run(string program, string arguments, string? input = null, bool mayFail = false)
    {
        ProcessStartInfo start = new(program, arguments) { RedirectStandardError = true, RedirectStandardInput = true };
        using Process process = Process.Start(start)!;
        Task<string> error = process.StandardError.ReadToEndAsync();
        process.StandardInput.Write(input);
        process.StandardInput.Close();
        process.WaitForExit();
        Assert.True(mayFail || process.ExitCode == 0, $"{program} {arguments}: {input} {error.Result}");
    }

    /// <summary>"" when equal.</summary>
    private string Difference() =>
        Compare("interface", _dump.Links().Select(l => $"{l.Index} {l.Name} {l.Mtu} {l.Flags:x} {l.Master}"),
            Manager.All<Fpc.Protocol.Interface>(ObjectKind.Interface).Select(i => $"{i.Ifindex} {i.Name} {i.Mtu} {i.Flags:x} {i.Master}"))
        + Compare("address", _dump.Addresses4().Concat(_dump.Addresses6()).Select(a => $"{a.Index} {a.Local}/{a.PrefixLength}"),
            Manager.All<Fpc.Protocol.Address>(ObjectKind.Address).Select(a => $"{a.Ifindex} {Text(a.Local)}/{a.PrefixLength}"))
        + Compare("nexthop", _dump.Nexthops().Select(n => $"{n.Id} {n.Index} {n.Gateway} {n.Flags} {string.Join(",", n.Members.Select(m => $"{m.Id}*{m.Weight}"))}"),
            Manager.All<Fpc.Protocol.Nexthop>(ObjectKind.Nexthop).Select(n => $"{n.Id} {n.Ifindex} {Text(n.Gateway)} {n.Flags} {string.Join(",", n.Members.Select(m => $"{m.Id}*{m.Weight}"))}"))
        + Compare("route", _dump.Routes4().GroupBy(r => RouteKey4.Of(in r)).Select(g => g.First()).Select(Text),
            Manager.All<Fpc.Protocol.Route>(ObjectKind.Route).Select(Text))
        + Compare("route6", Routes6InKernel(), Manager.All<Fpc.Protocol.Route6>(ObjectKind.Route6).Select(Text))
        + Compare("neighbour", _dump.Neighbours4().Concat(_dump.Neighbours6()).Where(n => IsCompared(n.State)).Select(n => $"{n.Index} {n.Destination} {Convert.ToHexString(n.LinkLayerAddress)} {n.State}"),
            Manager.All<Fpc.Protocol.Neighbour>(ObjectKind.Neighbour).Where(n => IsCompared(n.State)).Select(n => $"{n.Ifindex} {Text(n.Destination)} {Convert.ToHexString(n.Lladdr.Span)} {n.State}"));

    /// <summary>Entries for multicast (NOARP) come and go with the packets that the kernel itself sends.</summary>
    private static bool IsCompared(uint state) => (state & NeighbourConstants.NUD_NOARP) == 0;

    /// <summary>What must be published: the first of each identity; of several that are no siblings it must say so.</summary>
    private IEnumerable<string> Routes6InKernel()
    {
        Dictionary<Identity6, bool> told = Manager.All<Fpc.Protocol.Route6>(ObjectKind.Route6).ToDictionary(r => KeyOf(r.Key), r => r.Ambiguous);
        return _dump.Routes6().GroupBy(r => Identity6.Of(in r)).Select(g =>
        {
            RouteMessage first = g.First();
            Features.Route.Route6 r = Features.Route.Route6.Of(in first);
            bool ambiguous = g.Count() > 1 || told.GetValueOrDefault(g.Key); // a dump doesn't always show why
            return $"{Text(g.Key)} type {r.Type} proto {r.Protocol} pref {r.Preference} src {r.PreferredSource} nhid {r.NexthopId} mtu {r.Mtu} f{r.Flags} {string.Join(' ', r.Ways.Select(n => $"{n.Index}:{n.Gateway}*{n.Weight}f{n.Flags}"))} ambiguous {ambiguous}";
        });
    }

    private sealed record Identity6(ulong High, ulong Low, uint Table, uint Metric, SourcePrefix? Source, byte Length)
    {
        public static Identity6 Of(in RouteMessage m) => new(
            m.Destination.High, m.Destination.Low, m.Table, m.Priority,
            m.SourceLength == 0 ? null : new SourcePrefix(m.Source.High, m.Source.Low, m.SourceLength), m.PrefixLength);
    }

    private static Identity6 KeyOf(Fpc.Protocol.Route6Key k) => new(
        k.DestinationHigh, k.DestinationLow, k.Table, k.Metric,
        k.SourceLength == 0 ? null : new SourcePrefix(k.SourceHigh, k.SourceLow, (byte)k.SourceLength), (byte)k.PrefixLength);

    private static string Text(Identity6 k) => $"{k.Table} {InetAddress.FromV6(k.High, k.Low)}/{k.Length} from {k.Source} metric {k.Metric}";

    private static string Text(Fpc.Protocol.Route6 r) =>
        $"{Text(KeyOf(r.Key))} type {r.Type} proto {r.Protocol} pref {r.Preference} src {Text(r.PreferredSource)} nhid {r.NexthopId} mtu {r.Mtu} f{r.Flags} "
        + $"{string.Join(' ', r.Nexthops.Select(n => $"{n.Ifindex}:{Text(n.Gateway)}*{n.Weight}f{n.Flags}"))} ambiguous {r.Ambiguous}";

    private static string Compare(string kind, IEnumerable<string> kernel, IEnumerable<string> mirror)
    {
        HashSet<string> k = [.. kernel], m = [.. mirror];
        return string.Concat(k.Except(m).Select(x => $"\n{kind} only in the kernel: {x}")) + string.Concat(m.Except(k).Select(x => $"\n{kind} only in the mirror: {x}"));
    }

    private static string Text(ByteString address) => InetAddress.TryRead(address.Span, out InetAddress a) ? a.ToString() : "";

    private static string Text(RouteMessage r)
    {
        IEnumerable<string> ways = r.NexthopId != 0 ? [] : Enumerable.Range(0, r.NexthopCount).Select(i => r.Nexthop(i))
            .Select(n => $"{n.Index}:{n.Gateway}*{n.Weight}f{n.Flags}");
        return $"{r.Table} {InetAddress.FromV4(r.Destination.V4)}/{r.PrefixLength} tos {r.Tos} metric {r.Priority} type {r.Type} scope {r.Scope} nhid {r.NexthopId} mtu {r.Mtu} f{r.Flags} {string.Join(' ', ways)}";
    }

    private static string Text(Fpc.Protocol.Route r)
    {
        IEnumerable<string> ways = r.Nexthops.Select(n => $"{n.Ifindex}:{Text(n.Gateway)}*{n.Weight}f{n.Flags}");
        return $"{r.Key.Table} {InetAddress.FromV4(r.Key.Destination)}/{r.Key.PrefixLength} tos {r.Key.Tos} metric {r.Key.Metric} type {r.Type} scope {r.Scope} nhid {r.NexthopId} mtu {r.Mtu} f{r.Flags} {string.Join(' ', ways)}";
    }

    /// <summary>Keeps what was logged.</summary>
    private sealed class LogLines : ILoggerFactory, ILogger
    {
        private readonly List<string> _lines = [];

        public List<string> Containing(string text)
        {
            lock (_lines)
            {
                return [.. _lines.Where(l => l.Contains(text, StringComparison.Ordinal))];
            }
        }

        public override string ToString()
        {
            lock (_lines)
            {
                return string.Join('\n', _lines);
            }
        }

        public ILogger CreateLogger(string categoryName) => this;

        public void AddProvider(ILoggerProvider provider)
        {
        }

        public void Dispose()
        {
        }

        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
        {
            lock (_lines)
            {
                _lines.Add($"{logLevel}: {formatter(state, exception)} {exception}");
            }
        }
    }
}
