using FastPathSync.Fpc;
using FastPathSync.FpManager.Features.Port;
using FastPathSync.FpManager.Features.Sync;
using FastPathSync.FpManager.Features.Vrf;
using FastPathSync.FpManager.Memory;
using FastPathSync.Hosting;
using FastPathSync.Linux;
using FastPathSync.NetFpc;
using FastPathSync.SharedMemory;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace FastPathSync.FpManager;

/// <summary>fpmd: takes up the segments, serves FPC, beats, reclaims, and keeps port MTUs in step.</summary>
public sealed class FpManagerService(DaemonContext daemon, FpManagerOptions options, ILogger<FpManagerService> log) : BackgroundService
{

    protected override Task ExecuteAsync(CancellationToken stoppingToken) =>
        Task.Factory.StartNew(() => Run(stoppingToken), stoppingToken, TaskCreationOptions.LongRunning, TaskScheduler.Default);

    private void Run(CancellationToken stopping)
    {
        SegmentStore store = new(daemon.Instance.SupervisorSocket);
        VrfRegistry vrfs = new(store, options.Ports, new StoredWorkers(store), log, options.TableSizes);
        daemon.Supervisor.OnReconnected(() => vrfs.KeepIn(store));
        if (vrfs.HomeVrf.Segments.Reattached)
        {
            log.LogInformation(
                "took up the tables of an earlier fpmd: {Vrfs} VRFs, {Routes} routes in the home VRF", vrfs.All.Count, vrfs.HomeVrf.State.Routes.Count);
        }

        vrfs.ManagerConnected(false);
        List<FpcEndpoint> endpoints = [FpcEndpoint.Unix(daemon.Instance.FpcSocket)];
        if (options.FpcTcp is string tcp)
        {
            endpoints.Add(ParseTcp(tcp));
        }

        using FpcServer server = new(endpoints, vrfs, log);
        try
        {
            server.Start();
        }
        catch (System.Net.Sockets.SocketException e)
        {
            throw new DaemonStartException(e.NativeErrorCode, $"fpmd: listen on {string.Join(", ", endpoints)}: {e.Message}; choose another --fpc-tcp address");
        }

        daemon.Ready($"listening on {string.Join(", ", endpoints)}");
        using NetFpcClient netFpc = new(daemon.Instance.NetFpcSocket, TimeSpan.FromSeconds(1));
        PortMtuReconciler mtus = new(vrfs, store, netFpc, log);
        for (int n = 0; !stopping.IsCancellationRequested; n++)
        {
            vrfs.Tick();
            if (n % 10 == 0)
            {
                mtus.Poll();
                vrfs.UseHugePages();
            }

            // Often while memory waits for its grace period, else ten times a second.
            stopping.WaitHandle.WaitOne(vrfs.Reclaimer.Pending > 0 ? 5 : 100);
        }
    }

    private static FpcEndpoint ParseTcp(string text)
    {
        try
        {
            return FpcEndpoint.Parse($"tcp:{text}");
        }
        catch (FormatException)
        {
            throw new DaemonStartException(Errno.EINVAL, $"fpmd: --fpc-tcp {text}: write ADDRESS:PORT, for example 127.0.0.1:7600");
        }
    }
}
