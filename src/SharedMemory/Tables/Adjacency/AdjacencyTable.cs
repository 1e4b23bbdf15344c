using System.Runtime.InteropServices;

namespace FastPathSync.SharedMemory.Tables;

/// <summary>
/// How to rewrite and where to send: one cache line. Immutable once an index to it is published; a change makes a new
/// adjacency, swings the index, and frees the old one after a grace period. Writer: fpmd. Readers: workers. 64 bytes each.
/// </summary>
[StructLayout(LayoutKind.Sequential, Size = 64)]
public struct Adjacency
{
    public ulong MacLow;     // destination MAC, first two bytes of the source MAC
    public uint MacHigh;     // last four bytes of the source MAC
    public ushort PortId;
    public ushort Mtu;       // of the interface
    public int Neighbour;    // slot in the neighbour table; index of its use stamp
    public uint IfIndex;
    public uint Reserved;
    public IpAddress Address;   // the neighbour's
}

public static unsafe class AdjacencySegment
{
    public static nuint BodyLength => BodyLengthFor(Capacities.Adjacencies);

    public static nuint BodyLengthFor(int adjacencies) => (nuint)adjacencies * (nuint)sizeof(Adjacency);

    public static Adjacency* Table(Segment s) => (Adjacency*)s.Body;
}
