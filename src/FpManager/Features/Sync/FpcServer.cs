using System.Net.Sockets;
using FastPathSync.Fpc;
using FastPathSync.FpManager.Features.Vrf;
using Microsoft.Extensions.Logging;

namespace FastPathSync.FpManager.Features.Sync;

/// <summary>
/// Accepts cache managers. One is served at a time: who says a valid HELLO replaces the one before, whose process has died
/// or hangs. Whoever says anything else changes nothing.
/// </summary>
public sealed class FpcServer(IReadOnlyList<FpcEndpoint> endpoints, VrfRegistry vrfs, ILogger log) : IDisposable
{
    private readonly Lock _lock = new();
    private readonly List<Socket> _listeners = [];
    private FpcSession? _served;
    private Thread? _serving;
    private volatile bool _disposed;

    public void Start()
    {
        foreach (FpcEndpoint e in endpoints)
        {
            Socket listener = e.Listen();
            _listeners.Add(listener);
            new Thread(() => Accept(listener)) { IsBackground = true, Name = $"fpc {e}" }.Start();
        }
    }

    public void Dispose()
    {
        _disposed = true;
        _listeners.ForEach(l => l.Dispose());
        lock (_lock)
        {
            _served?.Shutdown();
        }
    }

    private void Accept(Socket listener)
    {
        while (!_disposed)
        {
            try
            {
                Socket peer = listener.Accept();
                new Thread(() => Serve(peer)) { IsBackground = true, Name = "fpc session" }.Start();
            }
            catch (Exception e) when (e is SocketException or ObjectDisposedException)
            {
                if (!_disposed)
                {
                    log.LogWarning("FPC: accept failed: {Reason}", e.Message);
                    Thread.Sleep(100); // no descriptors left, say: others may give some back
                }
            }
        }
    }

    private void Serve(Socket peer)
    {
        using FpcSession session = new(peer, vrfs, log, Replace);
        session.Run();
    }

    /// <summary>On the new session's thread, before it applies anything: the one before has ended when this returns.</summary>
    private void Replace(FpcSession session)
    {
        lock (_lock)
        {
            _served?.Shutdown();
            _serving?.Join();
            _served = session;
            _serving = Thread.CurrentThread;
        }
    }
}
