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

    /// <summary>Ends here; Reason is a DropReason. The pipeline itself never says so: only rings that are full do.</summary>
    Drop = 2,
}

/// <summary>
/// A burst of packets of one ingress port, and what the nodes tell each other about them: one array per field, each
/// 64-byte aligned, in native memory that is allocated once per worker. Slots [0, Count) count; the rest is rubbish.
/// </summary>
public unsafe struct PacketVector
{
    public const int Size = 64;

    // --- Set by the worker before Pipeline.Run; only read by the pipeline ---

    /// <summary>How many packets, 0 to <see cref="Size"/>.</summary>
    public int Count;

    /// <summary>The first byte of the Ethernet header. The pipeline touches nothing outside [Data, Data + Length).</summary>
    public byte** Data;

    /// <summary>Bytes received, without FCS, padding included.</summary>
    public uint* Length;

    /// <summary>The worker's own: the UMEM address of the frame. The pipeline neither reads nor writes it.</summary>
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

    // --- Between the nodes; meaningless before and after Run ---

    /// <summary>Nonzero: the packet is not plain. Written by the input nodes, read by their cold paths.</summary>
    internal uint* Odd;

    /// <summary>Destination address, host byte order. From ipv4-input to ipv4-lookup.</summary>
    internal uint* Destination;

    /// <summary>FIB entry of the destination, group flag and all. Inside ipv4-lookup.</summary>
    internal uint* Entry;

    /// <summary>The word of the nexthop finally chosen, never a Group. From ipv4-lookup to ipv4-forward.</summary>
    internal ulong* Nexthop;

    /// <summary>Total length of the IPv4 header, host byte order. From ipv4-input to interface-output.</summary>
    internal uint* TotalLength;

    /// <summary>Index into the adjacency table. From ipv4-forward to interface-output.</summary>
    internal int* Adjacency;

    private void* _memory;

    /// <summary>One allocation for all arrays.</summary>
    public static PacketVector Allocate()
    {
        // 8-byte fields first; every array is a multiple of 64 bytes long, so that each one starts on a cache line.
        const nuint Bytes = Size * ((3 * 8) + (5 * 4) + 4 + 2 + 1 + 1);
        byte* p = (byte*)NativeMemory.AlignedAlloc(Bytes, 64);
        NativeMemory.Clear(p, Bytes);
        PacketVector v = default;
        v._memory = p;
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

    /// <summary>Hands packet <paramref name="i"/> to Linux.</summary>
    public readonly void Punt(int i, PuntReason reason)
    {
        Verdict[i] = (byte)FastPath.Verdict.Punt;
        Reason[i] = (byte)reason;
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
