using System.Runtime.InteropServices;

namespace FastPathSync.SharedMemory.Tables;

/// <summary>A packet socket whose packets the fast path has to show to Linux. Its filter is Length instructions from First on.</summary>
[StructLayout(LayoutKind.Sequential)]
public struct PacketSocketRecord
{
    public uint Inode;
    public uint IfIndex;    // 0: every interface of the VRF
    public ushort Protocol; // ETH_P_ALL, ETH_P_IP, ETH_P_IPV6
    public byte Cooked;     // 1: SOCK_DGRAM, the filter sees the packet from the network header on
    public byte Reserved0;
    public uint First;
    public uint Length;     // 0: it wants everything
    public uint Reserved1;
}

/// <summary>A packet socket as it stands in the table.</summary>
/// <param name="Filter">struct sock_filter each; empty: everything.</param>
public sealed record PacketSocketView(uint Inode, uint IfIndex, ushort Protocol, bool Cooked, ulong[] Filter);

/// <summary>
/// The packet sockets of a VRF, all replaced at once under a sequence count. Writer: fpmd. Readers: the control thread of
/// fastpath (which compiles the filters; workers use what it made of them), fpctl. 64 sockets and 32,768 instructions (256 KB); a
/// filter that finds no room is kept as "everything", and sockets beyond 64 as one that wants everything everywhere.
/// </summary>
public static unsafe class CaptureSegment
{
    public const int Sockets = 64, Instructions = 1 << 15;

    private const int HeaderBytes = 64, Tries = 100;

    public static nuint BodyLength => HeaderBytes + (Sockets * (nuint)sizeof(PacketSocketRecord)) + (Instructions * (nuint)sizeof(ulong));

    public static void Write(Segment s, IReadOnlyList<PacketSocketView> sockets)
    {
        Header* h = (Header*)s.Body;
        Volatile.Write(ref h->Sequence, h->Sequence | 1);
        Thread.MemoryBarrier();
        uint used = 0;
        int n = 0;
        foreach (PacketSocketView v in sockets)
        {
            if (n == Sockets)
            {
                Records(s)[n - 1] = new PacketSocketRecord { Protocol = EtherTypes.All };
                break;
            }

            bool fits = v.Filter.Length <= Instructions - used;
            uint length = fits ? (uint)v.Filter.Length : 0;
            Records(s)[n++] = new PacketSocketRecord
            {
                Inode = v.Inode,
                IfIndex = v.IfIndex,
                Protocol = v.Protocol,
                Cooked = v.Cooked ? (byte)1 : (byte)0,
                First = used,
                Length = length,
            };
            v.Filter.AsSpan(0, (int)length).CopyTo(new Span<ulong>(Pool(s) + used, (int)length));
            used += length;
        }

        h->Count = (uint)n;
        Volatile.Write(ref h->Sequence, h->Sequence + 1);
    }

    /// <summary>False when the writer was at it all the time, or died in the midst of it.</summary>
    public static bool TryRead(Segment s, out IReadOnlyList<PacketSocketView> sockets)
    {
        Header* h = (Header*)s.Body;
        for (int i = 0; i < Tries; i++)
        {
            uint before = Volatile.Read(ref h->Sequence);
            List<PacketSocketView> read = [];
            for (int n = 0; n < Math.Min(h->Count, Sockets); n++)
            {
                PacketSocketRecord r = Records(s)[n];
                bool sound = r.First <= Instructions && r.Length <= Instructions - r.First;
                read.Add(new PacketSocketView(r.Inode, r.IfIndex, r.Protocol, r.Cooked != 0, new ReadOnlySpan<ulong>(Pool(s) + (sound ? r.First : 0), sound ? (int)r.Length : 0).ToArray()));
            }

            Thread.MemoryBarrier();
            if ((before & 1) == 0 && Volatile.Read(ref h->Sequence) == before)
            {
                sockets = read;
                return true;
            }
        }

        sockets = [];
        return false;
    }

    private static PacketSocketRecord* Records(Segment s) => (PacketSocketRecord*)(s.Body + HeaderBytes);

    private static ulong* Pool(Segment s) => (ulong*)(s.Body + HeaderBytes + (Sockets * sizeof(PacketSocketRecord)));

    [StructLayout(LayoutKind.Sequential)]
    private struct Header
    {
        public uint Sequence; // odd while it is written
        public uint Count;
    }
}

/// <summary>linux/if_ether.h, host byte order.</summary>
public static class EtherTypes
{
    public const ushort All = 3, Ipv4 = 0x800, Ipv6 = 0x86dd;
}
