using FastPathSync.Fpc;
using FastPathSync.Fpc.Protocol;
using FastPathSync.Netlink;
using Wire = FastPathSync.Fpc.Protocol;

namespace FastPathSync.CacheManager.Features.Settings;

/// <summary>
/// Settings that change forwarding and that nobody announces, as the sysctl probe (on its own thread) last saw them. There
/// are none until it has looked: fpmd begins with what is safe.
/// </summary>
public sealed class SettingsFeature(Action wake) : IFeature
{
    private readonly Lock _lock = new();
    private Wire.Settings? _current;
    private bool _changed;

    public ObjectKind Kind => ObjectKind.Settings;

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

    public int Count => Current is null ? 0 : 1;

    /// <summary>Null until the probe has looked.</summary>
    public Wire.Settings? Current
    {
        get
        {
            lock (_lock)
            {
                return _current;
            }
        }
    }

    /// <summary>Any thread; repeating changes nothing. The message is not to be touched afterwards.</summary>
    public void Set(Wire.Settings now)
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
        Wire.Settings? now;
        lock (_lock)
        {
            now = all || _changed ? _current : null;
            _changed = false;
        }

        return now is null || publisher.Send(FpcType.Settings, now);
    }

    public bool PublishDeletes(IPublisher publisher) => true;

    /// <summary>What has changed since it was published stays to be published.</summary>
    public void Settle()
    {
    }
}
