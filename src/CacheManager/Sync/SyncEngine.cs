using FastPathSync.CacheManager.Features;
using FastPathSync.Fpc;
using FastPathSync.Fpc.Protocol;
using FastPathSync.Linux;
using FastPathSync.Netlink;
using Microsoft.Extensions.Logging;

namespace FastPathSync.CacheManager.Sync;

/// <summary>
/// Keeps fpmd's tables of one VRF what the kernel says: subscribe, dump, replay; a burst of events at a time; a whole new
/// generation whenever something was lost or not understood, or fpmd is a new one. It has no thread: SyncLoop steps it, and owns
/// all caches by that.
/// </summary>
public sealed class SyncEngine : IDisposable
{
    private static readonly TimeSpan s_doubtDelay = TimeSpan.FromMilliseconds(50), s_idleDelay = TimeSpan.FromMilliseconds(10), s_alivePeriod = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan s_retry = TimeSpan.FromMilliseconds(20), s_firstSecondLook = TimeSpan.FromSeconds(2), s_lastSecondLook = TimeSpan.FromMinutes(1);

    /// <summary>Of one engine while others wait, nanoseconds.</summary>
    private const ulong LongestTurn = 20_000_000;

    private static readonly TimeSpan s_lastNoSpaceRetry = TimeSpan.FromMinutes(5);

    private readonly VrfNamespace _vrf;
    private readonly Action _wakeLoop;
    private readonly ILogger _log;
    private readonly IFeature?[] _byType = new IFeature?[128];
    private readonly FeatureSet _features;
    private readonly EventQueue _events;
    private NetlinkSocket _dumps;
    private FpcChannel? _fpc;
    private string? _resync = "start";
    private ulong _overruns;
    private ulong _unknown;
    private bool _toldIdle;
    private Deadline _retryAt;
    private Deadline _refreshAt;
    private Deadline _secondLookAt;

    /// <summary>Links that flap must not keep us dumping a big table all the time.</summary>
    private TimeSpan _refreshPause;
    private TimeSpan _secondLook = s_firstSecondLook;
    private bool _doubt4;
    private Deadline _idleAt;
    private Deadline _aliveAt;
    private Deadline _pollAt;
    private Deadline _noSpaceAt;
    private Deadline _auditAt;
    private TimeSpan _noSpaceRetry;
    private int _woken = 1;
    private volatile bool _resyncAsked;
    private bool _auditing;

    /// <param name="vrf">Its namespace. The engine opens its sockets in it.</param>
    /// <param name="receiveBuffer">Of the event socket.</param>
    /// <param name="reader">Drains the event socket.</param>
    /// <param name="wake">Called (on any thread) when there is something to do: IsDue has become true.</param>
    /// <param name="urgent">Called between the parts of what may take long.</param>
    public SyncEngine(VrfNamespace vrf, int receiveBuffer, EventReader reader, Action wake, Action urgent, ILoggerFactory logs)
    {
        _vrf = vrf;
        _wakeLoop = wake;
        _log = logs.CreateLogger<SyncEngine>();
        _features = new FeatureSet(logs, Wake, vrf.HasPorts);
        NetlinkSocket subscription;
        (subscription, _dumps) = vrf.Inside(() => (new NetlinkSocket(NetlinkSocket.NETLINK_ROUTE), Dial()));
        subscription.SetReceiveBuffer(receiveBuffer);
        foreach (IFeature f in _features.InDependence)
        {
            foreach (int group in f.Groups)
            {
                subscription.Join(group);
            }

            f.Urgent = urgent;
            foreach (ushort type in f.MessageTypes)
            {
                _byType[type] = f;
            }
        }

        _events = reader.Add(subscription, Wake);
    }

    public VrfNamespace Vrf => _vrf;

    /// <summary>
    /// fpmd leaves all forwarding to Linux from its first ENOSPC until a whole synchronization fits: so long after it we try
    /// one, and twice as long after each that didn't fit.
    /// </summary>
    public TimeSpan FirstNoSpaceRetry { get; set; } = TimeSpan.FromSeconds(1);

    /// <summary>Zero: no audits.</summary>
    public TimeSpan AuditPeriod { get; set; }

    /// <summary>A whole synchronization was completed on some connection.</summary>
    public bool EverSynchronized { get; private set; }

    /// <summary>Milliseconds until there is something to do without a wake-up, -1: never.</summary>
    public int DueIn => Volatile.Read(ref _woken) != 0 ? 0
        : _fpc is null ? -1 : Deadline.Soonest(_refreshAt, _secondLookAt, _idleAt, _aliveAt, _noSpaceAt, _retryAt, _auditAt);

    public bool IsConnected => _fpc is not null;

    /// <summary>Any thread: throw everything away that we believe, and ask the kernel again.</summary>
    public void RequestResync()
    {
        _resyncAsked = true;
        Wake();
    }

    /// <summary>fpmd is there (anew), or has gone: null.</summary>
    public void UseConnection(FpcClient? client)
    {
        _fpc = client is null ? null : new FpcChannel(client, _vrf.Id, Wake);
        _toldIdle = false;
        _noSpaceAt = _idleAt = _aliveAt = _retryAt = _secondLookAt = default;
        _noSpaceRetry = FirstNoSpaceRetry;
        if (client is not null)
        {
            _resync ??= "reconnect";
        }

        Wake();
    }

    public void Dispose()
    {
        _features.Dispose();
        _events.Dispose();
        _dumps.Dispose();
    }

    /// <returns>True when it has just synchronized everything.</returns>
    public bool Step()
    {
        Volatile.Write(ref _woken, 0);
        if (_resyncAsked)
        {
            _resyncAsked = false;
            _resync = "request";
        }

        TakeEvents();
        if (_fpc is null)
        {
            _features.Settle(); // the next connection begins with everything
            return false;
        }

        _ = NoteNoSpace();
        if (_noSpaceAt.TakeIfDue())
        {
            _resync ??= "no-space";
        }

        if (_fpc.TakeAgain())
        {
            _resync ??= "larger-tables";
        }

        bool synchronized = false;
        if (_resync is not null && (!_retryAt.IsSet || _retryAt.TakeIfDue()))
        {
            synchronized = SynchronizeAll(_resync);
        }
        else if (_resync is null && _secondLookAt.TakeIfDue())
        {
            _doubt4 = true;
            RefreshRoutes();
        }
        else if (_resync is null && _refreshAt.TakeIfDue())
        {
            RefreshRoutes();
        }

        AuditIfDue();
        AskForTheUnannounced();
        SayIdle();
        SayAlive();
        return synchronized;
    }

    /// <summary>False when there was room for everything since the last call.</summary>
    private bool NoteNoSpace()
    {
        bool lacking = _fpc!.TakeNoSpace();
        if (lacking && !_noSpaceAt.IsSet)
        {
            _log.LogWarning("{Vrf}fpmd has no room for everything; trying again in {Seconds} s", _vrf.LogPrefix, _noSpaceRetry.TotalSeconds);
            _noSpaceAt = Deadline.In(_noSpaceRetry);
            _noSpaceRetry = _noSpaceRetry * 2 < s_lastNoSpaceRetry ? _noSpaceRetry * 2 : s_lastNoSpaceRetry;
        }

        return lacking;
    }

    /// <summary>Everything that waits, a chunk at a time, each published before the next.</summary>
    private void TakeEvents()
    {
        ulong until = MonotonicClock.Nanoseconds + LongestTurn;
        do
        {
            if (_events.TakeOverrun())
            {
                _overruns++;
                _resync = "overrun";
                _log.LogWarning("{Vrf}netlink events were lost (ENOBUFS); asking the kernel for everything again", _vrf.LogPrefix);
            }

            EventChunk? chunk = _events.TryTake();
            if (chunk is not null)
            {
                Apply(chunk.Events);
                _features.Cascade.Apply();
                Complete();
                TakeDoubts();
            }

            SendUrgent(); // events may come faster than they end
            Publish(chunk?.ObservedNs ?? 0);
            if (chunk is not null)
            {
                EventQueue.GiveBack(chunk);
            }
        }
        while (_events.HasEvents() && MonotonicClock.Nanoseconds < until);

        if (_events.HasEvents())
        {
            Wake();
        }
    }

    private void TakeDoubts()
    {
        (bool ipv4, bool ipv6) = _features.Cascade.TakeDoubts();
        _doubt4 |= ipv4;
        if ((ipv4 || ipv6) && !_refreshAt.IsSet)
        {
            _refreshAt = Deadline.In(s_doubtDelay + _refreshPause);
        }
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
        _log.LogWarning("{Vrf}{Cause}; asking the kernel for everything again", _vrf.LogPrefix, cause);
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
    private bool SynchronizeAll(string reason)
    {
        SayBusy();
        try
        {
            foreach (IFeature f in _features.InDependence)
            {
                f.Refresh(_dumps);
            }

            _features.Routes6.WithdrawExpired();
        }
        catch (LinuxException e)
        {
            _log.LogWarning("{Vrf}dump failed, trying again: {Reason}", _vrf.LogPrefix, e.Message);
            Redial();
            _retryAt = Deadline.In(s_retry);
            return false;
        }

        _features.StartDetectors(_vrf);
        _refreshAt = default;
        LookAgainIfRaced();
        return SendAll(reason, audited: null);
    }

    /// <summary>
    /// When all is quiet: are the cache what the kernel says, and the tables what the cache says? What came about by events that
    /// wait to be read is no fault; what is silently changed by Linux is repaired and not counted.
    /// </summary>
    private void AuditIfDue()
    {
        if (AuditPeriod == TimeSpan.Zero || (_auditAt.IsSet && !_auditAt.TakeIfDue()))
        {
            return;
        }

        bool first = !_auditing;
        _auditing = true;
        bool quiet = _toldIdle && _resync is null && !_events.IsFlooded && !_events.HasEvents();
        _auditAt = Deadline.In(first || quiet ? AuditPeriod : s_alivePeriod);
        if (first || !quiet)
        {
            return;
        }

        try
        {
            (ulong Checked, ulong Repaired) found = default;
            foreach (IFeature f in _features.InDependence)
            {
                int differences = f.Refresh(_dumps);
                found.Checked += (ulong)f.Count;
                found.Repaired += f.ChangesSilently || _events.HasEvents() ? 0 : (ulong)differences;
            }

            _features.Routes6.WithdrawExpired();
            if (found.Repaired > 0)
            {
                _log.LogWarning("{Vrf}audit: {Repaired} of {Checked} objects were not what the kernel says", _vrf.LogPrefix, found.Repaired, found.Checked);
                SayBusy();
            }

            if (!SendAll("audit", found))
            {
                _resync ??= "audit"; // a synchronization was begun and not ended
            }
        }
        catch (LinuxException e)
        {
            _log.LogDebug("{Vrf}audit: dump interrupted: {Reason}", _vrf.LogPrefix, e.Message);
            Redial();
        }
    }

    private bool SendAll(string reason, (ulong Checked, ulong Repaired)? audited)
    {
        ulong generation = MonotonicClock.Nanoseconds;
        FpcChannel fpc = _fpc!;
        _ = fpc.TakeNoSpace(); // of what was sent before: what follows decides
        _ = fpc.TakeAgain();
        fpc.ObservedNs = 0;
        bool sent = fpc.Send(FpcType.BeginSync, new BeginSync { Generation = generation, Audit = audited is not null });
        foreach (IFeature f in _features.InDependence)
        {
            sent = sent && f.PublishUpserts(fpc, all: true);
        }

        EndSync end = new() { Generation = generation, Reason = reason, Checked = audited?.Checked ?? 0, Repaired = audited?.Repaired ?? 0 };
        int errno = sent ? fpc.Ask(FpcType.EndSync, end) : Errno.ECONNRESET;
        _features.Settle();
        if (errno is not 0 and not Errno.ENOSPC)
        {
            _retryAt = Deadline.In(s_retry);
            return false; // the connection has gone, fpmd serves another by now, or it has begun with larger tables: _resync stays
        }

        _resync = null;
        if (!NoteNoSpace())
        {
            _noSpaceAt = default;
            _noSpaceRetry = FirstNoSpaceRetry;
        }

        _log.Log(
            _vrf.HasPorts && audited is null ? LogLevel.Information : LogLevel.Debug, "{Vrf}synchronized everything: {Reason}, {Routes} routes", _vrf.LogPrefix, reason, _features.Routes.Count);
        EverSynchronized = true;
        Wake();
        return true;
    }

    /// <summary>Once a second: what changes by time or by a sysctl that no event tells of.</summary>
    private void AskForTheUnannounced()
    {
        if (!_pollAt.TakeIfDue() && _pollAt.IsSet)
        {
            return;
        }

        _pollAt = Deadline.In(s_alivePeriod);
        try
        {
            _features.Interfaces.PollIpv6(_dumps);
            TakeDoubts();
        }
        catch (LinuxException e)
        {
            _log.LogDebug("dump interrupted: {Reason}", e.Message);
            Redial();
        }

        if (_features.Routes6.IsAnyExpiring() && !_refreshAt.IsSet)
        {
            _refreshAt = Deadline.In(TimeSpan.Zero);
        }

        Publish(0);
    }

    /// <summary>What the kernel did without saying so.</summary>
    private void RefreshRoutes()
    {
        ulong begin = MonotonicClock.Nanoseconds;
        try
        {
            int differences = _features.Nexthops.Refresh(_dumps) + (_doubt4 ? _features.Routes.Refresh(_dumps) : 0) + _features.Routes6.Refresh(_dumps)
                + _features.Rules.Refresh(_dumps);
            _features.Routes6.WithdrawExpired();
            _doubt4 = false;
            _log.LogDebug("asked for routes and nexthops: {Differences} differed", differences);
            LookAgainIfRaced();
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

    /// <summary>
    /// A dump of routes that change meanwhile may leave one out, or tell it twice, without a word (NLM_F_DUMP_INTR isn't for them): it is
    /// compared with another one, later, and less and less often while they go on changing.
    /// </summary>
    private void LookAgainIfRaced()
    {
        if (!_events.HasEvents())
        {
            _secondLook = s_firstSecondLook;
            return;
        }

        _secondLookAt = Deadline.In(_secondLook);
        _secondLook = _secondLook * 2 < s_lastSecondLook ? _secondLook * 2 : s_lastSecondLook;
    }

    /// <summary>The dump socket may hold the rest of a dump that was given up: a new one does not.</summary>
    private void Redial()
    {
        _dumps.Dispose();
        _dumps = _vrf.Inside(Dial);
    }

    private static NetlinkSocket Dial()
    {
        NetlinkSocket socket = new(NetlinkSocket.NETLINK_ROUTE);
        socket.TryStrictChecking();
        return socket;
    }

    private void Wake()
    {
        if (Interlocked.Exchange(ref _woken, 1) == 0)
        {
            _wakeLoop();
        }
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
        bool quiet = _fpc is { IsGone: false, IsSettled: true } && _resync is null && !_refreshAt.IsSet && !_events.IsFlooded && !_events.HasEvents() && !_features.HasChanges;
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
    public void SendUrgent()
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

    /// <summary>Once a second, changed or not: an fpmd that hears nothing of a VRF with ports leaves everything in it to Linux.</summary>
    private void SayAlive()
    {
        if (_vrf.HasPorts && _fpc is { IsGone: false } fpc && (_aliveAt.TakeIfDue() || !_aliveAt.IsSet))
        {
            fpc.Tell(FpcType.SyncState, State(_toldIdle));
            _aliveAt = Deadline.In(s_alivePeriod);
        }
    }

    private SyncState State(bool idle) => new() { Idle = idle, Overruns = _overruns, UnknownMessages = _unknown };
}
