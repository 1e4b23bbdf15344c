using System.Net.Sockets;
using FastPathSync.Fpc;
using Microsoft.Extensions.Logging;

namespace FastPathSync.FpManager.Features.Sync;

/// <summary>Accepts cache managers. One is served at a time: a newer connection replaces the older, whose process has died or hangs.</summary>
public sealed class FpcServer(IReadOnlyList<FpcEndpoint> endpoints, ForwardingState state, ILogger log) : IDisposable
{
    private readonly Lock _lock = new();
    private readonly List<Socket> _listeners = [];
    private FpcSession? _session;
    private Thread? _thread;

    /// <summary>Called after each completed synchronization.</summary>
    public Action Synchronized { get; set; } = () => { };

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
        _listeners.ForEach(l => l.Dispose());
        lock (_lock)
        {
            _session?.Shutdown();
        }
    }

    private void Accept(Socket listener)
    {
        try
        {
            while (true)
            {
                Replace(listener.Accept());
            }
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // Dispose.
        }
    }

    private void Replace(Socket peer)
    {
        lock (_lock)
        {
            _session?.Shutdown();
            _thread?.Join();
            _session?.Dispose();
            FpcSession session = _session = new FpcSession(peer, state, log, () => Synchronized());
            _thread = new Thread(session.Run) { IsBackground = true, Name = "fpc session" };
            _thread.Start();
        }
    }
}
