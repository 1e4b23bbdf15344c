using System.Runtime.InteropServices;
using FastPathSync.Linux;

namespace FastPathSync.FastPath.Trace;

/// <summary>One packet in a ring; its frame's first Kept bytes stand behind it.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct TraceRecord
{
    /// <summary>With the frame, a multiple of 16. The lowest bit set: nothing is here, the next record stands at the ring's beginning.</summary>
    public uint Size;
    public uint Length;
    public uint Kept;
    public ushort Port;
    public ushort TxPort;
    public ulong Time;
    public ulong Nexthop;
    public uint Entry;
    public ushort Nodes;
    public byte Verdict;
    public byte Reason;
    public ulong Reserved;
}

/// <summary>Records of packets from one worker to whoever polls: one writer, one reader, no locks. What finds no room is not waited for.</summary>
internal sealed unsafe class TraceRing(string name) : IDisposable
{
    private const uint Bytes = 4 << 20, Skip = 1, Alignment = 16;
    private readonly MemoryMapping _memory = MemoryMapping.Anonymous(Bytes, 0, name);
    private ulong _written;
    private ulong _read;

    /// <summary>By the worker. False: there is no room.</summary>
    /// <param name="record">Kept says how much of the frame is to be kept; Size is set here.</param>
    public bool TryWrite(TraceRecord record, byte* frame)
    {
        record.Size = ((uint)sizeof(TraceRecord) + record.Kept + Alignment - 1) & ~(Alignment - 1);
        ulong at = _written, free = Bytes - (at - Volatile.Read(ref _read));
        uint toEnd = Bytes - (uint)(at % Bytes), skipped = toEnd < record.Size ? toEnd : 0;
        if (free < skipped + record.Size)
        {
            return false;
        }

        if (skipped != 0)
        {
            *(uint*)At(at) = skipped | Skip;
            at += skipped;
        }

        *(TraceRecord*)At(at) = record;
        Buffer.MemoryCopy(frame, At(at) + sizeof(TraceRecord), record.Kept, record.Kept);
        Volatile.Write(ref _written, at + record.Size);
        return true;
    }

    /// <summary>By the reader: the next record, and where its frame is. Null when there is none. It stays until Advance.</summary>
    public TraceRecord* Peek()
    {
        ulong written = Volatile.Read(ref _written);
        if (_read != written && (*(uint*)At(_read) & Skip) != 0)
        {
            Volatile.Write(ref _read, _read + (*(uint*)At(_read) & ~Skip));
        }

        return _read == written ? null : (TraceRecord*)At(_read);
    }

    public void Advance() => Volatile.Write(ref _read, _read + ((TraceRecord*)At(_read))->Size);

    public void Dispose() => _memory.Dispose();

    private byte* At(ulong position) => _memory.Address + (position % Bytes);
}
