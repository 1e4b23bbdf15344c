using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace FastPathSync.Linux.Collections;

/// <summary>A key of a CompactMap.</summary>
public interface ICompactKey<T> : IEquatable<T>
{
    /// <summary>Its upper bits say where a key's run begins. Two maps of which one is filled in the other's order need different ones.</summary>
    uint Hash { get; }

    /// <summary>False for the key that is all zeros, which no map can hold.</summary>
    bool IsUsed { get; }
}

/// <summary>
/// A hash table for millions of small entries: keys and values side by side in one array outside of the heap, open addressing with
/// linear probing, no tombstones. A garbage collection doesn't see it, and what it outgrows is given back at once.
/// </summary>
/// <remarks>A slot's number is good until the next Add, Remove or Trim.</remarks>
public sealed unsafe class CompactMap<TKey, TValue>
    where TKey : unmanaged, ICompactKey<TKey>
    where TValue : unmanaged
{
    private const int Smallest = 16;

    /// <summary>Smaller ones double, larger ones grow by a third.</summary>
    private const int Large = 1 << 16;

    /// <summary>Above this the C heap would keep what is freed.</summary>
    private const nuint LargestOnHeap = 64 << 10;

    private Slot* _slots;
    private MemoryMapping? _mapping;

    ~CompactMap() => Free();

    [StructLayout(LayoutKind.Sequential)]
    private struct Slot
    {
        public TKey Key;
        public TValue Value;
    }

    public int Count { get; private set; }

    /// <summary>Slots are numbered from 0 to below this.</summary>
    public int Capacity { get; private set; }

    public nuint Bytes => (nuint)Capacity * (nuint)sizeof(Slot);

    public bool IsUsed(int slot) => _slots[slot].Key.IsUsed;

    public ref readonly TKey Key(int slot) => ref _slots[slot].Key;

    public ref TValue Value(int slot) => ref _slots[slot].Value;

    /// <returns>The slot, or -1.</returns>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public int Find(in TKey key)
    {
        if (Count == 0)
        {
            return -1;
        }

        for (int i = Home(in key); ; i = After(i))
        {
            ref Slot s = ref _slots[i];
            if (!s.Key.IsUsed)
            {
                return -1;
            }

            if (s.Key.Equals(key))
            {
                return i;
            }
        }
    }

    /// <summary>Puts a key that isn't there.</summary>
    public int Add(in TKey key, TValue value)
    {
        if (Count >= Capacity / 4 * 3)
        {
            Resize(Capacity < Large ? Math.Max(Smallest, Capacity * 2) : Capacity + (Capacity / 3));
        }

        Count++;
        return Place(key, value);
    }

    /// <summary>The slot of a key, made with a value of zeros if it wasn't there.</summary>
    public int FindOrAdd(in TKey key)
    {
        int slot = Find(key);
        return slot >= 0 ? slot : Add(key, default);
    }

    /// <summary>What stood behind moves up, perhaps into this slot.</summary>
    public void RemoveAt(int slot)
    {
        int hole = slot;
        for (int i = After(hole); _slots[i].Key.IsUsed; i = After(i))
        {
            if (Distance(Home(in _slots[i].Key), i) >= Distance(hole, i))
            {
                _slots[hole] = _slots[i];
                hole = i;
            }
        }

        _slots[hole] = default;
        Count--;
    }

    public bool Remove(in TKey key)
    {
        int slot = Find(key);
        if (slot >= 0)
        {
            RemoveAt(slot);
        }

        return slot >= 0;
    }

    /// <summary>Gives memory back when little of it is used. Worth a call now and then.</summary>
    public void Trim()
    {
        if (Capacity > 1024 && Count < Capacity / 8)
        {
            Resize(Math.Max(Smallest, Count * 2));
        }
    }

    /// <summary>Gives all memory back; the finalizer does, too.</summary>
    public void Clear()
    {
        Free();
        Count = 0;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private int Home(in TKey key) => (int)((ulong)key.Hash * (uint)Capacity >> 32);

    private int After(int slot) => slot + 1 == Capacity ? 0 : slot + 1;

    private int Distance(int from, int to) => to >= from ? to - from : to - from + Capacity;

    private int Place(in TKey key, in TValue value)
    {
        int i = Home(in key);
        while (_slots[i].Key.IsUsed)
        {
            i = After(i);
        }

        _slots[i] = new Slot { Key = key, Value = value };
        return i;
    }

    private void Resize(int capacity)
    {
        Slot* old = _slots;
        (int oldCapacity, MemoryMapping? oldMapping) = (Capacity, _mapping);
        nuint bytes = (nuint)capacity * (nuint)sizeof(Slot);
        _mapping = bytes > LargestOnHeap ? MemoryMapping.Anonymous(bytes, 0, "compact map") : null;
        _slots = _mapping is null ? (Slot*)NativeMemory.AllocZeroed(bytes) : (Slot*)_mapping.Address;
        Capacity = capacity;
        for (int i = 0; i < oldCapacity; i++) // ordered by hash, and so is where it goes
        {
            if (old[i].Key.IsUsed)
            {
                Place(old[i].Key, old[i].Value);
            }
        }

        Free(old, oldMapping);
    }

    private void Free()
    {
        Free(_slots, _mapping);
        _slots = null;
        _mapping = null;
        Capacity = 0;
    }

    private static void Free(Slot* slots, MemoryMapping? mapping)
    {
        if (mapping is not null)
        {
            mapping.Dispose();
        }
        else
        {
            NativeMemory.Free(slots);
        }
    }
}
