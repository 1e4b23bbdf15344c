using System.Runtime.InteropServices;
using FastPathSync.CacheManager.Sync;
using FastPathSync.Fpc;
using FastPathSync.Hosting;
using FastPathSync.Linux;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace FastPathSync.CacheManager;

/// <summary>What cmgrd can be told.</summary>
public sealed class CacheManagerOptions
{
    /// <summary>"unix:PATH" or "tcp:HOST:PORT"; null: the instance's fpc.sock.</summary>
    public string? Fpc { get; private set; }

    /// <summary>Of the event socket; memory only while events wait. An event of a route costs the kernel about 1 KB.</summary>
    public int ReceiveBuffer { get; private set; } = 256 << 20;

    /// <summary>Seconds between two audits; 0: none.</summary>
    public int Audit { get; private set; } = 300;

    /// <summary>Names of the VRFs with ports.</summary>
    public IReadOnlyList<string> PortVrfs { get; private set; } = [];

    /// <summary>"all", or names: VRFs that are mirrored though they have no ports.</summary>
    public string Vrfs { get; private set; } = "";

    public VrfSelection Selection => new(
        PortVrfs.ToHashSet(),
        Vrfs == "all" ? new HashSet<string>() : Vrfs.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries).ToHashSet(),
        Vrfs == "all");

    public void Declare(OptionTable options) => options
        .List("--port", "[VRF/]IF", "interface that the fast path serves (repeat)", v => PortVrfs = [.. v.Select(p => PortName.Parse(p).Vrf).Where(vrf => vrf.Length > 0)])
        .Text("--vrfs", "all|NAME,...", "further VRFs (named network namespaces) to mirror, though they have no ports (default: none)", v => Vrfs = v)
        .Text("--fpc", "ENDPOINT", "where fpmd listens: unix:PATH or tcp:ADDRESS:PORT (default: the instance's)", v => Fpc = v)
        .Integer("--receive-buffer", "BYTES", "netlink event socket's buffer (default 256 MB)", 4096, 1 << 30, v => ReceiveBuffer = v)
        .Integer("--audit", "SECONDS", "compare everything with the kernel and with fpmd so often, and repair (default 300, 0: never)", 0, 1 << 30, v => Audit = v);
}

/// <summary>cmgrd: runs the engine on a thread of its own. SIGHUP asks the kernel for everything again.</summary>
public sealed class CacheManagerService(DaemonContext daemon, CacheManagerOptions options, ILoggerFactory logs) : BackgroundService
{
    protected override Task ExecuteAsync(CancellationToken stoppingToken) =>
        Task.Factory.StartNew(() => Run(stoppingToken), stoppingToken, TaskCreationOptions.LongRunning, TaskScheduler.Default);

    private void Run(CancellationToken stopping)
    {
        FpcEndpoint endpoint;
        try
        {
            endpoint = options.Fpc is string text ? FpcEndpoint.Parse(text) : FpcEndpoint.Unix(daemon.Instance.FpcSocket);
        }
        catch (FormatException e)
        {
            throw new DaemonStartException(Errno.EINVAL, $"cmgrd: --fpc: {e.Message}", e);
        }

        using SyncLoop engine = new(endpoint, options.ReceiveBuffer, logs, options.Selection)
        {
            Synchronized = () => daemon.Ready("synchronized"),
            AuditPeriod = TimeSpan.FromSeconds(options.Audit),
        };
        using CancellationTokenRegistration stop = stopping.Register(engine.Stop);
        using PosixSignalRegistration hangup = PosixSignalRegistration.Create(PosixSignal.SIGHUP, context =>
        {
            context.Cancel = true;
            engine.RequestResync();
        });
        engine.Run();
    }
}
