using FastPathSync.Fpc;
using FastPathSync.Fpc.Protocol;
using FastPathSync.Netlink;
using Wire = FastPathSync.Fpc.Protocol;

namespace FastPathSync.CacheManager.Features.Capture;

/// <summary>The packet sockets that want to see what is forwarded, as PacketSocketProbe (on its own thread) last saw them.</summary>
public sealed class CaptureFeature(Action wake) : IFeature
{
    private readonly Lock _lock = new();
    private Captures? _current;
    private bool _changed;

    public ObjectKind Kind => ObjectKind.Capture;

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

    public int Count
    {
        get
        {
            lock (_lock)
            {
                return _current?.Sockets.Count ?? 0;
            }
        }
    }

    /// <summary>Any thread; repeating changes nothing. The message is not to be touched afterwards.</summary>
    public void Set(Captures now)
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
        Captures? now;
        lock (_lock)
        {
            now = all || _changed ? _current : null;
            _changed = false;
        }

        return now is null || publisher.Send(FpcType.Capture, now);
    }

    public bool PublishDeletes(IPublisher publisher) => true;

    /// <summary>What has changed since it was published stays to be published.</summary>
    public void Settle()
    {
    }
}
