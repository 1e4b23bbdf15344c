using System.Net.Sockets;
using FastPathSync.Fpc;
using FastPathSync.Fpc.Protocol;
using FastPathSync.Linux;
using Microsoft.Extensions.Logging;

namespace FastPathSync.CacheManager.Sync;

/// <summary>Which VRFs are mirrored beside the home VRF.</summary>
/// <param name="Ports">Names of those with ports.</param>
/// <param name="Others">Names of further ones.</param>
/// <param name="All">Every named namespace.</param>
public sealed record VrfSelection(IReadOnlySet<string> Ports, IReadOnlySet<string> Others, bool All)
{
    public static readonly VrfSelection HomeOnly = new(new HashSet<string>(), new HashSet<string>(), false);

    public bool IsHomeOnly => !All && Ports.Count + Others.Count == 0;

    /// <summary>A namespace called "default" could not be told from a home VRF without a name.</summary>
    public bool Concerns(string name) => name != NetworkNamespace.Unnamed && (All || Ports.Contains(name) || Others.Contains(name));
}

/// <summary>
/// The one thread that steps the engines of all VRFs: those with ports first. It keeps the connection to fpmd, and makes and
/// ends engines as namespaces come and go.
/// </summary>
public sealed class SyncLoop(FpcEndpoint endpoint, int receiveBuffer, ILoggerFactory logs, VrfSelection? selection = null) : IDisposable
{
    /// <summary>Of a VRF without ports: overrun it, and it is asked again, which disturbs nobody.</summary>
    private const int ModestReceiveBuffer = 1 << 20;

    private static readonly TimeSpan s_firstRetry = TimeSpan.FromMilliseconds(50), s_lastRetry = TimeSpan.FromSeconds(2);

    private readonly VrfSelection _selection = selection ?? VrfSelection.HomeOnly;
    private readonly ILogger _log = logs.CreateLogger<SyncLoop>();
    private readonly AutoResetEvent _wake = new(false);
    private readonly List<SyncEngine> _forwarding = [];
    private readonly List<SyncEngine> _others = [];
    private EventReader? _reader;
    private NamespaceWatch? _namespaces;
    private IReadOnlyDictionary<string, ulong> _followed = new Dictionary<string, ulong>();
    private volatile FpcClient? _fpc;
    private Deadline _connectAt;
    private TimeSpan _retry = s_firstRetry;
    private uint _lastId;
    private int _turn;
    private bool _toldSynchronized;
    private volatile bool _stop;
    private volatile bool _resyncAsked;

    /// <summary>Called once every VRF with ports that is there was wholly synchronized.</summary>
    public Action Synchronized { get; set; } = () => { };

    /// <summary>See SyncEngine; for engines made after it was set.</summary>
    public TimeSpan? FirstNoSpaceRetry { get; set; }

    /// <summary>Zero: no audits.</summary>
    public TimeSpan AuditPeriod { get; set; }

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
        _reader = new EventReader();
        VrfNamespace home = VrfNamespace.Home();
        AddEngine(home);
        if (!_selection.IsHomeOnly)
        {
            _namespaces = new NamespaceWatch(_selection.Concerns, home.Inode, () => _wake.Set());
            Follow();
        }

        _connectAt = Deadline.In(TimeSpan.Zero);
        while (!_stop)
        {
            int wait = Step();
            if (wait != 0)
            {
                _wake.WaitOne(wait);
            }
        }
    }

    public void Dispose()
    {
        _namespaces?.Dispose();
        foreach (SyncEngine e in _forwarding.Concat(_others))
        {
            e.Dispose();
            e.Vrf.Dispose();
        }

        _fpc?.Dispose();
        _reader?.Dispose();
        _wake.Dispose();
    }

    /// <returns>Milliseconds until there is something to do, -1: when woken.</returns>
    private int Step()
    {
        FollowConnection();
        if (_namespaces is not null && !ReferenceEquals(_namespaces.Now, _followed))
        {
            Follow();
        }

        if (_resyncAsked)
        {
            _resyncAsked = false;
            foreach (SyncEngine e in _forwarding.Concat(_others))
            {
                e.RequestResync();
            }
        }

        foreach (SyncEngine e in _forwarding)
        {
            Step(e);
        }

        // One of the others, then those with ports have their turn again.
        for (int i = 0; i < _others.Count; i++)
        {
            _turn = (_turn + 1) % _others.Count;
            if (_others[_turn].DueIn == 0)
            {
                Step(_others[_turn]);
                break;
            }
        }

        int wait = _fpc is null ? Deadline.Soonest(_connectAt) : -1;
        foreach (SyncEngine e in _forwarding)
        {
            wait = Sooner(wait, e.DueIn);
        }

        foreach (SyncEngine e in _others)
        {
            if (wait == 0)
            {
                break;
            }

            wait = Sooner(wait, e.DueIn);
        }

        return wait;
    }

    private static int Sooner(int a, int b) => a < 0 ? b : b < 0 ? a : Math.Min(a, b);

    private void Step(SyncEngine engine)
    {
        if (engine.DueIn != 0)
        {
            return;
        }

        if (engine.Step() && !_toldSynchronized && _forwarding.TrueForAll(e => e.EverSynchronized))
        {
            _toldSynchronized = true;
            Synchronized();
        }
    }

    private void FollowConnection()
    {
        if (_fpc is { IsGone: true } gone)
        {
            _log.LogWarning("fpmd has gone; connecting to {Endpoint} again", endpoint);
            gone.Dispose();
            UseConnection(null);
            _connectAt = Deadline.In(_retry = s_firstRetry);
        }

        if (_fpc is not null || !_connectAt.TakeIfDue())
        {
            return;
        }

        try
        {
            FpcClient fpc = new(endpoint, _log, () => _wake.Set());
            _retry = s_firstRetry;
            VrfBatch all = new() { Complete = true };
            all.Updates.AddRange(_forwarding.Concat(_others).Where(e => e.Vrf.Id != 0).Select(e => new VrfBatch.Types.Update { Upsert = Announcement(e.Vrf) }));
            fpc.Vrfs.Send(FpcType.Vrf, all);
            UseConnection(fpc);
        }
        catch (SocketException e)
        {
            _log.LogDebug("connect to {Endpoint}: {Reason}", endpoint, e.Message);
            _connectAt = Deadline.In(_retry);
            _retry = _retry * 2 < s_lastRetry ? _retry * 2 : s_lastRetry;
        }
    }

    private void UseConnection(FpcClient? fpc)
    {
        _fpc = fpc;
        foreach (SyncEngine e in _forwarding.Concat(_others))
        {
            e.UseConnection(fpc);
        }
    }

    /// <summary>Ends the engines of namespaces that have gone, and makes those of new ones.</summary>
    private void Follow()
    {
        _followed = _namespaces!.Now;
        VrfBatch batch = new();
        foreach (SyncEngine e in _forwarding.Concat(_others).Where(e => e.Vrf.Id != 0).ToList())
        {
            if (!_followed.TryGetValue(e.Vrf.Name, out ulong inode) || inode != e.Vrf.Inode)
            {
                _log.LogInformation("vrf {Vrf}: its namespace has gone", e.Vrf.Name);
                batch.Updates.Add(new VrfBatch.Types.Update { Delete = new VrfKey { Id = e.Vrf.Id } });
                _forwarding.Remove(e);
                _others.Remove(e);
                e.Dispose();
                e.Vrf.Dispose(); // the last of ours: from here on the kernel may take the namespace down
            }
        }

        HashSet<string> served = [.. _forwarding.Concat(_others).Select(e => e.Vrf.Name)];
        foreach ((string name, ulong inode) in _followed)
        {
            if (!served.Contains(name) && TryMake(name, inode) is SyncEngine made)
            {
                batch.Updates.Add(new VrfBatch.Types.Update { Upsert = Announcement(made.Vrf) });
            }
        }

        if (_fpc is FpcClient fpc && batch.Updates.Count > 0)
        {
            fpc.Vrfs.Send(FpcType.Vrf, batch);
            foreach (SyncEngine e in _forwarding.Concat(_others).Where(e => !e.IsConnected))
            {
                e.UseConnection(fpc);
            }
        }
    }

    private SyncEngine? TryMake(string name, ulong inode)
    {
        FileDescriptor? file = NetworkNamespace.TryOpen(name, out ulong now);
        if (file is null || now != inode)
        {
            file?.Dispose();
            return null; // it has gone again; the watch will say so
        }

        VrfNamespace vrf = new(++_lastId, name, inode, file, _selection.Ports.Contains(name));
        try
        {
            return AddEngine(vrf);
        }
        catch (LinuxException e)
        {
            _log.LogError("vrf {Vrf}: cannot be followed: {Cause}", name, e.Message);
            vrf.Dispose();
            return null;
        }
    }

    private SyncEngine AddEngine(VrfNamespace vrf)
    {
        SyncEngine engine = new(vrf, vrf.HasPorts ? receiveBuffer : Math.Min(receiveBuffer, ModestReceiveBuffer), _reader!, () => _wake.Set(), SendUrgent, logs);
        engine.AuditPeriod = AuditPeriod;
        engine.FirstNoSpaceRetry = FirstNoSpaceRetry ?? engine.FirstNoSpaceRetry;
        (vrf.HasPorts ? _forwarding : _others).Add(engine);
        return engine;
    }

    /// <summary>What can't wait for the end of something long, of all VRFs in which it matters.</summary>
    private void SendUrgent()
    {
        foreach (SyncEngine e in _forwarding)
        {
            e.SendUrgent();
        }
    }

    private static Vrf Announcement(VrfNamespace vrf) => new() { Id = vrf.Id, Name = vrf.Name, NetnsInode = vrf.Inode };
}
