using FastPathSync.FastPath.Ports;
using FastPathSync.SharedMemory;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FastPath.Control;

/// <summary>Carries our own IPv4 addresses from the address table to the XDP programs.</summary>
internal static unsafe class LocalAddresses
{
    public static void Push(Segment addresses, XdpShared xdp)
    {
        RecordTableReader<AddressRecord> table = new(AddressSegment.Records(addresses), addresses.Capacity);
        HashSet<uint> set = [];
        int n = table.HighWater;
        for (int i = 0; i < n; i++)
        {
            if (table.TryRead(i, out AddressRecord a) && a.Local.IsV4)
            {
                set.Add(a.Local.V4);
            }
        }

        xdp.SetLocalAddresses(set);
    }
}
