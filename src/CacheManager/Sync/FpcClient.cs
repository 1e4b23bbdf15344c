using System.Net.Sockets;
using FastPathSync.CacheManager.Features;
using FastPathSync.Fpc;
using FastPathSync.Fpc.Protocol;
using FastPathSync.Linux;
using Google.Protobuf;
using Microsoft.Extensions.Logging;

namespace FastPathSync.CacheManager.Sync;

/// <summary>
/// The connection to fpmd. One thread sends, each message with a report wanted and at most Window of them unanswered;
/// another takes the reports, which come in order.
/// </summary>
public sealed class FpcClient : IPublisher, IDisposable
{
    private const int Window = 64;
    private const uint ProtocolVersion = 1;

    private readonly FpcConnection _connection;
    private readonly ILogger _log;
    private readonly Action _settled;
    private readonly SemaphoreSlim _room = new(Window);
    private readonly ManualResetEventSlim _quiet = new(true);
    private readonly HashSet<string> _told = [];
    private int _outstanding;
    private int _lastErrno;
    private volatile bool _gone;

    /// <param name="endpoint">Where fpmd listens.</param>
    /// <param name="log">For refused updates, each cause once per connection.</param>
    /// <param name="settled">Called when nothing is outstanding any more, or the connection has gone.</param>
    /// <exception cref="SocketException">Nobody listens there.</exception>
    public FpcClient(FpcEndpoint endpoint, ILogger log, Action settled)
    {
        _log = log;
        _settled = settled;
        _connection = new FpcConnection(endpoint.Connect());
        new Thread(TakeReports) { IsBackground = true, Name = "fpc reports" }.Start();
        Send(FpcType.Hello, new Hello { ProtocolVersion = ProtocolVersion, Pid = Environment.ProcessId });
    }

    public bool IsGone => _gone;

    /// <summary>Everything sent has been answered.</summary>
    public bool IsSettled => Volatile.Read(ref _outstanding) == 0;

    public ulong ObservedNs { get; set; }

    public bool Send(FpcType type, IMessage batch)
    {
        _room.Wait();
        if (_gone)
        {
            return false;
        }

        Interlocked.Increment(ref _outstanding);
        _quiet.Reset();
        return Transmit(type, batch, FpcFlags.ReportWanted);
    }

    /// <summary>Tells without wanting to hear of it.</summary>
    public bool Tell(FpcType type, IMessage message) => !_gone && Transmit(type, message, FpcFlags.None);

    /// <summary>Sends, waits until everything is answered, and returns the errno of this one.</summary>
    public int Ask(FpcType type, IMessage message)
    {
        if (!Send(type, message))
        {
            return Errno.ECONNRESET;
        }

        _quiet.Wait();
        return _gone ? Errno.ECONNRESET : Volatile.Read(ref _lastErrno);
    }

    public void Dispose()
    {
        Lose();
        _connection.Dispose();
    }

    private bool Transmit(FpcType type, IMessage message, FpcFlags flags)
    {
        try
        {
            _connection.Send(type, message, flags);
            return true;
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            Lose();
            return false;
        }
    }

    private void TakeReports()
    {
        try
        {
            while (_connection.TryReceive(out FpcFrame frame))
            {
                if (frame.Header.Type != FpcType.Report)
                {
                    throw new FpcProtocolException($"{frame.Header.Type} from a server");
                }

                Take(frame.Parse(Report.Parser));
            }
        }
        catch (FpcProtocolException e)
        {
            _log.LogWarning("fpmd disconnected: {Reason}", e.Message);
        }

        Lose();
    }

    private void Take(Report r)
    {
        Volatile.Write(ref _lastErrno, r.Errno);
        if (r.Errno != 0 && _told.Add(r.Text))
        {
            _log.LogError("fpmd refused an update: {Text} (errno {ErrorNumber})", r.Text, r.Errno);
        }

        if (Interlocked.Decrement(ref _outstanding) == 0)
        {
            _quiet.Set();
            _settled();
        }

        _room.Release();
    }

    private void Lose()
    {
        if (!_gone)
        {
            _gone = true;
            _connection.Shutdown();
            _quiet.Set();
            _room.Release();
            _settled();
        }
    }
}
