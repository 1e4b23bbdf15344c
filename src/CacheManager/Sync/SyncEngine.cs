using System.Net.Sockets;
using FastPathSync.CacheManager.Features;
using FastPathSync.Fpc;
using FastPathSync.Fpc.Protocol;
using FastPathSync.Linux;
using FastPathSync.Netlink;
using Microsoft.Extensions.Logging;

namespace FastPathSync.CacheManager.Sync;

/// <summary>
/// Keeps fpmd's tables what the kernel says: subscribe, dump, replay; a burst of events at a time; a whole new generation
/// whenever something was lost or not understood, or fpmd is a new one. One thread, which owns all caches.
/// </summary>
public sealed class SyncEngine(FpcEndpoint endpoint, int receiveBuffer, ILoggerFactory logs) : IDisposable
{
    private static readonly TimeSpan s_doubtDelay = TimeSpan.FromMilliseconds(50), s_idleDelay = TimeSpan.FromMilliseconds(10), s_alivePeriod = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan s_firstRetry = TimeSpan.FromMilliseconds(50), s_lastRetry = TimeSpan.FromSeconds(2);

    private static readonly TimeSpan s_lastNoSpaceRetry = TimeSpan.FromMinutes(5);

    private readonly ILogger _log = logs.CreateLogger<SyncEngine>();
    private readonly AutoResetEvent _wake = new(false);
    private readonly IFeature?[] _byType = new IFeature?[128];
    private FeatureSet _features = null!;
    private EventReader _events = null!;
    private NetlinkSocket _dumps = null!;
    private volatile FpcClient? _fpc;
    private string? _resync = "start";
    private ulong _overruns;
    private ulong _unknown;
    private bool _toldIdle;
    private TimeSpan _retry = s_firstRetry;
    private Deadline _connectAt;
    private Deadline _refreshAt;

    /// <summary>Links that flap must not keep us dumping a big table all the time.</summary>
    private TimeSpan _refreshPause;
    private Deadline _idleAt;
    private Deadline _aliveAt;
    private Deadline _noSpaceAt;
    private TimeSpan _noSpaceRetry;
    private volatile bool _stop;
    private volatile bool _resyncAsked;

    /// <summary>Called after each whole synchronization.</summary>
    public Action Synchronized { get; set; } = () => { };

    /// <summary>
    /// fpmd leaves all forwarding to Linux from its first ENOSPC until a whole synchronization fits: so long after it we try
    /// one, and twice as long after each that didn't fit.
    /// </summary>
    public TimeSpan FirstNoSpaceRetry { get; set; } = TimeSpan.FromSeconds(10);

    /// <summary>Any thread: throw everything away that we believe, and ask the kernel again.</summary>
    public void RequestResync()
    {
        _resyncAsked = true;
        _wake.Set();
    }

    public void Stop()
    {
        _stop = true;
        _fpc?.Lose();
        _wake.Set();
    }

    public void Run()
    {
        _features = new FeatureSet(logs, () => _wake.Set());
        NetlinkSocket subscription = new(NetlinkSocket.NETLINK_ROUTE);
        subscription.SetReceiveBuffer(receiveBuffer);
        foreach (IFeature f in _features.InDependence)
        {
            foreach (int group in f.Groups)
            {
                subscription.Join(group);
            }

            f.Urgent = SendUrgent;
            foreach (ushort type in f.MessageTypes)
            {
                _byType[type] = f;
            }
        }

        _events = new EventReader(subscription, () => _wake.Set());
        _dumps = new NetlinkSocket(NetlinkSocket.NETLINK_ROUTE);
        _dumps.TryStrictChecking();
        _connectAt = Deadline.In(TimeSpan.Zero);
        while (!_stop)
        {
            Step();
            _wake.WaitOne(_fpc is null ? Deadline.Soonest(_connectAt) : Deadline.Soonest(_refreshAt, _idleAt, _aliveAt, _noSpaceAt));
        }
    }

    public void Dispose()
    {
        _fpc?.Dispose();
        _features?.Dispose();
        _events?.Dispose();
        _dumps?.Dispose();
        _wake.Dispose();
    }

    private void Step()
    {
        if (_fpc is { IsGone: true })
        {
            _log.LogWarning("fpmd has gone; connecting to {Endpoint} again", endpoint);
            _fpc.Dispose();
            _fpc = null;
            _connectAt = Deadline.In(_retry = s_firstRetry);
        }

        if (_fpc is null && _connectAt.TakeIfDue())
        {
            Connect();
        }

        if (_resyncAsked)
        {
            _resyncAsked = false;
            _resync = "request";
        }

        TakeEvents();
        if (_fpc is null)
        {
            _features.Settle(); // the next connection begins with everything
            return;
        }

        _ = NoteNoSpace();
        if (_noSpaceAt.TakeIfDue())
        {
            _resync ??= "no-space";
        }

        if (_resync is not null)
        {
            SynchronizeAll(_resync);
        }
        else if (_refreshAt.TakeIfDue())
        {
            RefreshRoutes();
        }

        SayIdle();
        SayAlive();
    }

    private void Connect()
    {
        try
        {
            _fpc = new FpcClient(endpoint, _log, () => _wake.Set());
            _retry = s_firstRetry;
            _toldIdle = false;
            _noSpaceAt = default;
            _noSpaceRetry = FirstNoSpaceRetry;
            _resync ??= "reconnect";
        }
        catch (SocketException e)
        {
            _log.LogDebug("connect to {Endpoint}: {Reason}", endpoint, e.Message);
            _connectAt = Deadline.In(_retry);
            _retry = _retry * 2 < s_lastRetry ? _retry * 2 : s_lastRetry;
        }
    }

    /// <summary>False when there was room for everything since the last call.</summary>
    private bool NoteNoSpace()
    {
        bool lacking = _fpc!.TakeNoSpace();
        if (lacking && !_noSpaceAt.IsSet)
        {
            _log.LogWarning("fpmd has no room for everything; trying again in {Seconds} s", _noSpaceRetry.TotalSeconds);
            _noSpaceAt = Deadline.In(_noSpaceRetry);
            _noSpaceRetry = _noSpaceRetry * 2 < s_lastNoSpaceRetry ? _noSpaceRetry * 2 : s_lastNoSpaceRetry;
        }

        return lacking;
    }

    /// <summary>Everything that waits, a chunk at a time, each published before the next.</summary>
    private void TakeEvents()
    {
        do
        {
            if (_events.TakeOverrun())
            {
                _overruns++;
                _resync = "overrun";
                _log.LogWarning("netlink events were lost (ENOBUFS); asking the kernel for everything again");
            }

            EventChunk? chunk = _events.TryTake();
            if (chunk is not null)
            {
                Apply(chunk.Events);
                _features.Cascade.Apply();
                Complete();
                if (_features.Cascade.TakeDoubt() && !_refreshAt.IsSet)
                {
                    _refreshAt = Deadline.In(s_doubtDelay + _refreshPause);
                }
            }

            SendUrgent(); // events may come faster than they end
            Publish(chunk?.ObservedNs ?? 0);
            if (chunk is not null)
            {
                _events.GiveBack(chunk);
            }
        }
        while (_events.HasEvents() && !_stop);
    }

    private void Apply(ReadOnlySpan<byte> events)
    {
        NetlinkMessages messages = new(events);
        while (messages.MoveNext())
        {
            NetlinkMessage m = messages.Current;
            EventOutcome outcome = m.Type < _byType.Length && _byType[m.Type] is IFeature f ? f.Apply(in m) : EventOutcome.Ignored;
            if (outcome == EventOutcome.Malformed)
            {
                Doubt($"netlink message of type {m.Type} not understood");
            }
        }

        if (messages.Malformed)
        {
            Doubt("netlink datagram malformed");
        }
    }

    private void Complete()
    {
        try
        {
            foreach (IFeature f in _features.InDependence)
            {
                f.Complete(_dumps);
            }
        }
        catch (LinuxException e)
        {
            _log.LogDebug("dump interrupted: {Reason}", e.Message);
            Redial();
            _features.Cascade.Doubt();
        }
    }

    private void Doubt(string cause)
    {
        _unknown++;
        _resync = "not-understood";
        _log.LogWarning("{Cause}; asking the kernel for everything again", cause);
    }

    private void Publish(ulong observedNs)
    {
        if (_fpc is null || _resync is not null || !_features.HasChanges)
        {
            return;
        }

        SayBusy();
        _fpc.ObservedNs = observedNs;
        bool sent = _features.Demotions.PublishUpserts(_fpc, all: false);
        foreach (IFeature f in _features.InDependence.Reverse())
        {
            sent = sent && f.PublishDeletes(_fpc);
        }

        foreach (IFeature f in _features.InDependence)
        {
            sent = sent && f.PublishUpserts(_fpc, all: false);
        }

        _features.Settle();
    }

    /// <summary>
    /// A new generation: dump all (events that come meanwhile wait, and are replayed after), send all, sweep the rest.
    /// </summary>
    private void SynchronizeAll(string reason)
    {
        SayBusy();
        try
        {
            foreach (IFeature f in _features.InDependence)
            {
                f.Refresh(_dumps);
            }
        }
        catch (LinuxException e)
        {
            _log.LogWarning("dump failed, trying again: {Reason}", e.Message);
            Redial();
            return;
        }

        _features.StartDetectors();
        _refreshAt = default;
        ulong generation = MonotonicClock.Nanoseconds;
        FpcClient fpc = _fpc!;
        _ = fpc.TakeNoSpace(); // of what was sent before: what follows decides
        fpc.ObservedNs = 0;
        bool sent = fpc.Send(FpcType.BeginSync, new BeginSync { Generation = generation });
        foreach (IFeature f in _features.InDependence)
        {
            sent = sent && f.PublishUpserts(fpc, all: true);
        }

        int errno = sent ? fpc.Ask(FpcType.EndSync, new EndSync { Generation = generation, Reason = reason }) : Errno.ECONNRESET;
        _features.Settle();
        if (errno is not 0 and not Errno.ENOSPC)
        {
            Thread.Sleep(20);
            _wake.Set();
            return; // the connection has gone, or fpmd serves another by now: _resync stays
        }

        _resync = null;
        if (!NoteNoSpace())
        {
            _noSpaceAt = default;
            _noSpaceRetry = FirstNoSpaceRetry;
        }

        _log.LogInformation("synchronized everything: {Reason}, {Routes} routes", reason, _features.Routes.Count);
        Synchronized();
        _wake.Set();
    }

    /// <summary>What the kernel did without saying so.</summary>
    private void RefreshRoutes()
    {
        ulong begin = MonotonicClock.Nanoseconds;
        try
        {
            int differences = _features.Nexthops.Refresh(_dumps) + _features.Routes.Refresh(_dumps);
            _log.LogDebug("asked for routes and nexthops: {Differences} differed", differences);
        }
        catch (LinuxException e)
        {
            _log.LogDebug("dump interrupted: {Reason}", e.Message);
            Redial();
            _refreshAt = Deadline.In(s_doubtDelay);
        }

        _refreshPause = TimeSpan.FromMicroseconds((MonotonicClock.Nanoseconds - begin) / 1000 * 3);
        Publish(0);
    }

    /// <summary>The dump socket may hold the rest of a dump that was given up: a new one does not.</summary>
    private void Redial()
    {
        _dumps.Dispose();
        _dumps = new NetlinkSocket(NetlinkSocket.NETLINK_ROUTE);
        _dumps.TryStrictChecking();
        Thread.Sleep(20);
        _wake.Set();
    }

    private void SayBusy()
    {
        _idleAt = default;
        if (_toldIdle)
        {
            _toldIdle = !_fpc!.Tell(FpcType.SyncState, State(idle: false));
        }
    }

    /// <summary>Quiet for a moment, nothing waiting, everything answered: then, and only then, kernel and tables agree.</summary>
    private void SayIdle()
    {
        bool quiet = _fpc is { IsGone: false, IsSettled: true } && _resync is null && !_refreshAt.IsSet && !_events.HasEvents() && !_features.HasChanges;
        if (!quiet || _toldIdle)
        {
            _idleAt = default;
            return;
        }

        if (!_idleAt.IsSet)
        {
            _idleAt = Deadline.In(s_idleDelay);
        }
        else if (_idleAt.TakeIfDue())
        {
            _toldIdle = _fpc!.Tell(FpcType.SyncState, State(idle: true));
        }
    }

    /// <summary>
    /// What can't wait for the end of a dump or of many batches, which is seconds away: new demotions, and that we live. In
    /// the midst of a synchronization fpmd counts them to its generation; outside of one they are sent again with the next.
    /// </summary>
    private void SendUrgent()
    {
        if (_fpc is not { IsGone: false } fpc)
        {
            return;
        }

        if (_features.Demotions.HasUpserts)
        {
            SayBusy();
            ulong burst = fpc.ObservedNs;
            fpc.ObservedNs = 0; // no event of the burst brought them
            _ = _features.Demotions.PublishUpserts(fpc, all: false);
            fpc.ObservedNs = burst;
        }

        SayAlive();
    }

    /// <summary>Once a second, changed or not: an fpmd that hears nothing leaves everything to Linux.</summary>
    private void SayAlive()
    {
        if (_fpc is { IsGone: false } fpc && (_aliveAt.TakeIfDue() || !_aliveAt.IsSet))
        {
            fpc.Tell(FpcType.SyncState, State(_toldIdle));
            _aliveAt = Deadline.In(s_alivePeriod);
        }
    }

    private SyncState State(bool idle) => new() { Idle = idle, Overruns = _overruns, UnknownMessages = _unknown };
}
