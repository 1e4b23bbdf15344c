using System.Runtime.InteropServices;

namespace FastPathSync.SharedMemory.Tables;

/// <summary>
/// IPv6 routes as Linux holds them. Key: table, destination, prefix length, source prefix, metric. Writer: fpmd. Readers:
/// fpctl (show, verify); workers use only what was compiled from it into the tries. 96 bytes each.
/// </summary>
[StructLayout(LayoutKind.Sequential)]
public struct Route6Record
{
    public const byte Ambiguous = 1, Expired = 2, MtuLocked = 4;

    public IpAddress Destination;
    public IpAddress Source;           // of packets that may take it; with SourceLength 0: any
    public IpAddress PreferredSource;  // None: none
    public uint Table;
    public uint Metric;
    public byte PrefixLength;
    public byte SourceLength;
    public byte Type;                  // RTN_*
    public byte Protocol;              // RTPROT_*
    public byte Preference;            // RTA_PREF
    public byte State;                 // Ambiguous, Expired, MtuLocked
    public ushort Mtu;                 // RTAX_MTU, 0 none
    public uint NexthopObject;         // RTA_NH_ID, 0 none
    public int Nexthop;                // index into the nexthop table
    public uint Flags;                 // RTM_F_*
    public uint Reserved;
    public ulong Generation;

    /// <summary>What Linux does with packets for its prefix depends on more than their destination, or on what we can't see.</summary>
    public readonly bool IsAmbiguous => (State & Ambiguous) != 0;

    public readonly bool IsExpired => (State & Expired) != 0;
}
