using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace FastPathSync.SharedMemory.Tables;

/// <summary>
/// Neighbours as Linux holds them. Key: ifindex, address. Writer: fpmd. Readers: hitflagsd, fpctl. The slot number is
/// also the index of the neighbour's use stamp.
/// </summary>
[StructLayout(LayoutKind.Sequential)]
public unsafe struct NeighbourRecord
{
    public IpAddress Address;
    public uint IfIndex;
    public ushort State;      // NUD_*
    public byte Flags;        // NTF_*
    public byte AddressLength;
    public fixed byte LinkAddress[6];
    public ushort Reserved;
    public int Adjacency;     // -1: not usable by workers (unresolved, or its interface is no port that is up)
    public uint Reserved1;
    public ulong Generation;
}

/// <summary>One bucket, 32 bytes: who, and which adjacency (+1; 0 means none: punt). IfIndex 0: never used.</summary>
[StructLayout(LayoutKind.Sequential)]
public struct NeighbourBucket
{
    public IpAddress Address;
    public ulong IfIndex;
    public ulong Value;
}

/// <summary>
/// The hash by which workers find the neighbour of an on-link destination, both families: open addressing, linear probing.
/// The value is what changes, by a single store. A bucket whose value went to 0 keeps its key for a grace period before it
/// may serve another; while its key is exchanged its value is 0. A reader looks at the key again after the value.
/// Writer: fpmd. Readers: workers.
/// </summary>
/// <param name="buckets">Where they stand.</param>
/// <param name="count">Of them; a power of two, at least 2.</param>
public readonly unsafe struct NeighbourHash(NeighbourBucket* buckets, int count)
{
    private readonly int _shift = 64 - BitOperations.Log2((uint)count);

    public ulong Mask { get; } = (uint)count - 1;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public ulong Home(uint ifindex, IpAddress address)
    {
        ulong key = address.Low ^ (address.High * 0xd6e8_feb8_6659_fd93ul) ^ ((ulong)ifindex << 32);
        return ((key ^ (key >> 29)) * 0x9e3779b97f4a7c15ul) >> _shift;
    }

    /// <summary>The adjacency index, or -1.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public int Find(uint ifindex, IpAddress address)
    {
        for (ulong i = Home(ifindex, address); ; i++)
        {
            NeighbourBucket* b = buckets + (i & Mask);
            ulong owner = Volatile.Read(ref b->IfIndex);
            if (owner == ifindex && b->Address == address)
            {
                // The bucket may be given to another neighbour between the loads; then this one is gone.
                int adjacency = (int)Volatile.Read(ref b->Value) - 1;
                return b->IfIndex == ifindex && b->Address == address ? adjacency : -1;
            }

            if (owner == 0)
            {
                return -1;
            }
        }
    }

    public NeighbourBucket* Bucket(ulong i) => buckets + (i & Mask);
}

/// <summary>The neighbour segment: hash buckets, then records.</summary>
public static unsafe class NeighbourSegment
{
    /// <summary>So that the hash is never more than a quarter full.</summary>
    private const int BucketsPerNeighbour = Capacities.NeighbourBuckets / Capacities.Neighbours;

    public static nuint BodyLength => BodyLengthFor(Capacities.Neighbours);

    public static nuint BodyLengthFor(int neighbours) => BucketBytes(neighbours) + RecordTable.BytesFor<NeighbourRecord>(neighbours);

    public static NeighbourHash Hash(Segment s) => new((NeighbourBucket*)s.Body, s.Capacity * BucketsPerNeighbour);

    public static byte* Records(Segment s) => s.Body + BucketBytes(s.Capacity);

    private static nuint BucketBytes(int neighbours) => (nuint)neighbours * BucketsPerNeighbour * (nuint)sizeof(NeighbourBucket);
}

/// <summary>
/// The last second (CLOCK_MONOTONIC) in which a worker used a neighbour, by neighbour slot; 0: never. Made by fpmd,
/// written by workers (only when the second differs), read by hitflagsd. Nobody clears it.
/// </summary>
public static unsafe class UseStampSegment
{
    public static nuint BodyLength => BodyLengthFor(Capacities.Neighbours);

    public static nuint BodyLengthFor(int neighbours) => (nuint)neighbours * 4;

    public static uint* Stamps(Segment s) => (uint*)s.Body;
}
