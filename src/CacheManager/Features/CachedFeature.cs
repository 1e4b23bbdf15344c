using System.Runtime.InteropServices;
using FastPathSync.Fpc;
using FastPathSync.Fpc.Protocol;
using FastPathSync.Netlink;
using Google.Protobuf;

namespace FastPathSync.CacheManager.Features;

/// <summary>
/// A cache of objects by identity, and the identities that changed in this burst. What is published is what the cache
/// says when the burst ends, so that a burst costs one update per object, and an object's deletion and return can't be
/// reordered.
/// </summary>
public abstract class CachedFeature<TKey, TValue> : IFeature
    where TKey : notnull, IEquatable<TKey>
    where TValue : IEquatable<TValue>
{
    private const int BatchSize = 512;

    /// <summary>A set that grew beyond this in one burst is not kept: clearing it would cost its capacity each time.</summary>
    private const int KeptDirty = 8192;

    private HashSet<TKey> _dirty = [];

    public abstract ObjectKind Kind { get; }

    public abstract IReadOnlyList<int> Groups { get; }

    public abstract IReadOnlyList<ushort> MessageTypes { get; }

    public bool HasChanges => _dirty.Count > 0;

    public Action Urgent { get; set; } = () => { };

    public int Count => Cache.Count;

    public virtual bool ChangesSilently => false;

    protected Dictionary<TKey, TValue> Cache { get; private set; } = [];

    protected abstract FpcType BatchType { get; }

    public abstract EventOutcome Apply(scoped in NetlinkMessage message);

    public virtual void Complete(NetlinkSocket socket)
    {
    }

    public virtual int Refresh(NetlinkSocket socket)
    {
        Dictionary<TKey, TValue> fresh = new(Cache.Count);
        Dump(socket, fresh);
        return Replace(fresh);
    }

    public bool PublishUpserts(IPublisher publisher, bool all)
    {
        int waiting = 0;
        if (all)
        {
            foreach ((TKey key, TValue value) in Cache)
            {
                AppendUpsert(key, in value);
                if (++waiting == BatchSize && !Flush(publisher, ref waiting))
                {
                    return false;
                }
            }
        }
        else
        {
            foreach (TKey key in _dirty)
            {
                ref TValue value = ref CollectionsMarshal.GetValueRefOrNullRef(Cache, key);
                if (System.Runtime.CompilerServices.Unsafe.IsNullRef(ref value))
                {
                    continue;
                }

                AppendUpsert(key, in value);
                if (++waiting == BatchSize && !Flush(publisher, ref waiting))
                {
                    return false;
                }
            }
        }

        return Flush(publisher, ref waiting);
    }

    public bool PublishDeletes(IPublisher publisher)
    {
        int waiting = 0;
        foreach (TKey key in _dirty)
        {
            if (!Cache.ContainsKey(key))
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

    public virtual void Settle()
    {
        if (_dirty.Count > KeptDirty)
        {
            _dirty = [];
        }
        else
        {
            _dirty.Clear();
        }
    }

    /// <summary>Reads what the kernel has into <paramref name="fresh"/>.</summary>
    protected abstract void Dump(NetlinkSocket socket, Dictionary<TKey, TValue> fresh);

    protected abstract void AppendUpsert(TKey key, in TValue value);

    protected abstract void AppendDelete(TKey key);

    /// <summary>The batch that was appended to; it is emptied once it is sent.</summary>
    protected abstract IMessage Batch(ulong observedNs);

    protected abstract void EmptyBatch();

    protected void Put(TKey key, in TValue value)
    {
        ref TValue? known = ref CollectionsMarshal.GetValueRefOrAddDefault(Cache, key, out bool exists);
        if (exists && known!.Equals(value))
        {
            return;
        }

        known = value;
        _dirty.Add(key);
    }

    /// <summary>What is published of it has changed, though its value hasn't.</summary>
    protected void Touch(TKey key) => _dirty.Add(key);

    protected bool Remove(TKey key) => Cache.Remove(key) && _dirty.Add(key);

    /// <summary>
    /// Has an object come and go in the empty cache, told to nobody: the code for that is compiled when it first runs, and
    /// packets may wait for the first object.
    /// </summary>
    protected void Rehearse(TKey key, TValue value)
    {
        Nobody nobody = new();
        Put(key, in value);
        PublishUpserts(nobody, all: false);
        Settle();
        Remove(key);
        PublishDeletes(nobody);
        Settle();
    }

    /// <summary>Takes over a whole new cache and marks what differs.</summary>
    protected int Replace(Dictionary<TKey, TValue> fresh)
    {
        int differences = 0;
        foreach ((TKey key, TValue value) in fresh)
        {
            if (!Cache.TryGetValue(key, out TValue? known) || !known.Equals(value))
            {
                _dirty.Add(key);
                differences++;
            }
        }

        foreach (TKey key in Cache.Keys)
        {
            if (!fresh.ContainsKey(key))
            {
                _dirty.Add(key);
                differences++;
            }
        }

        Cache = fresh;
        return differences;
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
        Urgent();
        return sent;
    }

    private sealed class Nobody : IPublisher
    {
        public ulong ObservedNs => 0;

        public bool Send(FpcType type, IMessage batch) => batch.ToByteArray().Length > 0;
    }
}
