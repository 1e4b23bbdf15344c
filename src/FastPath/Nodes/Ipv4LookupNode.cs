using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics.X86;
using FastPathSync.Packets;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FastPath.Nodes;

/// <summary>
/// ipv4-lookup: destination → FIB entry → nexthop word, and for a multipath route the member that the flow belongs to.
/// </summary>
/// <remarks>
/// May enter: packets with Destination set. No edges: every word says something, also "punt: no route".
/// Flows are told by addresses (net.ipv4.fib_multipath_hash_policy 0); RFC 2992 §1 (hash-threshold).
/// </remarks>
public static unsafe class Ipv4LookupNode
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Run(ref PacketVector v, in WorkerTables t)
    {
        uint* table24 = t.Fib.Table24;
        uint* groups = t.Fib.Groups;
        ulong* nexthops = t.Nexthops;
        Adjacency* adjacencies = t.Adjacencies;
        int n = v.Count;
        for (int i = 0; i < n; i++)
        {
            if (v.Verdict[i] != (byte)Verdict.Forward)
            {
                continue;
            }

            uint destination = v.Destination[i];
            uint entry = table24[destination >> 8];
            if ((entry & Fib4Reader.GroupFlag) != 0)
            {
                entry = groups[((entry & Fib4Reader.IndexMask) << 8) | (destination & 0xff)];
            }

            NexthopWord word = new(Volatile.Read(ref nexthops[entry & Fib4Reader.IndexMask]));
            if (word.Action == NexthopAction.Group)
            {
                word = Choose(word, v.Data[i], in t);
            }

            if (word.Action == NexthopAction.Forward)
            {
                Sse.Prefetch0(adjacencies + word.Index);
            }

            v.Nexthop[i] = word.Value;
        }
    }

    private static NexthopWord Choose(NexthopWord group, byte* packet, in WorkerTables t)
    {
        ulong addresses = *(ulong*)(packet + EthernetHeader.Size + Ipv4Header.SourceOffset);
        uint hash = FlowHash(addresses, t.FlowSeed);
        GroupMember* member = t.Members + group.Index;
        while (hash > member->UpperBound)
        {
            member++; // the last living member's bound is 2^32 - 1
        }

        return new NexthopWord(Volatile.Read(ref t.Nexthops[member->Nexthop]));
    }

    /// <summary>Two rounds of multiply and fold: every bit of both addresses reaches every bit of the hash.</summary>
    private static uint FlowHash(ulong addresses, uint seed)
    {
        ulong h = (addresses ^ ((ulong)seed * 0x9e3779b97f4a7c15ul)) * 0xff51afd7ed558ccdul;
        h = (h ^ (h >> 32)) * 0xc4ceb9fe1a85ec53ul;
        return (uint)(h >> 32);
    }
}
