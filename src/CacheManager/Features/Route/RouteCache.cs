using System.Collections;
using FastPathSync.Fpc;
using FastPathSync.Fpc.Protocol;
using FastPathSync.Linux.Collections;
using FastPathSync.Netlink;
using Google.Protobuf;

namespace FastPathSync.CacheManager.Features.Route;

/// <summary>
/// What CachedFeature is for other kinds of object, for millions of routes: identities in a table outside of the heap (20 or 36 bytes a
/// slot), each with the number of its body and two bits. A full dump is compared as it comes, not gathered first.
/// </summary>
public abstract class RouteCache<TKey, TBody> : IFeature, IDisposable
    where TKey : unmanaged, ICompactKey<TKey>
    where TBody : class, IEquatable<TBody>
{
    private const int BatchSize = 4096;

    /// <summary>A list that grew beyond this in one burst is not kept.</summary>
    private const int KeptDirty = 1 << 15;

    /// <summary>The memo is worth its 80 KB from so many routes on.</summary>
    private const int ManyRoutes = 1000;

    /// <summary>In a slot: the body's number, and above it what is to be remembered of the route.</summary>
    private const uint Dirty = 1u << 31, Seen = 1u << 30, Body = Seen - 1;

    private readonly CompactMap<TKey, uint> _routes = new();
    private readonly BodyPool<TBody> _bodies = new();
    private readonly List<int> _columns = [];
    private int[] _columnOf = [];
    private RouteMemo? _memo;

    /// <summary>Each identity once while it is there; if it went and came it stands here again, and is published again.</summary>
    private List<TKey> _dirty = [];
    private int _differences;

    public abstract ObjectKind Kind { get; }

    public abstract IReadOnlyList<int> Groups { get; }

    public abstract IReadOnlyList<ushort> MessageTypes { get; }

    public bool HasChanges => _dirty.Count > 0;

    public Action Urgent { get; set; } = () => { };

    public int Count => _routes.Count;

    protected abstract FpcType BatchType { get; }

    /// <summary>Null while there are few routes.</summary>
    protected RouteMemo? Memo => _memo ??= _routes.Count >= ManyRoutes ? new RouteMemo() : null;

    public abstract EventOutcome Apply(scoped in NetlinkMessage message);

    public int Refresh(NetlinkSocket socket)
    {
        _differences = 0;
        Dump(socket);
        for (int i = 0; i < _routes.Capacity; i++)
        {
            while (_routes.IsUsed(i) && (_routes.Value(i) & Seen) == 0)
            {
                _dirty.Add(_routes.Key(i));
                _routes.RemoveAt(i);
                _differences++;
            }
        }

        Dumped();
        return _differences;
    }

    public bool PublishUpserts(IPublisher publisher, bool all)
    {
        int waiting = 0;
        for (int i = 0; i < (all ? _routes.Capacity : _dirty.Count); i++)
        {
            int slot = all ? i : _routes.Find(_dirty[i]);
            if (slot < 0 || !_routes.IsUsed(slot))
            {
                continue;
            }

            AppendUpsert(_routes.Key(slot), (int)(_routes.Value(slot) & Body));
            if (++waiting == BatchSize && !Flush(publisher, ref waiting))
            {
                return false;
            }
        }

        return Flush(publisher, ref waiting);
    }

    public bool PublishDeletes(IPublisher publisher)
    {
        int waiting = 0;
        foreach (TKey key in _dirty)
        {
            if (_routes.Find(key) < 0)
            {
                AppendDelete(key);
                if (++waiting == BatchSize && !Flush(publisher, ref waiting))
                {
                    return false;
                }
            }
        }

        return Flush(publisher, ref waiting);
    }

    public void Settle()
    {
        foreach (TKey key in _dirty)
        {
            int slot = _routes.Find(key);
            if (slot >= 0)
            {
                _routes.Value(slot) &= ~Dirty;
            }
        }

        if (_dirty.Count > KeptDirty)
        {
            _dirty = [];
        }
        else
        {
            _dirty.Clear();
        }

        _routes.Trim();
        if (_bodies.IsFull)
        {
            BitArray used = new(_bodies.End);
            for (int i = 0; i < _routes.Capacity; i++)
            {
                if (_routes.IsUsed(i))
                {
                    used[(int)(_routes.Value(i) & Body)] = true;
                }
            }

            _bodies.Forget(used);
            _memo?.Forget();
        }
    }

    public void Dispose()
    {
        _routes.Clear(); // not when somebody collects garbage: namespaces come and go
        GC.SuppressFinalize(this);
    }

    /// <summary>Asks the kernel, and calls NoteDumped for each route; DumpBegins before each try.</summary>
    protected abstract void Dump(NetlinkSocket socket);

    /// <summary>The cache is what the kernel said.</summary>
    protected abstract void Dumped();

    protected void DumpBegins()
    {
        for (int i = 0; i < _routes.Capacity; i++)
        {
            _routes.Value(i) &= ~Seen;
        }
    }

    /// <summary>False when the dump has named this identity before.</summary>
    protected bool NoteDumped(in TKey key, int body)
    {
        int slot = _routes.Find(key);
        if (slot >= 0 && (_routes.Value(slot) & Seen) != 0)
        {
            return false;
        }

        _differences += slot >= 0 && Number(slot) == body ? 0 : 1;
        Put(key, body, slot);
        _routes.Value(_routes.Find(key)) |= Seen;
        return true;
    }

    protected abstract void AppendUpsert(in TKey key, int body);

    protected abstract void AppendDelete(in TKey key);

    /// <summary>The batch that was appended to; it is emptied once it is sent.</summary>
    protected abstract IMessage Batch(ulong observedNs);

    protected abstract void EmptyBatch();

    /// <summary>Where a body stands in the batch that is being made.</summary>
    /// <param name="added">It is new there: append it.</param>
    protected uint ColumnOf(int body, out bool added)
    {
        if (body >= _columnOf.Length)
        {
            Array.Resize(ref _columnOf, Math.Max(_bodies.End, 16));
        }

        ref int column = ref _columnOf[body];
        added = column == 0;
        if (added)
        {
            _columns.Add(body);
            column = _columns.Count;
        }

        return (uint)column - 1;
    }

    /// <summary>A number for what it says, good at least until the burst ends.</summary>
    protected int Share(TBody body) => _bodies.Share(body);

    protected TBody BodyOf(int number) => _bodies[number];

    protected bool TryGet(in TKey key, out int body)
    {
        int slot = _routes.Find(key);
        body = slot < 0 ? -1 : Number(slot);
        return slot >= 0;
    }

    protected bool TryGet(in TKey key, [System.Diagnostics.CodeAnalysis.NotNullWhen(true)] out TBody? body)
    {
        int slot = _routes.Find(key);
        body = slot < 0 ? null : _bodies[Number(slot)];
        return slot >= 0;
    }

    protected void Put(in TKey key, TBody body) => Put(key, Share(body));

    protected void Put(in TKey key, int body) => Put(key, body, _routes.Find(key));

    /// <summary>What is published of it has changed, though its value hasn't.</summary>
    protected void Touch(in TKey key)
    {
        int slot = _routes.Find(key);
        if (slot < 0)
        {
            _dirty.Add(key);
        }
        else if ((_routes.Value(slot) & Dirty) == 0)
        {
            _routes.Value(slot) |= Dirty;
            _dirty.Add(key);
        }
    }

    protected bool Remove(in TKey key)
    {
        int slot = _routes.Find(key);
        if (slot < 0)
        {
            return false;
        }

        if ((_routes.Value(slot) & Dirty) == 0)
        {
            _dirty.Add(key);
        }

        _routes.RemoveAt(slot);
        return true;
    }

    /// <summary>Every route whose body becomes another, with what it becomes; null: the route goes. Asked once for each body.</summary>
    protected List<(TKey Key, TBody? After)> Changes(Func<TBody, TBody?> after)
    {
        List<(TKey, TBody?)> changes = [];
        (bool Known, TBody? After)[] known = new (bool, TBody?)[_bodies.End];
        for (int i = 0; i < _routes.Capacity; i++)
        {
            if (!_routes.IsUsed(i))
            {
                continue;
            }

            int number = Number(i);
            TBody body = _bodies[number];
            ref (bool Known, TBody? After) k = ref known[number];
            if (!k.Known)
            {
                k = (true, after(body));
            }

            if (!ReferenceEquals(k.After, body))
            {
                changes.Add((_routes.Key(i), k.After));
            }
        }

        return changes;
    }

    private int Number(int slot) => (int)(_routes.Value(slot) & Body);

    private void Put(in TKey key, int body, int slot)
    {
        if (slot < 0)
        {
            _routes.Add(key, (uint)body | Dirty);
            _dirty.Add(key);
            return;
        }

        ref uint value = ref _routes.Value(slot);
        if ((value & Body) == (uint)body)
        {
            return;
        }

        if ((value & Dirty) == 0)
        {
            _dirty.Add(key);
        }

        value = (value & Seen) | Dirty | (uint)body;
    }

    private bool Flush(IPublisher publisher, ref int waiting)
    {
        if (waiting == 0)
        {
            return true;
        }

        waiting = 0;
        bool sent = publisher.Send(BatchType, Batch(publisher.ObservedNs));
        EmptyBatch();
        foreach (int body in _columns)
        {
            _columnOf[body] = 0;
        }

        _columns.Clear();
        Urgent();
        return sent;
    }
}
