using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FastPath;

/// <summary>What the pipeline says becomes of a packet. Zero is the common case.</summary>
public enum Verdict : byte
{
    /// <summary>Send TxLength bytes through TxPort: the packet is rewritten.</summary>
    Forward = 0,

    /// <summary>Linux's: hand it over as it came in; Reason is a PuntReason.</summary>
    Punt = 1,

    /// <summary>Ends here; Reason is a DropReason. The pipeline itself never says so: only full rings and empty token buckets do.</summary>
    Drop = 2,
}

/// <summary>
/// A burst of packets of one ingress port, and what the nodes tell each other about them: one array per field, each
/// 64-byte aligned, in native memory that is allocated once per worker. Slots [0, Count) count; the rest is rubbish.
/// The pipeline may put the packets into another order; those of one family keep theirs.
/// </summary>
public unsafe struct PacketVector
{
    public const int Size = 64;

    // --- Set by the worker before Pipeline.Run ---

    /// <summary>How many packets, 0 to <see cref="Size"/>.</summary>
    public int Count;

    /// <summary>The first byte of the Ethernet header. The pipeline touches nothing outside [Data, Data + Length).</summary>
    public byte** Data;

    /// <summary>Bytes received, without FCS, padding included.</summary>
    public uint* Length;

    /// <summary>The worker's own: the UMEM address of the frame. It moves with the packet.</summary>
    public ulong* Frame;

    // --- Set by the pipeline for every slot below Count; valid until the next Run ---

    /// <summary>A <see cref="FastPath.Verdict"/>.</summary>
    public byte* Verdict;

    /// <summary>A PuntReason when the verdict is Punt; undefined with Forward.</summary>
    public byte* Reason;

    /// <summary>PortId to send through; undefined unless the verdict is Forward.</summary>
    public ushort* TxPort;

    /// <summary>Bytes to send from Data on (Ethernet padding is cut, as Linux cuts it); undefined unless Forward.</summary>
    public uint* TxLength;

    // --- Kept by the pipeline while it runs; valid until the next Run ---

    /// <summary>Counters by node: where Punt counts.</summary>
    internal NodeCounters* Nodes;

    /// <summary>The node at work.</summary>
    internal PipelineNode Node;

    // --- Between the nodes; meaningless before and after Run ---

    /// <summary>Nonzero: the packet is not plain. Written by the input nodes, read by their cold paths.</summary>
    internal uint* Odd;

    /// <summary>IPv4 destination address, host byte order. From ipv4-input to ipv4-lookup.</summary>
    internal uint* Destination;

    /// <summary>IPv6 destination address. From ipv6-input to ipv6-lookup.</summary>
    internal FibKey* Key;

    /// <summary>FIB entry of the destination, IPv4's with group flag and all. Inside the lookup nodes.</summary>
    internal uint* Entry;

    /// <summary>The word of the nexthop finally chosen, never a Group. From the lookup nodes to the forward nodes.</summary>
    internal ulong* Nexthop;

    /// <summary>Bytes of the IP packet, header included. From the input nodes to interface-output and l4-checksum.</summary>
    internal uint* TotalLength;

    /// <summary>Index into the adjacency table. From the forward nodes to interface-output.</summary>
    internal int* Adjacency;

    private void* _memory;

    /// <summary>One allocation for all arrays.</summary>
    public static PacketVector Allocate()
    {
        // Largest fields first; every array is a multiple of 64 bytes long, so that each one starts on a cache line.
        const nuint Bytes = Size * (16 + (3 * 8) + (6 * 4) + 2 + 1 + 1);
        byte* p = (byte*)NativeMemory.AlignedAlloc(Bytes, 64);
        NativeMemory.Clear(p, Bytes);
        PacketVector v = default;
        v._memory = p;
        v.Key = (FibKey*)Take(ref p, 16);
        v.Data = (byte**)Take(ref p, 8);
        v.Frame = (ulong*)Take(ref p, 8);
        v.Nexthop = (ulong*)Take(ref p, 8);
        v.Length = (uint*)Take(ref p, 4);
        v.TxLength = (uint*)Take(ref p, 4);
        v.Odd = (uint*)Take(ref p, 4);
        v.Destination = (uint*)Take(ref p, 4);
        v.Entry = (uint*)Take(ref p, 4);
        v.TotalLength = (uint*)Take(ref p, 4);
        v.TxPort = (ushort*)Take(ref p, 2);
        v.Verdict = (byte*)Take(ref p, 1);
        v.Reason = (byte*)Take(ref p, 1);
        v.Adjacency = (int*)v.Entry; // the entry is dead once the nexthop word is known
        return v;
    }

    /// <summary>A view of the slots from <paramref name="first"/> on, up to Count.</summary>
    internal readonly PacketVector From(int first)
    {
        PacketVector v = this;
        v.Count -= first;
        v.Data += first;
        v.Length += first;
        v.Frame += first;
        v.Verdict += first;
        v.Reason += first;
        v.TxPort += first;
        v.TxLength += first;
        v.Odd += first;
        v.Destination += first;
        v.Key += first;
        v.Entry += first;
        v.Nexthop += first;
        v.TotalLength += first;
        v.Adjacency += first;
        return v;
    }

    /// <summary>Puts these packets (a bit for each slot), of which nothing is known yet, behind the others.</summary>
    [SkipLocalsInit]
    internal readonly void MoveToEnd(ulong these)
    {
        PacketVector end = From(Count - BitOperations.PopCount(these));
        byte** data = stackalloc byte*[Size];
        uint* length = stackalloc uint[Size];
        ulong* frame = stackalloc ulong[Size];
        int kept = 0, moved = 0;
        for (int i = 0; i < Count; i++)
        {
            if ((these >> i & 1) != 0)
            {
                data[moved] = Data[i];
                length[moved] = Length[i];
                frame[moved++] = Frame[i];
            }
            else
            {
                Data[kept] = Data[i];
                Length[kept] = Length[i];
                Frame[kept] = Frame[i];
                Reason[kept] = Reason[i];
                Verdict[kept++] = Verdict[i];
            }
        }

        for (int i = 0; i < moved; i++)
        {
            end.Data[i] = data[i];
            end.Length[i] = length[i];
            end.Frame[i] = frame[i];
            end.Verdict[i] = (byte)FastPath.Verdict.Forward;
        }
    }

    /// <summary>Hands packet <paramref name="i"/> to Linux.</summary>
    public readonly void Punt(int i, PuntReason reason)
    {
        Verdict[i] = (byte)FastPath.Verdict.Punt;
        Reason[i] = (byte)reason;
        Nodes[(int)Node].Punted[(int)reason]++;
    }

    public void Free()
    {
        NativeMemory.AlignedFree(_memory);
        this = default;
    }

    private static void* Take(ref byte* p, int elementSize)
    {
        byte* start = p;
        p += Size * elementSize;
        return start;
    }
}
