using FastPathSync.FastPath.Capture;
using FastPathSync.Linux;
using FastPathSync.Packets;
using FastPathSync.Packets.Filters;

namespace FastPathSync.FastPath.Trace;

/// <summary>What somebody wants to see of the packets, and what the workers have recorded for him. Made and disposed of by Traces.</summary>
/// <param name="id">By which it is polled.</param>
/// <param name="port">PortId; -1: any.</param>
/// <param name="filter">null: every packet.</param>
/// <param name="verdicts">A bit for each Verdict that counts.</param>
/// <param name="snapLength">So many bytes of a frame are kept.</param>
/// <param name="workers">How many.</param>
internal sealed unsafe class TraceSession(uint id, int port, CompiledFilter? filter, uint verdicts, uint snapLength, int workers) : IDisposable
{
    private const uint ARPHRD_ETHER = 1; // linux/if_arp.h
    private readonly TraceRing[] _rings = [.. Enumerable.Range(0, workers).Select(w => new TraceRing($"trace {id} of worker {w}"))];
    private readonly ulong[] _missed = new ulong[workers];
    private ulong _polled = MonotonicClock.Nanoseconds;

    public uint Id => id;

    /// <summary>Nanoseconds of CLOCK_MONOTONIC when it was last asked for.</summary>
    public ulong Polled => Volatile.Read(ref _polled);

    public IReadOnlyList<TraceRing> Rings => _rings;

    public ulong Missed => _missed.Aggregate(0ul, (sum, n) => sum + n);

    public void Touch() => Volatile.Write(ref _polled, MonotonicClock.Nanoseconds);

    /// <summary>By a worker: before it is known what becomes of the packet.</summary>
    public bool Wants(byte* frame, uint length, int rxPort)
    {
        if (port >= 0 && port != rxPort)
        {
            return false;
        }

        if (filter is null)
        {
            return true;
        }

        if (length < EthernetHeader.Size)
        {
            return false;
        }

        PacketContext c = new()
        {
            Data = frame,
            Length = length,
            NetworkOffset = EthernetHeader.Size,
            Protocol = ((EthernetHeader*)frame)->Type.Value,
            HardwareType = ARPHRD_ETHER,
        };
        return filter.Match(&c) != 0;
    }

    /// <summary>By that worker: what became of it.</summary>
    public void Record(int worker, in TraceRecord record, byte* frame)
    {
        if ((verdicts >> record.Verdict & 1) == 0)
        {
            return;
        }

        if (!_rings[worker].TryWrite(record with { Kept = Math.Min(record.Length, snapLength) }, frame))
        {
            _missed[worker]++;
        }
    }

    /// <summary>By that worker: it had no time to look at so many.</summary>
    public void Miss(int worker, int packets) => _missed[worker] += (uint)packets;

    /// <summary>When no worker knows it any more.</summary>
    public void Dispose()
    {
        foreach (TraceRing r in _rings)
        {
            r.Dispose();
        }

        filter?.Dispose();
    }
}
