using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FastPath.Nodes;

/// <summary>
/// punt-all: the burst is Linux's, by a demotion of the VRF or of the port (see `fpctl status`).
/// </summary>
/// <remarks>May enter: everything. The one edge: Demoted, for all that have no better reason already.</remarks>
public static unsafe class PuntAllNode
{
    public static void Run(ref PacketVector v)
    {
        for (int i = 0; i < v.Count; i++)
        {
            if (v.Verdict[i] == (byte)Verdict.Forward)
            {
                v.Verdict[i] = (byte)Verdict.Punt;
                v.Reason[i] = (byte)PuntReason.Demoted;
            }
        }
    }
}
