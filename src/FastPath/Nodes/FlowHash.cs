using System.Buffers.Binary;
using System.Numerics;
using System.Runtime.CompilerServices;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FastPath.Nodes;

/// <summary>
/// Which way a flow goes where there are several: the hash that fib_multipath_hash (net/ipv4/route.c) and rt6_multipath_hash
/// (net/ipv6/route.c) make by fib_multipath_hash_policy. With the seed that Linux has (net.ipv4.fib_multipath_hash_seed) it is Linux's
/// own, so that a flow goes one way whoever forwards it. Both directions of a flow have one hash.
/// </summary>
/// <remarks>Linux hashes 31 bits; here they are the upper ones of a word, and the lowest is 0.</remarks>
internal readonly unsafe struct FlowHash
{
    private readonly uint _policy4, _fields4, _policy6, _fields6, _rulesDissect6;

    /// <summary>fib_multipath_hash_construct_key: the seed four times.</summary>
    private readonly ulong _key;

    /// <summary>As the VRF says now; made once per burst.</summary>
    public FlowHash(VrfState* vrf)
    {
        _policy4 = Volatile.Read(ref vrf->MultipathPolicy4);
        _fields4 = Volatile.Read(ref vrf->MultipathFields4);
        _policy6 = Volatile.Read(ref vrf->MultipathPolicy6);
        _fields6 = Volatile.Read(ref vrf->MultipathFields6);
        _rulesDissect6 = Volatile.Read(ref vrf->RulesDissect6);
        _key = Volatile.Read(ref vrf->FlowSeed) * 0x1_0000_0001ul;
    }

    /// <param name="ip">A whole IPv4 header.</param>
    /// <param name="length">Of the packet: the header's total length.</param>
    public uint Ipv4(byte* ip, uint length)
    {
        switch (_policy4)
        {
            case 1:
                return Finish(Ports(FlowKeys.Dissect(ip, length, ipv6: false, enter: false)));
            case 2:
                return Finish(Addresses(FlowKeys.Dissect(ip, length, ipv6: false, enter: true)));
            case 3:
                return Finish(Custom(ip, length, ipv6: false, _fields4));
            default:
                return Finish(Addresses(FlowKeys.Addresses4(ip, length)));
        }
    }

    /// <param name="ip">A whole IPv6 header.</param>
    /// <param name="length">Of the packet, header included.</param>
    public uint Ipv6(byte* ip, uint length)
    {
        switch (_policy6)
        {
            case 1:
                return Finish(Ports(FlowKeys.Dissect(ip, length, ipv6: true, enter: false)));
            case 2:
                return Finish(Addresses(FlowKeys.Dissect(ip, length, ipv6: true, enter: true)));
            case 3:
                return Finish(Custom(ip, length, ipv6: true, _fields6));
            default:
                if (_rulesDissect6 != 0 && FlowKeys.TryDissectIcmp6(ip, length, out FlowKeys dissected))
                {
                    return Finish(Addresses(dissected)); // ip6_route_input has the hash made of what was dissected for the rules
                }

                FlowKeys k = FlowKeys.Addresses6(ip, length);
                k.FlowLabel = BinaryPrimitives.ReverseEndianness(k.FlowLabel); // ip6_multipath_l3_keys takes it as it stands in the header
                return Finish(Addresses(k));
        }
    }

    /// <summary>Of IPv6, flow label and next header too.</summary>
    private uint Addresses(in FlowKeys k) => k.IsIpv6
        ? HashedKeys.Of(k, k.Protocol, k.FlowLabel, 0, 0, _key)
        : HashedKeys.Of(k, 0, 0, 0, 0, _key);

    private uint Ports(in FlowKeys k) => HashedKeys.Of(k, k.Protocol, 0, k.SourcePort, k.DestinationPort, _key);

    /// <summary>fib_multipath_custom_hash_skb, rt6_multipath_custom_hash_skb: the outer and the inner fields that were asked for.</summary>
    private uint Custom(byte* ip, uint length, bool ipv6, uint fields)
    {
        const uint OuterMask = 0x3f, InnerShift = 6;
        FlowKeys k = FlowKeys.Dissect(ip, length, ipv6, enter: false);
        uint outer = 0, inner = 0;
        if ((fields & OuterMask) != 0)
        {
            outer = Selected(k, fields & OuterMask);
        }

        if (k.Encapsulated && fields >> (int)InnerShift != 0)
        {
            inner = Selected(FlowKeys.Dissect(ip, length, ipv6, enter: true), fields >> (int)InnerShift);
        }

        return Jhash(outer, inner);
    }

    /// <summary>The bits are FIB_MULTIPATH_HASH_FIELD_SRC_IP … DST_PORT (include/net/ip_fib.h).</summary>
    private uint Selected(FlowKeys k, uint fields)
    {
        if ((fields & 1) == 0)
        {
            k.SourceHigh = k.SourceLow = 0;
        }

        if ((fields & 2) == 0)
        {
            k.DestinationHigh = k.DestinationLow = 0;
        }

        return HashedKeys.Of(
            k,
            (fields & 4) != 0 ? k.Protocol : (byte)0,
            (fields & 8) != 0 ? k.FlowLabel : 0u,
            (fields & 16) != 0 ? k.SourcePort : (ushort)0,
            (fields & 32) != 0 ? k.DestinationPort : (ushort)0,
            _key);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static uint Finish(uint hash) => hash & ~1u;

    /// <summary>jhash_2words (include/linux/jhash.h) with 0 as initial value.</summary>
    private static uint Jhash(uint a, uint b)
    {
        const uint Initial = 0xdeadbeef + (2 << 2);
        uint c = Initial;
        a += Initial;
        b += Initial;
        c = (c ^ b) - BitOperations.RotateLeft(b, 14);
        a = (a ^ c) - BitOperations.RotateLeft(c, 11);
        b = (b ^ a) - BitOperations.RotateLeft(a, 25);
        c = (c ^ b) - BitOperations.RotateLeft(b, 16);
        a = (a ^ c) - BitOperations.RotateLeft(c, 4);
        b = (b ^ a) - BitOperations.RotateLeft(a, 14);
        return (c ^ b) - BitOperations.RotateLeft(b, 24);
    }
}
