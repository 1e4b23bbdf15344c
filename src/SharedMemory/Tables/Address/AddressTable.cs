using System.Runtime.InteropServices;

namespace FastPathSync.SharedMemory.Tables;

/// <summary>IPv4 addresses. Key: ifindex, local, prefix length, peer. Writer: fpmd. Readers: fpctl, fastpath's control thread, and workers for a source that the filter suspects.</summary>
[StructLayout(LayoutKind.Sequential)]
public struct AddressRecord
{
    public uint IfIndex;
    public uint Local;       // host byte order
    public uint Peer;        // host byte order; equal to Local except on point-to-point links
    public uint Broadcast;   // host byte order, 0 none
    public uint Flags;       // IFA_F_*
    public byte PrefixLength;
    public byte Scope;
    public ushort Reserved;
    public Name16 Label;
    public ulong Generation;
}

/// <summary>
/// Behind the address records: 65,536 bits, set where some local address hashes to. A clear bit proves that a source
/// address is not our own (a martian source to Linux); a set one asks for the exact answer among the records.
/// Writer: fpmd (bits are set before the address counts, cleared after). Readers: workers, one load per packet.
/// </summary>
public readonly unsafe struct LocalAddressFilter(ulong* bits)
{
    public const int Bytes = 65536 / 8;

    public bool MayContain(uint address)
    {
        uint h = Hash(address);
        return (bits[h >> 6] >> (int)(h & 63) & 1) != 0;
    }

    public void Set(uint address)
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

    public static uint Hash(uint address) => (address * 0x9e3779b1u) >> 16;
}

/// <summary>Where the parts of the address segment stand.</summary>
public static unsafe class AddressSegment
{
    public static nuint BodyLength => LocalAddressFilter.Bytes + RecordTable.BytesFor<AddressRecord>(Capacities.Addresses);

    public static LocalAddressFilter Filter(Segment s) => new((ulong*)s.Body);

    public static byte* Records(Segment s) => s.Body + LocalAddressFilter.Bytes;
}
