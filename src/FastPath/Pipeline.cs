using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FastPath;

/// <summary>The packet path.</summary>
public static unsafe class Pipeline
{
    /// <summary>
    /// Gives every packet of the vector its verdict. Of the counters it keeps Rx, RxBytes and ChecksumsCompleted of
    /// <paramref name="rxPort"/>; the worker counts the rest where it disposes of the packets.
    /// </summary>
    /// <param name="v">A burst received on <paramref name="rxPort"/>.</param>
    /// <param name="t">The tables.</param>
    /// <param name="rxPort">PortId it came in on.</param>
    /// <param name="partialChecksums">
    /// The port's device is virtual (veth, TAP): L4 checksums may have been left to hardware that doesn't exist.
    /// </param>
    public static void Run(ref PacketVector v, in WorkerTables t, int rxPort, bool partialChecksums)
    {
        ulong bytes = 0;
        for (int i = 0; i < v.Count; i++)
        {
            bytes += v.Length[i];
            v.Verdict[i] = (byte)Verdict.Punt;
            v.Reason[i] = (byte)PuntReason.Demoted;
        }

        t.Counters[rxPort].Rx += (uint)v.Count;
        t.Counters[rxPort].RxBytes += bytes;
    }
}
