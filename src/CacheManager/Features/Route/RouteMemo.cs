using System.Buffers.Binary;
using System.Numerics;
using System.Runtime.InteropServices;
using FastPathSync.Netlink;
using FastPathSync.Netlink.Rtnetlink;

namespace FastPathSync.CacheManager.Features.Route;

/// <summary>
/// Messages that were parsed before, but for their destination: a full table is a million messages of a few kinds, and comparing
/// one with what it looked like the last time costs a tenth of parsing it.
/// </summary>
/// <remarks>
/// As the kernel writes them (fib_dump_info in net/ipv4/fib_semantics.c, rt6_fill_node in net/ipv6/route.c): RTA_TABLE, RTA_DST, then
/// the rest. Whatever else a message looks like is parsed.
/// </remarks>
public sealed unsafe class RouteMemo
{
    private const int Entries = 512, MaxWords = 16, DestinationAt = 24, Longest = MaxWords * 8, Shortest = DestinationAt + 4;

    private readonly Entry[] _entries = new Entry[Entries];

    /// <summary>What a message said beside its destination.</summary>
    public readonly record struct Known(uint Table, uint Metric, int Body, byte Tos);

    /// <summary>A message without its destination. Good until the next is masked.</summary>
    public struct Masked
    {
        internal fixed ulong Words[MaxWords];
        internal int Length;
        internal uint Hash;

        public byte PrefixLength { get; internal set; }

        /// <summary>Host byte order; of an IPv4 address Low is all.</summary>
        public ulong High { get; internal set; }

        public ulong Low { get; internal set; }
    }

    private struct Entry
    {
        public fixed ulong Words[MaxWords];
        public int Length;
        public Known Known;
    }

    /// <summary>Takes the destination out. False: a message of this kind has to be parsed.</summary>
    public static bool TryMask(scoped in NetlinkMessage message, out Masked masked)
    {
        const uint Table = 8 | (RouteConstants.RTA_TABLE << 16), Destination4 = 8 | (RouteConstants.RTA_DST << 16), Destination6 = 20 | (RouteConstants.RTA_DST << 16);
        masked = default;
        ReadOnlySpan<byte> p = message.Payload;
        if (p.Length is < Shortest or > Longest || p[2] != 0 || p[1] == 0 || MemoryMarshal.Read<uint>(p[12..]) != Table)
        {
            return false;
        }

        uint destination = MemoryMarshal.Read<uint>(p[20..]);
        int bytes;
        if (p[0] == Rtm.AF_INET && destination == Destination4 && p[1] <= 32)
        {
            bytes = 4;
            masked.Low = BinaryPrimitives.ReadUInt32BigEndian(p[DestinationAt..]);
        }
        else if (p[0] == Rtm.AF_INET6 && destination == Destination6 && p[1] <= 128 && p.Length >= DestinationAt + 16)
        {
            bytes = 16;
            masked.High = BinaryPrimitives.ReadUInt64BigEndian(p[DestinationAt..]);
            masked.Low = BinaryPrimitives.ReadUInt64BigEndian(p[(DestinationAt + 8)..]);
        }
        else
        {
            return false;
        }

        masked.PrefixLength = p[1];
        masked.Length = p.Length;
        fixed (ulong* words = masked.Words)
        {
            Span<byte> copy = new(words, Longest);
            p.CopyTo(copy);
            copy[1] = 0;
            copy.Slice(DestinationAt, bytes).Clear();
            ulong hash = (ulong)p.Length;
            for (int i = 0; i < (p.Length + 7) / 8; i++)
            {
                hash = BitOperations.RotateLeft((hash ^ words[i]) * 0x9e3779b97f4a7c15, 29);
            }

            masked.Hash = (uint)(hash >> 20);
        }

        return true;
    }

    public bool TryGet(in Masked masked, out Known known)
    {
        ref Entry e = ref _entries[masked.Hash % Entries];
        known = e.Known;
        fixed (ulong* a = masked.Words, b = e.Words)
        {
            return e.Length == masked.Length && new ReadOnlySpan<byte>(a, e.Length).SequenceEqual(new ReadOnlySpan<byte>(b, e.Length));
        }
    }

    public void Note(in Masked masked, in Known known)
    {
        ref Entry e = ref _entries[masked.Hash % Entries];
        e.Length = masked.Length;
        e.Known = known;
        fixed (ulong* a = masked.Words, b = e.Words)
        {
            new ReadOnlySpan<ulong>(a, MaxWords).CopyTo(new Span<ulong>(b, MaxWords));
        }
    }

    public void Forget() => Array.Clear(_entries);
}
