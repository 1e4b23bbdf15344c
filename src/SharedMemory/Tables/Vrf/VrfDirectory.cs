using System.Runtime.InteropServices;

namespace FastPathSync.SharedMemory.Tables;

[Flags]
public enum VrfFlags : uint
{
    None = 0,

    /// <summary>No ports: its tables are in one memfd (VrfTablesSegment), and no worker reads them.</summary>
    Small = 1,
}

/// <summary>
/// A VRF of the instance. Key: name. Slot 0 is the home VRF, the namespace in which the instance was started. Writer: fpmd.
/// Readers: fastpath's control thread, hitflagsd, fpctl. A record is written when all its segments are in the store; it
/// goes before they do. Whoever has attached them looks at Epoch again: another one means other segments.
/// </summary>
[StructLayout(LayoutKind.Sequential)]
public struct VrfRecord
{
    /// <summary>Of the network namespace: a namespace that was made anew under the same name is another VRF.</summary>
    public ulong NetnsInode;

    /// <summary>Of this set of tables; never reused.</summary>
    public ulong Epoch;
    public VrfFlags Flags;

    /// <summary>How many ports were named for it.</summary>
    public uint Ports;

    /// <summary>1 while kernel and tables agree (VrfState.Synchronized).</summary>
    public uint Synchronized;
    public uint Reserved;
    public Text256 Name;
}

public static class VrfDirectorySegment
{
    public const int Home = 0;

    public static nuint BodyLength => RecordTable.BytesFor<VrfRecord>(Capacities.Vrfs);

    public static unsafe RecordTableReader<VrfRecord> Reader(Segment s) => new(s.Body, s.Capacity);
}
