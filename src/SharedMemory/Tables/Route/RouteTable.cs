using System.Runtime.InteropServices;

namespace FastPathSync.SharedMemory.Tables;

/// <summary>
/// IPv4 routes as Linux holds them. Key: table, destination, prefix length, TOS, metric. Writer: fpmd. Readers: fpctl
/// (show, verify); workers use only what was compiled from it into the FIB.
/// </summary>
[StructLayout(LayoutKind.Sequential)]
public struct RouteRecord
{
    public uint Table;
    public uint Destination;      // host byte order
    public byte PrefixLength;
    public byte Tos;
    public byte Type;             // RTN_*
    public byte Protocol;         // RTPROT_*
    public byte Scope;            // RT_SCOPE_*
    public byte Reserved0;
    public ushort Mtu;            // RTAX_MTU, 0 none
    public uint Metric;
    public uint PreferredSource;  // host byte order
    public uint NexthopObject;    // RTA_NH_ID, 0 none
    public int Nexthop;           // index into the nexthop table
    public uint Flags;
    public uint Reserved1;
    public ulong Generation;
}
