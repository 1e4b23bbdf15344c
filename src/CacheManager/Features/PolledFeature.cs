using FastPathSync.Fpc;
using FastPathSync.Fpc.Protocol;
using FastPathSync.Netlink;
using Google.Protobuf;

namespace FastPathSync.CacheManager.Features;

/// <summary>
/// What the kernel doesn't announce, all in one message, as a probe (on its own thread) last saw it. There is none until it has looked:
/// fpmd begins with what is safe.
/// </summary>
public abstract class PolledFeature<TMessage>(Action wake) : IFeature
    where TMessage : class, IMessage<TMessage>
{
    private readonly Lock _lock = new();
    private TMessage? _current;
    private bool _changed;

    public abstract ObjectKind Kind { get; }

    public IReadOnlyList<int> Groups { get; } = [];

    public IReadOnlyList<ushort> MessageTypes { get; } = [];

    public Action Urgent { get; set; } = () => { };

    public bool HasChanges
    {
        get
        {
            lock (_lock)
            {
                return _changed;
            }
        }
    }

    public int Count => Current is TMessage now ? CountOf(now) : 0;

    /// <summary>Null until the probe has looked.</summary>
    public TMessage? Current
    {
        get
        {
            lock (_lock)
            {
                return _current;
            }
        }
    }

    protected abstract FpcType MessageType { get; }

    /// <summary>Any thread; repeating changes nothing. The message is not to be touched afterwards.</summary>
    public void Set(TMessage now)
    {
        lock (_lock)
        {
            if (now.Equals(_current))
            {
                return;
            }

            _current = now;
            _changed = true;
        }

        wake();
    }

    public EventOutcome Apply(scoped in NetlinkMessage message) => EventOutcome.Ignored;

    /// <summary>The probe looks for itself.</summary>
    public int Refresh(NetlinkSocket socket) => 0;

    public bool PublishUpserts(IPublisher publisher, bool all)
    {
        TMessage? now;
        lock (_lock)
        {
            now = all || _changed ? _current : null;
            _changed = false;
        }

        return now is null || publisher.Send(MessageType, now);
    }

    public bool PublishDeletes(IPublisher publisher) => true;

    /// <summary>What has changed since it was published stays to be published.</summary>
    public void Settle()
    {
    }

    protected abstract int CountOf(TMessage now);
}
