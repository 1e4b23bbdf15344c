using System.Runtime.CompilerServices;

namespace FastPathSync.SharedMemory;

/// <summary>
/// A fixed number of records, each behind a sequence word: bit 0 set while the writer is inside, bit 1 set while the
/// record is in use, the rest counts changes. Readers copy and check, so they never block and never see a torn record.
/// </summary>
/// <remarks>Body: {high water u32, in use u32, padding to 64} then sequence words, then records.</remarks>
public readonly unsafe struct RecordTableReader<T>
    where T : unmanaged
{
    private const uint Writing = 1, Used = 2;
    private readonly uint* _counts;
    private readonly uint* _sequence;
    private readonly T* _records;

    public RecordTableReader(byte* body, int capacity)
    {
        _counts = (uint*)body;
        _sequence = (uint*)(body + 64);
        _records = (T*)(body + 64 + RecordTable.SequenceBytes(capacity));
        Capacity = capacity;
    }

    public int Capacity { get; }

    /// <summary>Slots at and above this were never used.</summary>
    public int HighWater => (int)Volatile.Read(ref _counts[0]);

    public int Count => (int)Volatile.Read(ref _counts[1]);

    /// <summary>The record itself, for whoever reads single aligned fields and needs no consistency between them.</summary>
    public T* Unchecked(int slot) => _records + slot;

    /// <summary>False when the slot is free (or its writer died inside).</summary>
    public bool TryRead(int slot, out T value)
    {
        for (int attempt = 0; attempt < 1000; attempt++)
        {
            uint before = Volatile.Read(ref _sequence[slot]);
            if ((before & Used) == 0)
            {
                break;
            }

            if ((before & Writing) == 0)
            {
                T copy = Unsafe.ReadUnaligned<T>(_records + slot);
                Interlocked.MemoryBarrier();
                if (Volatile.Read(ref _sequence[slot]) == before)
                {
                    value = copy;
                    return true;
                }
            }

            Thread.SpinWait(20);
        }

        value = default;
        return false;
    }

    /// <summary>Every record in use, as (slot, copy).</summary>
    public IEnumerable<(int Slot, T Value)> All()
    {
        int n = HighWater;
        for (int i = 0; i < n; i++)
        {
            if (TryRead(i, out T value))
            {
                yield return (i, value);
            }
        }
    }
}

/// <summary>Holding it is the permission to write the table; there is one per segment.</summary>
public sealed unsafe class RecordTableWriter<T>
    where T : unmanaged
{
    private const uint Writing = 1, Used = 2, Step = 4;
    private readonly uint* _counts;
    private readonly uint* _sequence;
    private readonly T* _records;
    private readonly Stack<int> _free = new();

    /// <summary>Attaches to the table as it stands; a record whose writer died inside becomes free.</summary>
    public RecordTableWriter(byte* body, int capacity)
    {
        _counts = (uint*)body;
        _sequence = (uint*)(body + 64);
        _records = (T*)(body + 64 + RecordTable.SequenceBytes(capacity));
        Capacity = capacity;
        Reader = new RecordTableReader<T>(body, capacity);
        uint used = 0;
        for (int i = (int)_counts[0] - 1; i >= 0; i--)
        {
            if ((_sequence[i] & Writing) != 0)
            {
                Volatile.Write(ref _sequence[i], ((_sequence[i] & ~(Writing | Used)) + Step));
                Repaired++;
            }

            if ((_sequence[i] & Used) == 0)
            {
                _free.Push(i);
            }
            else
            {
                used++;
            }
        }

        Volatile.Write(ref _counts[1], used);
    }

    public RecordTableReader<T> Reader { get; }

    public int Capacity { get; }

    /// <summary>Records dropped at attach because their writer had died inside.</summary>
    public int Repaired { get; }

    /// <summary>A free slot, or -1 when the table is full. It becomes visible with the first Write.</summary>
    public int Allocate()
    {
        if (_free.TryPop(out int slot))
        {
            return slot;
        }

        uint high = _counts[0];
        if (high == (uint)Capacity)
        {
            return -1;
        }

        Volatile.Write(ref _counts[0], high + 1);
        return (int)high;
    }

    public void Write(int slot, in T value)
    {
        uint s = _sequence[slot];
        if ((s & Used) == 0)
        {
            Volatile.Write(ref _counts[1], _counts[1] + 1);
        }

        Volatile.Write(ref _sequence[slot], s | Writing);
        Interlocked.MemoryBarrier();
        Unsafe.WriteUnaligned(_records + slot, value);
        Volatile.Write(ref _sequence[slot], ((s & ~Writing) | Used) + Step);
    }

    /// <summary>Gives the slot back. Whoever still follows an index to it must be past a grace period first.</summary>
    public void Free(int slot)
    {
        uint s = _sequence[slot];
        if ((s & Used) != 0)
        {
            Volatile.Write(ref _counts[1], _counts[1] - 1);
            Volatile.Write(ref _sequence[slot], (s & ~(Writing | Used)) + Step);
        }

        _free.Push(slot);
    }

    /// <summary>The record as its only writer sees it.</summary>
    public ref T this[int slot] => ref _records[slot];

    public bool IsUsed(int slot) => slot < _counts[0] && (_sequence[slot] & Used) != 0;
}

/// <summary>The size arithmetic that reader and writer share.</summary>
public static unsafe class RecordTable
{
    public static nuint SequenceBytes(int capacity) => (nuint)((((long)capacity * 4) + 63) / 64 * 64);

    public static nuint BytesFor<T>(int capacity)
        where T : unmanaged => 64 + SequenceBytes(capacity) + ((nuint)capacity * (nuint)sizeof(T));
}
