using FastPathSync.FastPath.Control;
using FastPathSync.FastPath.Rpc;
using FastPathSync.Hosting;
using FastPathSync.Linux;
using FastPathSync.NetFpc;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace FastPathSync.FastPath;

/// <summary>The daemon's life: start everything or leave nothing behind; on SIGTERM hand over to Linux, then let go.</summary>
internal sealed class FastPathService(
    FastPathOptions options, DaemonContext context, IHostApplicationLifetime lifetime, ILogger<FastPathService> log) : IHostedService, IDisposable
{
    private FastPathEngine? _engine;
    private ControlLoop? _control;
    private NetFpcServer? _server;

    public Task StartAsync(CancellationToken cancellationToken)
    {
        try
        {
            _engine = new FastPathEngine(options, context.Instance, log);
            _engine.Start(cancellationToken);
            context.Supervisor.OnReconnected(_engine.Segments.Keep);
            _control = new ControlLoop(_engine, log, Fail);
            _control.Start();
            _server = new NetFpcServer(context.Instance.NetFpcSocket, new PortService(_engine), new PacketService(_engine), cause => log.LogWarning("netfpc peer disconnected: {Cause}", cause));
        }
        catch (Bpf.BpfException e)
        {
            Close();
            log.LogDebug("libbpf: {Log}", e.Log);
            throw new DaemonStartException(e.ErrorNumber, e.Log.Length == 0 ? $"{e.Message}" : $"{e.Message}: {LastLine(e.Log)}", e);
        }
        catch (Exception e)
        {
            Close();
            throw e switch
            {
                SharedMemory.SegmentException or TimeoutException => new DaemonStartException(Errno.ESTALE, e.Message, e),
                _ => e,
            };
        }

        context.Ready($"forwarding on {_engine.Ports.All.Count} ports with {options.Workers} worker{(options.Workers == 1 ? "" : "s")}");
        return Task.CompletedTask;
    }

    public Task StopAsync(CancellationToken cancellationToken)
    {
        Close();
        return Task.CompletedTask;
    }

    public void Dispose() => Close();

    private static string LastLine(string text) => text.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries).LastOrDefault() ?? "";

    /// <summary>Something that must not fail has: the supervisor starts us again; meanwhile Linux forwards.</summary>
    private void Fail(Exception e)
    {
        log.LogCritical(e, "{Cause}", e.Message);
        Environment.ExitCode = 1;
        lifetime.StopApplication();
    }

    private void Close()
    {
        _server?.Dispose();
        _server = null;
        _control?.Dispose();
        _control = null;
        _engine?.Dispose();
        _engine = null;
        File.Delete(context.Instance.NetFpcSocket);
    }
}
