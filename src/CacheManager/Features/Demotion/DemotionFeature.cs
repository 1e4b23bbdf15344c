using FastPathSync.Fpc;
using FastPathSync.Fpc.Protocol;
using FastPathSync.Netlink;
using Wire = FastPathSync.Fpc.Protocol;

namespace FastPathSync.CacheManager.Features.Demotion;

/// <summary>The demotions that hold now, as the detectors (on their own threads) say, published like any other object.</summary>
public sealed class DemotionFeature(Action wake) : IFeature, IDemotionSink
{
    private readonly Lock _lock = new();
    private readonly Dictionary<string, Wire.Demotion> _current = [];
    private readonly Dictionary<string, Wire.Demotion?> _changes = [];

    public ObjectKind Kind => ObjectKind.Demotion;

    public IReadOnlyList<int> Groups { get; } = [];

    public IReadOnlyList<ushort> MessageTypes { get; } = [];

    /// <summary>Nothing here takes long.</summary>
    public Action Urgent { get; set; } = () => { };

    public bool HasChanges
    {
        get
        {
            lock (_lock)
            {
                return _changes.Count > 0;
            }
        }
    }

    public int Count
    {
        get
        {
            lock (_lock)
            {
                return _current.Count;
            }
        }
    }

    /// <summary>A demotion was raised that is not published yet.</summary>
    public bool HasUpserts
    {
        get
        {
            lock (_lock)
            {
                return _changes.Count > 0 && _changes.Values.Any(d => d is not null);
            }
        }
    }

    public void Raise(string @object, string reason, DemotionEffect effect, uint ifindex, Families families)
    {
        Wire.Demotion d = new() { Object = @object, Reason = reason, Effect = effect, Ifindex = ifindex, Families = (uint)families };
        lock (_lock)
        {
            if (_current.TryGetValue(@object, out Wire.Demotion? known) && known.Equals(d))
            {
                return;
            }

            _current[@object] = d;
            _changes[@object] = d;
        }

        wake();
    }

    public void End(string @object)
    {
        lock (_lock)
        {
            if (!_current.Remove(@object))
            {
                return;
            }

            _changes[@object] = null;
        }

        wake();
    }

    public EventOutcome Apply(scoped in NetlinkMessage message) => EventOutcome.Ignored;

    /// <summary>Detectors look for themselves.</summary>
    public int Refresh(NetlinkSocket socket) => 0;

    public bool PublishUpserts(IPublisher publisher, bool all)
    {
        DemotionBatch batch = new() { ObservedNs = publisher.ObservedNs };
        lock (_lock)
        {
            foreach (Wire.Demotion d in all ? _current.Values : _changes.Values.OfType<Wire.Demotion>())
            {
                batch.Updates.Add(new DemotionBatch.Types.Update { Upsert = d });
                _changes.Remove(d.Object);
            }
        }

        return batch.Updates.Count == 0 || publisher.Send(FpcType.Demotion, batch);
    }

    public bool PublishDeletes(IPublisher publisher)
    {
        DemotionBatch batch = new() { ObservedNs = publisher.ObservedNs };
        lock (_lock)
        {
            foreach (string @object in _changes.Where(c => c.Value is null).Select(c => c.Key).ToList())
            {
                batch.Updates.Add(new DemotionBatch.Types.Update { Delete = new DemotionKey { Object = @object } });
                _changes.Remove(@object);
            }
        }

        return batch.Updates.Count == 0 || publisher.Send(FpcType.Demotion, batch);
    }

    /// <summary>Changes leave the list as they are published: a detector may have raised another meanwhile.</summary>
    public void Settle()
    {
    }
}
