using System.Diagnostics;
using FastPathSync.FastPath.Exceptions;
using FastPathSync.Linux;
using FastPathSync.SharedMemory;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FastPath.Capture;

/// <summary>
/// Shows what a worker forwards in one VRF to the packet sockets there (tcpdump), received and sent. What is punted or passed
/// they see by Linux itself. Used by the worker alone, but for Use.
/// </summary>
internal sealed unsafe class PacketTap : IDisposable
{
    private readonly CarrierQueue _queue;
    private readonly PortTrailers _trailers;
    private readonly MemoryMapping _room;
    private readonly uint _slotBytes;

    /// <summary>Of the packets that somebody wants to see as they came: their frame, and where the copy is.</summary>
    private readonly ulong[] _frames = new ulong[PacketVector.Size];
    private int _copies;
    private PortFilters?[]? _filters;
    private PortFilters?[] _ofBurst = [];

    /// <param name="queue">Its own, through fpn0's egress hook: a frame written to the TAP would be seen there by packet sockets on every interface.</param>
    /// <param name="trailers">Of all ports.</param>
    /// <param name="largestFrame">Bytes.</param>
    public PacketTap(CarrierQueue queue, PortTrailers trailers, uint largestFrame)
    {
        _queue = queue;
        _trailers = trailers;
        _slotBytes = largestFrame;
        _room = MemoryMapping.Anonymous(PacketVector.Size * (nuint)largestFrame, 0, "copies for packet sockets");
    }

    public bool IsOn => Volatile.Read(ref _filters) is not null;

    /// <summary>From any thread: by PortId; null when there is nobody.</summary>
    public void Use(PortFilters?[]? filters) => Volatile.Write(ref _filters, filters);

    /// <summary>Before the pipeline: keeps those packets as they came that somebody wants to see so.</summary>
    public void Before(in PacketVector v, int rxPort)
    {
        _ofBurst = Volatile.Read(ref _filters) ?? [];
        _copies = 0;
        if (rxPort >= _ofBurst.Length || _ofBurst[rxPort] is not PortFilters filters)
        {
            return;
        }

        for (int i = 0; i < v.Count; i++)
        {
            if (v.Length[i] >= 14 && (filters.WantsCopy(v.Data[i], v.Length[i], outgoing: false) || filters.WantsPunt(v.Data[i], v.Length[i])))
            {
                _frames[_copies] = v.Frame[i];
                Buffer.MemoryCopy(v.Data[i], Copy(_copies++), _slotBytes, v.Length[i]);
            }
        }
    }

    /// <summary>After it, and before its packets are sent: shows those that are forwarded, one after the other as received and as sent.</summary>
    public void After(ref PacketVector v, int rxPort, PortCounters* counters, ref TapBudget budget)
    {
        PortFilters? rx = rxPort < _ofBurst.Length ? _ofBurst[rxPort] : null;
        v.Node = PipelineNode.PacketTap;
        int next = 0;
        for (int i = 0; i < v.Count; i++)
        {
            byte* original = Find(v.Frame[i], ref next);
            if (v.Verdict[i] != (byte)Verdict.Forward)
            {
                continue;
            }

            if (original != null && rx!.Punts && rx.WantsPunt(original, v.Length[i]))
            {
                v.Punt(i, PuntReason.PacketSocket);
                v.Data[i] = original; // the frame itself is rewritten by now
                continue;
            }

            if (original != null)
            {
                Show(original, v.Length[i], rxPort, counters, ref budget);
            }

            int txPort = v.TxPort[i];
            if (txPort < _ofBurst.Length && _ofBurst[txPort] is PortFilters tx && tx.Copies && tx.WantsCopy(v.Data[i], v.TxLength[i], outgoing: true))
            {
                Show(v.Data[i], v.TxLength[i], txPort, counters, ref budget);
            }
        }

        Flush(counters, rxPort, ref budget);
    }

    public void Dispose()
    {
        _queue.Dispose();
        _room.Dispose();
    }

    private byte* Copy(int i) => _room.Address + ((nuint)i * _slotBytes);

    /// <summary>The copy of a packet that was kept; the pipeline leaves most in their order.</summary>
    private byte* Find(ulong frame, ref int next)
    {
        for (int n = 0; n < _copies; n++)
        {
            int i = (next + n) % _copies;
            if (_frames[i] == frame)
            {
                next = i + 1;
                return Copy(i);
            }
        }

        return null;
    }

    private void Show(byte* frame, uint length, int port, PortCounters* counters, ref TapBudget budget)
    {
        if (!budget.IsLeft)
        {
            counters[port].TapMissed++;
            return;
        }

        counters[port].TapCopied++;
        _queue.Add(frame, length, _trailers.Tap(port));
        if (_queue.Count == PacketVector.Size)
        {
            Flush(counters, port, ref budget);
        }
    }

    private void Flush(PortCounters* counters, int port, ref TapBudget budget)
    {
        if (_queue.Count == 0)
        {
            return;
        }

        long begin = Stopwatch.GetTimestamp();
        int sent = _queue.Send(0);
        if (sent < _queue.Count)
        {
            // What the kernel has no room for is missed; which port's it was is not worth looking.
            counters[port].TapMissed += (uint)(_queue.Count - sent);
            counters[port].TapCopied -= (uint)(_queue.Count - sent);
        }

        budget.Spend(begin, _queue.Count);
        _queue.Clear();
    }
}
