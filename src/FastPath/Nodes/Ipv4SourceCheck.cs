using System.Runtime.CompilerServices;
using FastPathSync.Packets;
using FastPathSync.SharedMemory;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FastPath.Nodes;

/// <summary>
/// The rare half of ipv4-input: may this source be? As fib_validate_source and __fib_validate_source
/// (net/ipv4/fib_frontend.c); RFC 3704, RFC 1812 §5.3.8.
/// </summary>
/// <remarks>
/// May enter: packets that ipv4-input found odd and then sound; and every packet while <see cref="IsFull"/>. While there are
/// policy rules ipv4-rule walks them for the way back, and has it judged here.
/// Edges:
///   Punt MartianSource  the source is an address of our own, or broadcast. By the full check also when the FIB calls it
///                       local or multicast; otherwise Linux doesn't look at the FIB.
///   Punt ReversePath    rp_filter: there is no way back, or, where it is strict, none by the port the packet came in on.
///   Punt (the word's)   full check, and what the FIB holds for the source is not known well enough to tell.
///   next                everything else.
/// </remarks>
internal static unsafe class Ipv4SourceCheck
{
    private const byte Strict = 1;

    /// <summary>Sources are looked up in the FIB: rp_filter is on for this port, or local routes were added by hand.</summary>
    public static bool IsFull(VrfState* vrf, int rxPort) => (vrf->CheckSource | vrf->RpFilter[rxPort]) != 0;

    /// <summary>The full check, of every packet. Overwrites Odd, Entry and Nexthop.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    public static void All(ref PacketVector v, in WorkerTables t, int rxPort)
    {
        uint* source = v.Odd, entry = v.Entry;
        ulong* back = v.Nexthop;
        for (int i = 0; i < v.Count; i++)
        {
            source[i] = v.Verdict[i] != (byte)Verdict.Forward ? 0 : ((Ipv4Header*)(v.Data[i] + EthernetHeader.Size))->Source.Value;
        }

        t.Fib.Lookup(source, entry, v.Count);
        for (int i = 0; i < v.Count; i++)
        {
            back[i] = Volatile.Read(ref t.Nexthops[entry[i] & Fib4Reader.IndexMask]);
        }

        for (int i = 0; i < v.Count; i++)
        {
            if (v.Verdict[i] == (byte)Verdict.Forward)
            {
                Judge(ref v, t, i, new NexthopWord(back[i]), rxPort);
            }
        }
    }

    /// <summary>
    /// Without the full check: whether the source is an address of our own. One that the FIB calls broadcast or
    /// local Linux lets in, unless the namespace ever had rules or local routes of its own, which nobody may have seen: it is asked.
    /// </summary>
    public static void One(ref PacketVector v, in WorkerTables t, int i)
    {
        uint source = ((Ipv4Header*)(v.Data[i] + EthernetHeader.Size))->Source.Value;
        if (t.LocalAddresses.MayContain(source) && (IsOurs(source, t.Addresses) || IsSuspect(source, t)))
        {
            v.Punt(i, PuntReason.MartianSource);
        }
    }

    /// <summary>What the full check makes of the way back to a packet's source (of the word of its nexthop).</summary>
    public static void Judge(ref PacketVector v, in WorkerTables t, int i, NexthopWord back, int rxPort)
    {
        byte filter = t.Vrf->RpFilter[rxPort];
        uint ifindex = t.Vrf->PortIfIndex[rxPort];
        if (back.Action == NexthopAction.Punt)
        {
            switch (back.Reason)
            {
                case PuntReason.Local or PuntReason.Broadcast or PuntReason.Multicast:
                    v.Punt(i, PuntReason.MartianSource);
                    return;
                case PuntReason.NoRoute or PuntReason.Blackhole or PuntReason.Unreachable or PuntReason.Prohibit or PuntReason.Throw:
                    // The lookup fails. Without rp_filter that is no fault ("last_resort").
                    if (filter != 0)
                    {
                        v.Punt(i, PuntReason.ReversePath);
                    }

                    return;
                case PuntReason.NoNeighbour or PuntReason.EgressNotAPort or PuntReason.Demoted or PuntReason.Encapsulation:
                    break; // unicast routes, by the interface in the word
                default:
                    v.Punt(i, back.Reason); // of what is down Linux may try a shorter prefix
                    return;
            }
        }

        if (filter == Strict && !LeavesBy(back, ifindex, t))
        {
            v.Punt(i, PuntReason.ReversePath);
        }
    }

    /// <summary>fib_info_nh_uses_dev: by any of its nexthops, dead ones too.</summary>
    private static bool LeavesBy(NexthopWord word, uint ifindex, in WorkerTables t)
    {
        if (!word.IsGroup)
        {
            return InterfaceOf(word, t) == ifindex;
        }

        GroupMember* m = t.Members + word.Index;
        for (uint i = 0; i < word.MemberCount; i++)
        {
            if (InterfaceOf(new NexthopWord(Volatile.Read(ref t.Nexthops[m[i].Nexthop])), t) == ifindex)
            {
                return true;
            }
        }

        return false;
    }

    /// <summary>0 where the word doesn't tell.</summary>
    private static uint InterfaceOf(NexthopWord word, in WorkerTables t) => word.Action switch
    {
        NexthopAction.Forward => t.Adjacencies[word.Index].IfIndex,
        NexthopAction.OnLink or NexthopAction.Punt => word.Index,
        _ => 0,
    };

    private static bool IsSuspect(uint source, in WorkerTables t)
    {
        NexthopWord word = new(Volatile.Read(ref t.Nexthops[t.Fib.Lookup(source)]));
        return word is { Action: NexthopAction.Punt, Reason: PuntReason.Broadcast or PuntReason.Local };
    }

    /// <summary>
    /// inet_lookup_ifaddr_rcu: an address of any interface, also of one that is down. Few strangers share a bit of the
    /// filter with an address of ours, and addresses are few: a walk is cheap enough.
    /// </summary>
    private static bool IsOurs(uint source, in RecordTableReader<AddressRecord> addresses)
    {
        for (int slot = addresses.HighWater - 1; slot >= 0; slot--)
        {
            if (addresses.TryRead(slot, out AddressRecord a) && a.Local == IpAddress.FromV4(source))
            {
                return true;
            }
        }

        return false;
    }
}
