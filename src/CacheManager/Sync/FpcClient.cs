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

    /// <summary>A peer that answers nothing for so long is taken for dead: another connection may find a living one.</summary>
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(15);

    private readonly FpcConnection _connection;
    private readonly ILogger _log;
    private readonly Action _settled;
    private readonly object _gate = new();
    private readonly HashSet<string> _told = [];
    private int _outstanding;
    private int _lastErrno;
    private volatile bool _gone;
    private int _noSpace;

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

    /// <summary>fpmd had no room for something (ENOSPC) since the last call.</summary>
    public bool TakeNoSpace() => Interlocked.Exchange(ref _noSpace, 0) != 0;

    public bool Send(FpcType type, IMessage batch)
    {
        if (!WaitFor(Window - 1))
        {
            return false;
        }

        Interlocked.Increment(ref _outstanding);
        return Transmit(type, batch, FpcFlags.ReportWanted);
    }

    /// <summary>Tells without wanting to hear of it.</summary>
    public bool Tell(FpcType type, IMessage message) => !_gone && Transmit(type, message, FpcFlags.None);

    /// <summary>Sends, waits until everything is answered, and returns the errno of this one.</summary>
    public int Ask(FpcType type, IMessage message) =>
        Send(type, message) && WaitFor(0) ? Volatile.Read(ref _lastErrno) : Errno.ECONNRESET;

    /// <summary>Any thread: whoever waits for the peer waits no more.</summary>
    public void Lose()
    {
        lock (_gate)
        {
            if (_gone)
            {
                return;
            }

            _gone = true;
            Monitor.PulseAll(_gate);
        }

        _connection.Shutdown();
        _settled();
    }

    public void Dispose()
    {
        Lose();
        _connection.Dispose();
    }

    /// <summary>Waits until at most this many are unanswered. False when the connection has gone.</summary>
    private bool WaitFor(int unanswered)
    {
        lock (_gate)
        {
            int before = _outstanding;
            while (!_gone && _outstanding > unanswered)
            {
                if (!Monitor.Wait(_gate, s_patience) && _outstanding >= before)
                {
                    _log.LogError("fpmd has answered nothing for {Seconds} s; connecting anew", s_patience.TotalSeconds);
                    Lose();
                }

                before = _outstanding;
            }

            return !_gone;
        }
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
        if (r.Errno == Errno.ENOSPC)
        {
            Volatile.Write(ref _noSpace, 1);
        }

        if (r.Errno != 0 && _told.Add(r.Text))
        {
            _log.LogError("fpmd refused an update: {Text} (errno {ErrorNumber})", r.Text, r.Errno);
        }

        bool settled;
        lock (_gate)
        {
            settled = Interlocked.Decrement(ref _outstanding) == 0;
            Monitor.PulseAll(_gate);
        }

        if (settled)
        {
            _settled();
        }
    }
}
