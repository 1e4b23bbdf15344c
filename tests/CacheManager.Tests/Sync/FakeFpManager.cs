using System.Net.Sockets;
using FastPathSync.Fpc;
using FastPathSync.Fpc.Protocol;
using FastPathSync.Linux;
using Google.Protobuf;

namespace FastPathSync.CacheManager.Tests.Sync;

/// <summary>An FPC server that keeps what it is told in dictionaries, sweeps after a synchronization, and answers at once.</summary>
internal sealed class FakeFpManager : IDisposable
{
    private readonly string _path = Path.Combine(Path.GetTempPath(), $"cm-{Guid.NewGuid():n}.sock");
    private readonly Socket _listener;
    private readonly Lock _lock = new();
    private readonly Dictionary<(ObjectKind Kind, object Key), (object Value, ulong Generation)> _objects = [];
    private readonly List<(ObjectKind Kind, object Value)> _heard = [];
    private readonly List<string> _synchronizations = [];
    private ulong _generation;
    private FpcConnection? _connection;
    private volatile bool _disposed;
    private SyncState _state = new();

    public FakeFpManager()
    {
        _listener = FpcEndpoint.Unix(_path).Listen();
        new Thread(Serve) { IsBackground = true }.Start();
    }

    public FpcEndpoint Endpoint => FpcEndpoint.Unix(_path);

    /// <summary>While false, nothing is answered: the client's window fills.</summary>
    public volatile bool Answering = true;

    /// <summary>While true, there is no room for routes.</summary>
    public volatile bool Full;

    /// <summary>For each batch of routes.</summary>
    public volatile int RouteMilliseconds;

    public volatile bool Synchronizing;

    /// <summary>How often the client said how it is.</summary>
    public volatile int StatesHeard;

    /// <summary>The reasons of all synchronizations that ended.</summary>
    public IReadOnlyList<string> Synchronizations
    {
        get
        {
            lock (_lock)
            {
                return [.. _synchronizations];
            }
        }
    }

    /// <summary>What the last audit said.</summary>
    public EndSync? Audited { get; private set; }

    /// <summary>Loses an object, as if its update had been damaged.</summary>
    public void Lose(ObjectKind kind, Func<object, bool> which)
    {
        lock (_lock)
        {
            _objects.Remove(_objects.First(o => o.Key.Kind == kind && which(o.Value.Value)).Key);
        }
    }

    public SyncState State
    {
        get
        {
            lock (_lock)
            {
                return _state;
            }
        }
    }

    /// <summary>Every change of an object of a kind, in order.</summary>
    public List<T> Heard<T>(ObjectKind kind)
    {
        lock (_lock)
        {
            return [.. _heard.Where(h => h.Kind == kind).Select(h => (T)h.Value)];
        }
    }

    public List<T> All<T>(ObjectKind kind)
    {
        lock (_lock)
        {
            return [.. _objects.Where(o => o.Key.Kind == kind).Select(o => (T)o.Value.Value)];
        }
    }

    public void Disconnect()
    {
        lock (_lock)
        {
            _connection?.Shutdown();
        }
    }

    public void Dispose()
    {
        _disposed = true;
        Disconnect();
        _listener.Dispose();
        File.Delete(_path);
    }

    private void Serve()
    {
        while (!_disposed)
        {
            try
            {
                using FpcConnection c = new(_listener.Accept());
                lock (_lock)
                {
                    _connection = c;
                }

                while (c.TryReceive(out FpcFrame frame))
                {
                    Thread.Sleep(frame.Header.Type == FpcType.Route ? RouteMilliseconds : 0);
                    Apply(frame);
                    if (Answering && (frame.Header.Flags & FpcFlags.ReportWanted) != 0)
                    {
                        c.Send(FpcType.Report, new Report
                        {
                            Sequence = frame.Header.Sequence,
                            Errno = Full && frame.Header.Type == FpcType.Route ? Errno.ENOSPC : 0,
                            Text = "full",
                        });
                    }
                }
            }
            catch (Exception e) when (e is SocketException or ObjectDisposedException)
            {
                // The client has gone, or we have.
            }
        }
    }

    private void Apply(FpcFrame frame)
    {
        lock (_lock)
        {
            switch (frame.Header.Type)
            {
                case FpcType.BeginSync:
                    _generation = frame.Parse(BeginSync.Parser).Generation;
                    Synchronizing = true;
                    break;
                case FpcType.EndSync:
                    EndSync end = frame.Parse(EndSync.Parser);
                    Assert.Equal(_generation, end.Generation);
                    foreach (var stale in _objects.Where(o => o.Value.Generation != _generation).Select(o => o.Key).ToList())
                    {
                        _objects.Remove(stale);
                    }

                    _synchronizations.Add(end.Reason);
                    Audited = end.Reason == "audit" ? end : Audited;
                    Synchronizing = false;
                    break;
                case FpcType.SyncState:
                    _state = frame.Parse(SyncState.Parser);
                    StatesHeard++;
                    break;
                case FpcType.Interface:
                    foreach (var u in frame.Parse(InterfaceBatch.Parser).Updates)
                    {
                        Update(ObjectKind.Interface, u.Upsert?.Ifindex ?? u.Delete.Ifindex, u.Upsert);
                    }

                    break;
                case FpcType.Address:
                    foreach (var u in frame.Parse(AddressBatch.Parser).Updates)
                    {
                        Address a = u.Upsert ?? u.Delete;
                        Update(ObjectKind.Address, (a.Ifindex, a.Local, a.PrefixLength, a.Address_), u.Upsert);
                    }

                    break;
                case FpcType.Route:
                    foreach (var u in Rows(frame.Parse(RouteBatch.Parser)))
                    {
                        Update(ObjectKind.Route, u.Upsert?.Key ?? u.Delete, u.Upsert);
                    }

                    break;
                case FpcType.Route6:
                    foreach (var u in Rows(frame.Parse(Route6Batch.Parser)))
                    {
                        Update(ObjectKind.Route6, u.Upsert?.Key ?? u.Delete, u.Upsert);
                    }

                    break;
                case FpcType.Nexthop:
                    foreach (var u in frame.Parse(NexthopBatch.Parser).Updates)
                    {
                        Update(ObjectKind.Nexthop, u.Upsert?.Id ?? u.Delete.Id, u.Upsert);
                    }

                    break;
                case FpcType.Neighbour:
                    foreach (var u in frame.Parse(NeighbourBatch.Parser).Updates)
                    {
                        Update(ObjectKind.Neighbour, (u.Upsert?.Ifindex ?? u.Delete.Ifindex, u.Upsert?.Destination ?? u.Delete.Destination), u.Upsert);
                    }

                    break;
                case FpcType.Demotion:
                    foreach (var u in frame.Parse(DemotionBatch.Parser).Updates)
                    {
                        Update(ObjectKind.Demotion, u.Upsert?.Object ?? u.Delete.Object, u.Upsert);
                    }

                    break;
            }
        }
    }

    /// <summary>The columns of a batch as single updates, in the order in which they are applied.</summary>
    private static IEnumerable<RouteBatch.Types.Update> Rows(RouteBatch batch)
    {
        IEnumerable<Route> Unfold(RouteColumns? c) => Enumerable.Range(0, c?.PrefixLengths.Length ?? 0).Select(i =>
        {
            Route r = c!.Bodies[(int)c.Body[i]].Clone();
            (r.Key.Destination, r.Key.PrefixLength) = (c.Destinations[i], c.PrefixLengths[i]);
            return r;
        });
        return batch.Updates
            .Concat(Unfold(batch.Deletes).Select(r => new RouteBatch.Types.Update { Delete = r.Key }))
            .Concat(Unfold(batch.Upserts).Select(r => new RouteBatch.Types.Update { Upsert = r }));
    }

    private static IEnumerable<Route6Batch.Types.Update> Rows(Route6Batch batch)
    {
        IEnumerable<Route6> Unfold(Route6Columns? c) => Enumerable.Range(0, c?.PrefixLengths.Length ?? 0).Select(i =>
        {
            Route6 r = c!.Bodies[(int)c.Body[i]].Clone();
            (r.Key.DestinationHigh, r.Key.PrefixLength) = (c.DestinationsHigh[i], c.PrefixLengths[i]);
            r.Key.DestinationLow = c.DestinationsLow.Count == 0 ? 0 : c.DestinationsLow[i];
            return r;
        });
        return batch.Updates
            .Concat(Unfold(batch.Deletes).Select(r => new Route6Batch.Types.Update { Delete = r.Key }))
            .Concat(Unfold(batch.Upserts).Select(r => new Route6Batch.Types.Update { Upsert = r }));
    }

    private void Update(ObjectKind kind, object key, IMessage? value)
    {
        if (value is null)
        {
            _objects.Remove((kind, key));
        }
        else
        {
            _heard.Add((kind, value));
            _objects[(kind, key)] = (value, _generation);
        }
    }
}
