using FastPathSync.FpManager.Memory;
using FastPathSync.SharedMemory;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FpManager.Features.Neighbour;

/// <summary>Writes the hash by which workers find on-link neighbours (publication rule: NeighbourTable.cs).</summary>
public sealed unsafe class NeighbourHashWriter
{
    private readonly NeighbourHash _hash;
    private readonly Reclaimer _reclaimer;
    private readonly HashSet<ulong> _reusable = [];
    private int _keys;

    public NeighbourHashWriter(NeighbourHash hash, Reclaimer reclaimer)
    {
        _hash = hash;
        _reclaimer = reclaimer;
        for (ulong i = 0; i <= NeighbourHash.Mask; i++)
        {
            if (_hash.Bucket(i)->Key != 0)
            {
                _keys++;
                if (_hash.Bucket(i)->Value == 0)
                {
                    Release(i);
                }
            }
        }
    }

    /// <summary>Every key with its adjacency index, for the restart.</summary>
    public IEnumerable<(ulong Key, int Adjacency)> All()
    {
        for (ulong i = 0; i <= NeighbourHash.Mask; i++)
        {
            (ulong key, ulong value) = Load(i);
            if (value != 0)
            {
                yield return (key, (int)value - 1);
            }
        }
    }

    /// <summary>Publishes an adjacency index for a neighbour, -1 for none. False when the hash is too full.</summary>
    public bool TrySet(uint ifindex, uint address, int adjacency)
    {
        ulong key = NeighbourHash.Key(ifindex, address), value = (ulong)(adjacency + 1);
        ulong? reusable = null;
        for (ulong n = 0, i = NeighbourHash.Home(key); n <= NeighbourHash.Mask; n++, i++)
        {
            NeighbourBucket* b = _hash.Bucket(i);
            ulong slot = i & NeighbourHash.Mask;
            if (b->Key == key)
            {
                _reusable.Remove(slot);
                Volatile.Write(ref b->Value, value);
                if (value == 0)
                {
                    Release(slot);
                }

                return true;
            }

            if (reusable is null && _reusable.Contains(slot))
            {
                reusable = slot;
            }

            if (b->Key == 0)
            {
                if (value == 0)
                {
                    return true; // it was never there
                }

                if (reusable is null)
                {
                    if (_keys >= (Capacities.NeighbourBuckets * 3L / 4))
                    {
                        return false;
                    }

                    _keys++;
                    reusable = slot;
                }

                NeighbourBucket* free = _hash.Bucket(reusable.Value);
                _reusable.Remove(reusable.Value);
                Volatile.Write(ref free->Key, key);
                Volatile.Write(ref free->Value, value);
                return true;
            }
        }

        return false;
    }

    private (ulong Key, ulong Value) Load(ulong i) => (_hash.Bucket(i)->Key, _hash.Bucket(i)->Value);

    private void Release(ulong slot) => _reclaimer.Retire(() =>
    {
        if (_hash.Bucket(slot)->Value == 0)
        {
            _reusable.Add(slot);
        }
    });
}
