using System.Diagnostics;
using FastPathSync.CacheManager.Features.Capture;
using FastPathSync.CacheManager.Features.Demotion;
using FastPathSync.CacheManager.Features.Settings;
using FastPathSync.Fpc.Protocol;
using FastPathSync.Linux;
using FastPathSync.Netlink.Rtnetlink;
using Microsoft.Extensions.Logging.Abstractions;

namespace FastPathSync.CacheManager.Tests.Demotion;

/// <summary>
/// A network namespace of its own with a running DemotionMonitor: interfaces r0 and r1 with their peers, forwarding on.
/// Interfaces are read from the kernel and announced as cmgrd would.
/// </summary>
internal sealed class Watched : IDemotionSink, IDisposable
{
    /// <summary>The whole system must react within 300 ms; detection may take half of it.</summary>
    public static readonly TimeSpan Limit = TimeSpan.FromMilliseconds(150);

    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(3);
    private static int _count;
    private readonly string _name = $"demotion-{Environment.ProcessId}-{Interlocked.Increment(ref _count)}";
    private readonly ITestOutputHelper _output;
    private readonly SettingsFeature _settings = new(() => { });
    private readonly DemotionMonitor _monitor;
    private readonly RtnetlinkDump _dump;
    private readonly Thread _announcer;
    private readonly Lock _lock = new();
    private readonly Dictionary<string, (string Reason, DemotionEffect Effect, uint IfIndex, long At)> _raised = [];
    private readonly Dictionary<string, Families> _families = [];
    private readonly Dictionary<string, long> _ended = [];
    private IReadOnlyCollection<InterfaceInfo> _interfaces = [];
    private volatile bool _stop;
    private long _lastCommand;

    public Watched(ITestOutputHelper output, string? before = null)
    {
        _output = output;
        _monitor = new DemotionMonitor(NullLogger<DemotionMonitor>.Instance, _settings, new CaptureFeature(() => { }));
        Execute("ip", "netns", "add", _name);
        try
        {
            Shell("sysctl -q -w net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0 net.ipv4.ip_forward=1; ip link set lo up; "
                + "for i in 0 1; do ip link add r$i type veth peer name p$i; ip link set r$i up; ip link set p$i up; done; " + before);
            _dump = RtnetlinkDump.InNamespace(NamespacePath);
            ReadInterfaces();
            NetworkNamespace.Run(NamespacePath, () =>
            {
                _monitor.Start(this, () => Volatile.Read(ref _interfaces));
                return 0;
            });
        }
        catch
        {
            Execute("ip", "netns", "del", _name);
            throw;
        }

        _announcer = new Thread(() =>
        {
            while (!_stop)
            {
                if (ReadInterfaces())
                {
                    _monitor.InterfacesChanged();
                }

                Thread.Sleep(10);
            }
        });
        _announcer.Start();
    }

    public string NamespacePath => $"/run/netns/{_name}";

    public IReadOnlyCollection<string> Objects
    {
        get
        {
            lock (_lock)
            {
                return [.. _raised.Keys];
            }
        }
    }

    /// <summary>As the probes last told them.</summary>
    public Settings Settings => _settings.Current!;

    public uint IndexOf(string name) => Volatile.Read(ref _interfaces).Single(i => i.Name == name).Index;

    /// <summary>Runs a shell command in the namespace.</summary>
    public void Shell(string command)
    {
        Execute("ip", "netns", "exec", _name, "sh", "-ec", command);
        Mark();
    }

    public TcxProgram AttachTcx(string device, uint attachType)
    {
        uint ifindex = IndexOf(device);
        TcxProgram program = NetworkNamespace.Run(NamespacePath, () => new TcxProgram(ifindex, attachType));
        Mark();
        return program;
    }

    /// <summary>What comes now counts as the last command.</summary>
    public void Mark() => _lastCommand = Stopwatch.GetTimestamp();

    /// <summary>The object is demoted, by the last command, in time.</summary>
    public string Expect(string @object, DemotionEffect effect, string? device = null)
    {
        (string reason, DemotionEffect was, uint ifindex, long at) = WaitFor(() => _raised.TryGetValue(@object, out var r) ? r : default, r => r.Item1 is not null, $"{@object} to be raised");
        Assert.Equal(effect, was);
        Assert.Equal(device is null ? 0 : IndexOf(device), ifindex);
        InTime("raised", @object, at);
        _output.WriteLine($"    {reason}");
        return reason;
    }

    /// <summary>The same, of the whole VRF and for these families only.</summary>
    public void Expect(string @object, DemotionEffect effect, Families families)
    {
        WaitFor(() => _families.GetValueOrDefault(@object), f => f == families, $"{@object} to be raised for {families}");
        Expect(@object, effect);
    }

    /// <summary>It ends by the last command, in time.</summary>
    public void ExpectEnd(string @object)
    {
        long at = WaitFor(() => _raised.ContainsKey(@object) ? 0 : _ended.GetValueOrDefault(@object), t => t != 0, $"{@object} to end");
        InTime("ended", @object, at);
    }

    /// <summary>Nothing is demoted, also not after every probe has looked again.</summary>
    public void ExpectNothing(params string[] but)
    {
        Thread.Sleep(Limit * 2);
        Assert.Empty(Objects.Except(but));
    }

    public void Raise(string @object, string reason, DemotionEffect effect, uint ifindex, Families families)
    {
        lock (_lock)
        {
            _raised[@object] = (reason, effect, ifindex, Stopwatch.GetTimestamp());
            _families[@object] = families;
        }
    }

    public void End(string @object)
    {
        lock (_lock)
        {
            _raised.Remove(@object);
            _families.Remove(@object);
            _ended[@object] = Stopwatch.GetTimestamp();
        }
    }

    public void Dispose()
    {
        _stop = true;
        _announcer.Join();
        _monitor.Dispose();
        _dump.Dispose();
        Execute("ip", "netns", "del", _name);
    }

    private static void Execute(string program, params string[] arguments)
    {
        ProcessStartInfo start = new(program, arguments) { RedirectStandardError = true, RedirectStandardOutput = true };
        using Process process = Process.Start(start)!;
        _ = process.StandardOutput.ReadToEndAsync();
        string error = process.StandardError.ReadToEnd();
        process.WaitForExit();
        Assert.True(process.ExitCode == 0, $"{program} {string.Join(' ', arguments)}: {error}");
    }

    private bool ReadInterfaces()
    {
        Dictionary<int, NetConfMessage> conf = _dump.NetConf4().ToDictionary(c => c.Index);
        uint all = conf.TryGetValue(-1, out NetConfMessage? a) ? (uint)(a.RpFilter ?? 0) : 0;
        List<InterfaceInfo> now = [];
        foreach (LinkMessage l in _dump.Links())
        {
            NetConfMessage? c = conf.GetValueOrDefault(l.Index);
            now.Add(new InterfaceInfo((uint)l.Index, l.Name, l.Kind, l.Flags, (uint)l.Master, c?.Forwarding ?? true, Math.Max(all, (uint)(c?.RpFilter ?? 0)), (uint)l.Link));
        }

        bool changed = !now.SequenceEqual(_interfaces);
        Volatile.Write(ref _interfaces, now);
        return changed;
    }

    private void InTime(string what, string @object, long at)
    {
        // The change came shortly before the command's end; it may be seen before that.
        TimeSpan after = Stopwatch.GetElapsedTime(_lastCommand, at);
        _output.WriteLine($"{@object} {what} {after.TotalMilliseconds:f1} ms after the command ended");
        Assert.True(after < Limit, $"{@object} {what} {after.TotalMilliseconds:f0} ms after the command");
    }

    private T WaitFor<T>(Func<T> read, Func<T, bool> enough, string what)
    {
        long begin = Stopwatch.GetTimestamp();
        while (true)
        {
            lock (_lock)
            {
                T value = read();
                if (enough(value))
                {
                    return value;
                }
            }

            Assert.True(Stopwatch.GetElapsedTime(begin) < Patience, $"waited for {what}; raised are: {string.Join("; ", Objects)}");
            Thread.Sleep(2);
        }
    }
}
