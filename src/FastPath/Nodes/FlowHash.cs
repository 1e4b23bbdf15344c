using System.Runtime.CompilerServices;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FastPath.Nodes;

/// <summary>
/// Which way a flow goes where there are several: the hash of what fib_multipath_hash_policy says, as fib_multipath_hash
/// (net/ipv4/route.c) and rt6_multipath_hash (net/ipv6/route.c). Both directions of a flow have one hash, as
/// __flow_hash_consistentify has it. The function itself is ours: which of the legal ways a flow takes may differ from Linux.
/// </summary>
internal readonly unsafe struct FlowHash
{
    private readonly uint _policy4, _fields4, _policy6, _fields6;
    private readonly ulong _seed;

    /// <summary>As the VRF says now; made once per burst.</summary>
    public FlowHash(VrfState* vrf)
    {
        _policy4 = Volatile.Read(ref vrf->MultipathPolicy4);
        _fields4 = Volatile.Read(ref vrf->MultipathFields4);
        _policy6 = Volatile.Read(ref vrf->MultipathPolicy6);
        _fields6 = Volatile.Read(ref vrf->MultipathFields6);
        _seed = Volatile.Read(ref vrf->FlowSeed) * 0x9e37_79b9_7f4a_7c15ul;
    }

    /// <param name="ip">A whole IPv4 header.</param>
    /// <param name="length">Of the packet: the header's total length.</param>
    public uint Ipv4(byte* ip, uint length)
    {
        switch (_policy4)
        {
            case 1:
                return Ports(FlowKeys.Dissect(ip, length, ipv6: false, enter: false));
            case 2:
                return Addresses(FlowKeys.Dissect(ip, length, ipv6: false, enter: true));
            case 3:
                return Custom(ip, length, ipv6: false, _fields4);
            default:
                return Addresses(FlowKeys.Addresses4(ip, length));
        }
    }

    /// <param name="ip">A whole IPv6 header.</param>
    /// <param name="length">Of the packet, header included.</param>
    public uint Ipv6(byte* ip, uint length)
    {
        switch (_policy6)
        {
            case 1:
                return Ports(FlowKeys.Dissect(ip, length, ipv6: true, enter: false));
            case 2:
                return Addresses(FlowKeys.Dissect(ip, length, ipv6: true, enter: true));
            case 3:
                return Custom(ip, length, ipv6: true, _fields6);
            default:
                return Addresses(FlowKeys.Addresses6(ip, length));
        }
    }

    /// <summary>Of IPv6, flow label and next header too.</summary>
    private uint Addresses(in FlowKeys k) => Finish(Mix(Pair(_seed, k), k.IsIpv6 ? ((ulong)k.FlowLabel << 8) | k.Protocol : 0));

    private uint Ports(in FlowKeys k) => Finish(Mix(Pair(_seed, k), Ports(k.SourcePort, k.DestinationPort) | k.Protocol));

    /// <summary>fib_multipath_custom_hash_skb, rt6_multipath_custom_hash_skb: the outer and the inner fields that were asked for.</summary>
    private uint Custom(byte* ip, uint length, bool ipv6, uint fields)
    {
        const uint Outer = 0x3f, InnerShift = 6;
        FlowKeys k = FlowKeys.Dissect(ip, length, ipv6, enter: false);
        ulong h = Selected(_seed, k, fields & Outer);
        if (k.Encapsulated && fields >> (int)InnerShift != 0)
        {
            h = Selected(h, FlowKeys.Dissect(ip, length, ipv6, enter: true), fields >> (int)InnerShift);
        }

        return Finish(h);
    }

    /// <summary>The bits are FIB_MULTIPATH_HASH_FIELD_SRC_IP … DST_PORT (include/net/ip_fib.h).</summary>
    private static ulong Selected(ulong h, FlowKeys k, uint fields)
    {
        if ((fields & 1) == 0)
        {
            k.SourceHigh = k.SourceLow = 0;
        }

        if ((fields & 2) == 0)
        {
            k.DestinationHigh = k.DestinationLow = 0;
        }

        ulong protocol = (fields & 4) != 0 ? k.Protocol : 0u, label = (fields & 8) != 0 ? k.FlowLabel : 0u;
        ushort source = (fields & 16) != 0 ? k.SourcePort : (ushort)0, destination = (fields & 32) != 0 ? k.DestinationPort : (ushort)0;
        return Mix(Mix(Pair(h, k), (label << 8) | protocol), Ports(source, destination));
    }

    /// <summary>Both addresses, the smaller one first.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static ulong Pair(ulong h, in FlowKeys k)
    {
        if (!k.IsIpv6)
        {
            return Mix(h, (Math.Min(k.SourceLow, k.DestinationLow) << 32) | Math.Max(k.SourceLow, k.DestinationLow));
        }

        bool ordered = k.SourceHigh < k.DestinationHigh || (k.SourceHigh == k.DestinationHigh && k.SourceLow <= k.DestinationLow);
        h = Mix(Mix(h, ordered ? k.SourceHigh : k.DestinationHigh), ordered ? k.SourceLow : k.DestinationLow);
        return Mix(Mix(h, ordered ? k.DestinationHigh : k.SourceHigh), ordered ? k.DestinationLow : k.SourceLow);
    }

    private static ulong Ports(ushort a, ushort b) => ((ulong)Math.Min(a, b) << 32) | ((ulong)Math.Max(a, b) << 16);

    /// <summary>The finalizer of a multiplicative hash: every bit of a word reaches every bit of the upper half.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static ulong Mix(ulong h, ulong word)
    {
        h = (h ^ word ^ (h >> 32)) * 0xd6e8_feb8_6659_fd93ul;
        return h ^ (h >> 32);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static uint Finish(ulong h) => (uint)((h * 0xd6e8_feb8_6659_fd93ul) >> 32);
}
