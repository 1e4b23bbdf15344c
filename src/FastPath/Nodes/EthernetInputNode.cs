using System.Runtime.CompilerServices;
using FastPathSync.Packets;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FastPath.Nodes;

/// <summary>
/// ethernet-input: the first look at a frame.
/// </summary>
/// <remarks>
/// May enter: whatever the XDP program redirected; it saw to our MAC and to EtherType IPv4, and is not trusted with it.
/// Precondition: none. Edges: NotIpv4 (other EtherType), Truncated (no room for an IPv4 header) → punt; else ipv4-input.
/// IEEE 802.3 §3.2; RFC 894. Prefetches every packet's header for the nodes behind it.
/// </remarks>
public static unsafe class EthernetInputNode
{
    /// <summary>Shorter ones hold no IPv4 header, and no later node may look at one.</summary>
    public const uint MinimumLength = EthernetHeader.Size + Ipv4Header.Size;

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Run(ref PacketVector v)
    {
        byte** data = v.Data;
        uint* length = v.Length;
        byte* verdict = v.Verdict;
        int n = v.Count;
        for (int i = 0; i < n; i++)
        {
            System.Runtime.Intrinsics.X86.Sse.Prefetch0(data[i]);
        }

        for (int i = 0; i < n; i++)
        {
            verdict[i] = (byte)Verdict.Forward;
            if (length[i] < MinimumLength)
            {
                verdict[i] = (byte)Verdict.Punt;
                v.Reason[i] = (byte)PuntReason.Truncated;
            }
            else if (((EthernetHeader*)data[i])->Type.Wire != EtherTypeIpv4)
            {
                verdict[i] = (byte)Verdict.Punt;
                v.Reason[i] = (byte)PuntReason.NotIpv4;
            }
        }
    }

    /// <summary>0x0800 as loaded.</summary>
    private const ushort EtherTypeIpv4 = 0x0008;
}
