using FastPathSync.FastPath.Ports;
using FastPathSync.SharedMemory;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FastPath.Control;

/// <summary>Carries our own addresses from the address table to the XDP programs.</summary>
internal static unsafe class LocalAddresses
{
    public static void Push(Segment addresses, XdpShared xdp)
    {
        RecordTableReader<AddressRecord> table = new(AddressSegment.Records(addresses), Capacities.Addresses);
        HashSet<IpAddress> set = [];
        int n = table.HighWater;
        for (int i = 0; i < n; i++)
        {
            if (table.TryRead(i, out AddressRecord a))
            {
                set.Add(a.Local);
            }
        }

        xdp.SetLocalAddresses(set);
    }
}
