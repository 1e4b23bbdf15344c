using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace FastPathSync.SharedMemory.Tables;

/// <summary>Our own addresses, both families. Key: ifindex, local, prefix length, peer. Writer: fpmd. Readers: fpctl, fastpath's control thread, and workers for a source that the filter suspects.</summary>
[StructLayout(LayoutKind.Sequential)]
public struct AddressRecord
{
    public uint IfIndex;
    public uint Broadcast;   // IPv4, host byte order, 0 none
    public uint Flags;       // IFA_F_*
    public IpAddress Local;
    public IpAddress Peer;   // equal to Local except on point-to-point links
    public byte PrefixLength;
    public byte Scope;
    public ushort Reserved;
    public Name16 Label;
    public ulong Generation;
}

/// <summary>
/// Before the address records, one for each family: 65,536 bits, set where some local address hashes to. A clear bit
/// proves that an address is not our own (as a source: a martian to Linux); a set one asks for the exact answer among the
/// records. Writer: fpmd (bits are set before the address counts, cleared after). Readers: workers, one load per packet.
/// </summary>
public readonly unsafe struct LocalAddressFilter(ulong* bits)
{
    public const int Bytes = 65536 / 8;

    private const uint Multiplier = 0x9e3779b1;

    public bool MayContain(uint address) => Test(Hash(address));

    /// <summary>1 where the address in that lane may be ours.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public Vector256<uint> MayContain(Vector256<uint> addresses)
    {
        Vector256<uint> h = (addresses * Vector256.Create(Multiplier)) >>> 16;
        Vector256<uint> words = Avx2.GatherVector256((uint*)bits, (h >>> 5).AsInt32(), sizeof(uint)); // halves of the 64-bit words
        return Avx2.ShiftRightLogicalVariable(words, h & Vector256.Create(31u)) & Vector256<uint>.One;
    }

    public bool MayContain(ulong high, ulong low) => Test(Hash(high, low));

    /// <summary>To the filter of the address's own family.</summary>
    public void Set(IpAddress address)
    {
        uint h = Hash(address);
        bits[h >> 6] |= 1ul << (int)(h & 63);
    }

    /// <summary>Replaces the whole filter word by word; a bit that stays set never flickers.</summary>
    public void Replace(ReadOnlySpan<ulong> words)
    {
        for (int i = 0; i < words.Length; i++)
        {
            if (bits[i] != words[i])
            {
                Volatile.Write(ref bits[i], words[i]);
            }
        }
    }

    public static uint Hash(IpAddress address) => address.IsV4 ? Hash(address.V4) : Hash(address.High, address.Low);

    public static uint Hash(uint address) => (address * Multiplier) >> 16;

    /// <summary>Of an IPv6 address; the same as ADDRESS_FILTER_HASH6 in bpf/xdp_def.h.</summary>
    public static uint Hash(ulong high, ulong low) => (uint)(((high ^ (low >> 32 | low << 32)) * 0x9e3779b97f4a7c15ul) >> 48);

    private bool Test(uint hash) => (bits[hash >> 6] >> (int)(hash & 63) & 1) != 0;
}

/// <summary>Where the parts of the address segment stand: IPv4 filter, IPv6 filter, records.</summary>
public static unsafe class AddressSegment
{
    public static nuint BodyLength => BodyLengthFor(Capacities.Addresses);

    public static nuint BodyLengthFor(int addresses) => (2 * LocalAddressFilter.Bytes) + RecordTable.BytesFor<AddressRecord>(addresses);

    public static LocalAddressFilter Filter4(Segment s) => new((ulong*)s.Body);

    public static LocalAddressFilter Filter6(Segment s) => new((ulong*)(s.Body + LocalAddressFilter.Bytes));

    public static byte* Records(Segment s) => s.Body + (2 * LocalAddressFilter.Bytes);
}
