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
public sealed class FpcClient : IDisposable
{
    private const int Window = 64;
    private const uint ProtocolVersion = 1;

    /// <summary>A peer that answers nothing for so long is taken for dead: another connection may find a living one.</summary>
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(15);

    private readonly FpcConnection _connection;
    private readonly ILogger _log;
    private readonly Action _lost;
    private readonly object _gate = new();
    private readonly HashSet<string> _told = [];
    private readonly Queue<FpcChannel> _unanswered = new();
    private int _lastErrno;
    private volatile bool _gone;

    /// <param name="endpoint">Where fpmd listens.</param>
    /// <param name="log">For refused updates, each cause once per connection.</param>
    /// <param name="lost">Called when the connection has gone.</param>
    /// <exception cref="SocketException">Nobody listens there.</exception>
    public FpcClient(FpcEndpoint endpoint, ILogger log, Action lost)
    {
        _log = log;
        _lost = lost;
        _connection = new FpcConnection(endpoint.Connect());
        new Thread(TakeReports) { IsBackground = true, Name = "fpc reports" }.Start();
        Vrfs = new FpcChannel(this, 0, lost);
        Vrfs.Send(FpcType.Hello, new Hello { ProtocolVersion = ProtocolVersion, Pid = Environment.ProcessId });
    }

    public bool IsGone => _gone;

    /// <summary>For what concerns the connection, and VRFs as such.</summary>
    public FpcChannel Vrfs { get; }

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
        _lost();
    }

    public void Dispose()
    {
        Lose();
        _connection.Dispose();
    }

    internal bool Send(FpcChannel channel, FpcType type, IMessage batch)
    {
        if (!WaitFor(Window - 1))
        {
            return false;
        }

        lock (_gate)
        {
            _unanswered.Enqueue(channel);
            channel.Outstanding++;
        }

        return Transmit(channel.Vrf, type, batch, FpcFlags.ReportWanted);
    }

    internal bool Tell(FpcChannel channel, FpcType type, IMessage message) => !_gone && Transmit(channel.Vrf, type, message, FpcFlags.None);

    internal int Ask(FpcChannel channel, FpcType type, IMessage message) =>
        Send(channel, type, message) && WaitFor(0) ? Volatile.Read(ref _lastErrno) : Errno.ECONNRESET;

    /// <summary>Waits until at most this many are unanswered. False when the connection has gone.</summary>
    private bool WaitFor(int unanswered)
    {
        lock (_gate)
        {
            int before = _unanswered.Count;
            while (!_gone && _unanswered.Count > unanswered)
            {
                if (!Monitor.Wait(_gate, s_patience) && _unanswered.Count >= before)
                {
                    _log.LogError("fpmd has answered nothing for {Seconds} s; connecting anew", s_patience.TotalSeconds);
                    Lose();
                }

                before = _unanswered.Count;
            }

            return !_gone;
        }
    }

    private bool Transmit(uint vrf, FpcType type, IMessage message, FpcFlags flags)
    {
        try
        {
            _connection.Send(type, message, flags, vrf);
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
        if (r.Errno is not 0 and not Errno.EAGAIN && _told.Add(r.Text))
        {
            _log.LogError("fpmd refused an update: {Text} (errno {ErrorNumber})", r.Text, r.Errno);
        }

        lock (_gate)
        {
            if (!_unanswered.TryDequeue(out FpcChannel? channel))
            {
                throw new FpcProtocolException("a report that nobody asked for");
            }

            channel.Answered(r.Errno);
            Monitor.PulseAll(_gate);
        }
    }
}

/// <summary>What is said about one VRF on a connection.</summary>
/// <param name="vrf">The VRF's id.</param>
/// <param name="settled">Called when nothing of it is outstanding any more; any thread.</param>
public sealed class FpcChannel(FpcClient client, uint vrf, Action settled) : IPublisher
{
    private int _outstanding;
    private int _noSpace;
    private int _again;

    public uint Vrf => vrf;

    public ulong ObservedNs { get; set; }

    public bool IsGone => client.IsGone;

    /// <summary>Everything sent has been answered.</summary>
    public bool IsSettled => Volatile.Read(ref _outstanding) == 0;

    /// <summary>Changed under the client's gate.</summary>
    internal int Outstanding { get => _outstanding; set => Volatile.Write(ref _outstanding, value); }

    /// <summary>fpmd had no room for something (ENOSPC) since the last call.</summary>
    public bool TakeNoSpace() => Interlocked.Exchange(ref _noSpace, 0) != 0;

    /// <summary>fpmd has made the tables anew (EAGAIN) since the last call: they have to be filled again.</summary>
    public bool TakeAgain() => Interlocked.Exchange(ref _again, 0) != 0;

    public bool Send(FpcType type, IMessage batch) => client.Send(this, type, batch);

    /// <summary>Tells without wanting to hear of it.</summary>
    public bool Tell(FpcType type, IMessage message) => client.Tell(this, type, message);

    /// <summary>Sends, waits until everything is answered, and returns the errno of this one.</summary>
    public int Ask(FpcType type, IMessage message) => client.Ask(this, type, message);

    internal void Answered(int errno)
    {
        if (errno == Errno.ENOSPC)
        {
            Volatile.Write(ref _noSpace, 1);
        }
        else if (errno == Errno.EAGAIN)
        {
            Volatile.Write(ref _again, 1);
        }

        if (--Outstanding == 0)
        {
            settled();
        }
    }
}
