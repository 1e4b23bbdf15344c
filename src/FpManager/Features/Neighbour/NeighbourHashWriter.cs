using FastPathSync.FpManager.Memory;
using FastPathSync.SharedMemory;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FpManager.Features.Neighbour;

/// <summary>Writes the hash by which workers find on-link neighbours (publication rule: NeighbourTable.cs).</summary>
public sealed unsafe class NeighbourHashWriter
{
    private readonly Segment _segment;
    private readonly NeighbourHash _hash;
    private readonly Reclaimer _reclaimer;
    private readonly HashSet<ulong> _reusable = [];
    private int _keys;

    /// <param name="segment">The neighbour segment.</param>
    public NeighbourHashWriter(Segment segment, Reclaimer reclaimer)
    {
        _segment = segment;
        _hash = NeighbourSegment.Hash(segment);
        _reclaimer = reclaimer;
        foreach (ulong i in Used())
        {
            _keys++;
            if (_hash.Bucket(i)->Value == 0)
            {
                Release(i);
            }
        }
    }

    /// <summary>Every key with its adjacency index, for the restart.</summary>
    public IEnumerable<(NeighbourKey Key, int Adjacency)> All()
    {
        foreach (ulong i in Used())
        {
            NeighbourBucket b = Load(i);
            if (b.Value != 0)
            {
                yield return (new NeighbourKey((uint)b.IfIndex, b.Address), (int)b.Value - 1);
            }
        }
    }

    /// <summary>Publishes an adjacency index for a neighbour, -1 for none. False when the hash is too full.</summary>
    public bool TrySet(NeighbourKey key, int adjacency)
    {
        ulong value = (ulong)(adjacency + 1);
        ulong? reusable = null;
        for (ulong n = 0, i = _hash.Home(key.IfIndex, key.Address); n <= _hash.Mask; n++, i++)
        {
            NeighbourBucket* b = _hash.Bucket(i);
            ulong slot = i & _hash.Mask;
            if (b->IfIndex == key.IfIndex && b->Address == key.Address)
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

            if (b->IfIndex == 0)
            {
                if (value == 0)
                {
                    return true; // it was never there
                }

                if (reusable is null)
                {
                    if (_keys >= (long)(_hash.Mask + 1) * 3 / 4)
                    {
                        return false;
                    }

                    _keys++;
                    reusable = slot;
                }

                NeighbourBucket* free = _hash.Bucket(reusable.Value);
                _reusable.Remove(reusable.Value);
                free->Address = key.Address;
                Volatile.Write(ref free->IfIndex, key.IfIndex);
                Volatile.Write(ref free->Value, value);
                return true;
            }
        }

        return false;
    }

    /// <summary>The buckets that have a key.</summary>
    private List<ulong> Used()
    {
        List<ulong> used = [];
        nuint size = (nuint)sizeof(NeighbourBucket);
        foreach ((nuint from, nuint to) in _segment.Touched(0, ((nuint)_hash.Mask + 1) * size))
        {
            // A bucket may lie across the border of two stretches.
            for (ulong i = used.Count > 0 ? Math.Max(from / size, used[^1] + 1) : from / size; i * size < to; i++)
            {
                if (_hash.Bucket(i)->IfIndex != 0)
                {
                    used.Add(i);
                }
            }
        }

        return used;
    }

    private NeighbourBucket Load(ulong i) => *_hash.Bucket(i);

    private void Release(ulong slot) => _reclaimer.Retire(() =>
    {
        if (_hash.Bucket(slot)->Value == 0)
        {
            _reusable.Add(slot);
        }
    });
}
