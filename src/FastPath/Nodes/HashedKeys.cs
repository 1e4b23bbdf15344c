using System.Buffers.Binary;
using System.Numerics;
using System.Runtime.CompilerServices;

namespace FastPathSync.FastPath.Nodes;

/// <summary>
/// What Linux hashes of a flow: struct flow_keys (include/net/flow_dissector.h) from its member basic on, and flow_hash_from_keys_seed
/// (net/core/flow_dissector.c) over it.
/// </summary>
internal static unsafe class HashedKeys
{
    private const int Protocol = 2, FlowLabel = 4, Ports = 28, Source = 36;

    /// <summary>Rounded up to whole words, as the structure is.</summary>
    private const int LengthOfIpv4 = 48, LengthOfIpv6 = 72;

    [SkipLocalsInit]
    public static uint Of(in FlowKeys k, byte protocol, uint label, ushort sourcePort, ushort destinationPort, ulong key)
    {
        byte* keys = stackalloc byte[LengthOfIpv6];
        Unsafe.InitBlockUnaligned(keys, 0, LengthOfIpv6);
        keys[Protocol] = protocol;
        *(uint*)(keys + FlowLabel) = label;

        // __flow_hash_consistentify compares what stands in memory, so that both directions are one.
        ushort from = BinaryPrimitives.ReverseEndianness(sourcePort), to = BinaryPrimitives.ReverseEndianness(destinationPort);
        *(ushort*)(keys + Ports) = Math.Min(from, to);
        *(ushort*)(keys + Ports + 2) = Math.Max(from, to);
        if (k.IsIpv6)
        {
            bool ordered = k.SourceHigh < k.DestinationHigh || (k.SourceHigh == k.DestinationHigh && k.SourceLow <= k.DestinationLow); // memcmp
            ulong* at = (ulong*)(keys + Source);
            at[0] = BinaryPrimitives.ReverseEndianness(ordered ? k.SourceHigh : k.DestinationHigh);
            at[1] = BinaryPrimitives.ReverseEndianness(ordered ? k.SourceLow : k.DestinationLow);
            at[2] = BinaryPrimitives.ReverseEndianness(ordered ? k.DestinationHigh : k.SourceHigh);
            at[3] = BinaryPrimitives.ReverseEndianness(ordered ? k.DestinationLow : k.SourceLow);
            return SipHash((ulong*)keys, LengthOfIpv6, key);
        }

        uint source = BinaryPrimitives.ReverseEndianness((uint)k.SourceLow), destination = BinaryPrimitives.ReverseEndianness((uint)k.DestinationLow);
        *(uint*)(keys + Source) = Math.Min(source, destination);
        *(uint*)(keys + Source + 4) = Math.Max(source, destination);
        return SipHash((ulong*)keys, LengthOfIpv4, key);
    }

    /// <summary>SipHash-2-4 (lib/siphash.c) of whole words, with a key of which both halves are the same. Never 0.</summary>
    private static uint SipHash(ulong* words, int length, ulong key)
    {
        ulong v0 = 0x736f6d6570736575 ^ key, v1 = 0x646f72616e646f6d ^ key, v2 = 0x6c7967656e657261 ^ key, v3 = 0x7465646279746573 ^ key;
        for (int i = 0; i < length / sizeof(ulong); i++)
        {
            Absorb(words[i], ref v0, ref v1, ref v2, ref v3);
        }

        Absorb((ulong)length << 56, ref v0, ref v1, ref v2, ref v3);
        v2 ^= 0xff;
        Round(ref v0, ref v1, ref v2, ref v3);
        Round(ref v0, ref v1, ref v2, ref v3);
        Round(ref v0, ref v1, ref v2, ref v3);
        Round(ref v0, ref v1, ref v2, ref v3);
        uint hash = (uint)(v0 ^ v1 ^ v2 ^ v3);
        return hash == 0 ? 1 : hash;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Absorb(ulong word, ref ulong v0, ref ulong v1, ref ulong v2, ref ulong v3)
    {
        v3 ^= word;
        Round(ref v0, ref v1, ref v2, ref v3);
        Round(ref v0, ref v1, ref v2, ref v3);
        v0 ^= word;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Round(ref ulong v0, ref ulong v1, ref ulong v2, ref ulong v3)
    {
        v0 += v1;
        v1 = BitOperations.RotateLeft(v1, 13) ^ v0;
        v0 = BitOperations.RotateLeft(v0, 32);
        v2 += v3;
        v3 = BitOperations.RotateLeft(v3, 16) ^ v2;
        v0 += v3;
        v3 = BitOperations.RotateLeft(v3, 21) ^ v0;
        v2 += v1;
        v1 = BitOperations.RotateLeft(v1, 17) ^ v2;
        v2 = BitOperations.RotateLeft(v2, 32);
    }
}
