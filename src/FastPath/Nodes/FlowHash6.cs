using System.Runtime.CompilerServices;
using FastPathSync.Packets;

namespace FastPathSync.FastPath.Nodes;

/// <summary>Which way an IPv6 flow goes where there are several.</summary>
internal static unsafe class FlowHash6
{
    private const ulong Mixer = 0xd6e8_feb8_6659_fd93;

    /// <summary>
    /// By what fib_multipath_hash_policy 0 looks at (ip6_multipath_l3_keys, net/ipv6/route.c): addresses, flow label and next
    /// header. Every bit of them reaches every bit of the result.
    /// </summary>
    public static uint Policy0(Ipv6Header* ip, uint seed)
    {
        ulong h = seed * 0x9e37_79b9_7f4a_7c15ul;
        h = Mix(h ^ ip->Source.High);
        h = Mix(h ^ ip->Source.Low);
        h = Mix(h ^ ip->Destination.High);
        h = Mix(h ^ ip->Destination.Low);
        h = Mix(h ^ (((ulong)ip->FlowLabel << 8) | ip->NextHeader));
        return (uint)(h >> 32);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static ulong Mix(ulong h)
    {
        h = (h ^ (h >> 32)) * Mixer;
        return (h ^ (h >> 32)) * Mixer;
    }
}
