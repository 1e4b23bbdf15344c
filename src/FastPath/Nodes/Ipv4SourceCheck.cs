using System.Runtime.CompilerServices;
using FastPathSync.Packets;
using FastPathSync.SharedMemory;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FastPath.Nodes;

/// <summary>
/// The rare half of ipv4-input: may this source be? As fib_validate_source and __fib_validate_source
/// (net/ipv4/fib_frontend.c) decide with rp_filter 0; whoever sets rp_filter is demoted and never comes here.
/// </summary>
/// <remarks>
/// May enter: packets that ipv4-input found odd and then sound; and, while VrfState.CheckSource is set (local routes were
/// added by hand), every packet.
/// Edges:
///   Punt MartianSource  the source is an address of our own. With CheckSource also when the FIB calls it broadcast or
///                       multicast; without, Linux doesn't look at the FIB.
///   Punt (the word's)   CheckSource, and what the FIB holds for the source is not known well enough to tell.
///   next                the source is unicast, or has no route at all: Linux lets both through without rp_filter.
/// </remarks>
internal static unsafe class Ipv4SourceCheck
{
    [MethodImpl(MethodImplOptions.NoInlining)]
    public static void All(ref PacketVector v, in WorkerTables t)
    {
        for (int i = 0; i < v.Count; i++)
        {
            if (v.Verdict[i] == (byte)Verdict.Forward)
            {
                One(ref v, t, i);
            }
        }
    }

    public static void One(ref PacketVector v, in WorkerTables t, int i)
    {
        uint source = ((Ipv4Header*)(v.Data[i] + EthernetHeader.Size))->Source.Value;
        if (t.Vrf->CheckSource == 0)
        {
            if (t.LocalAddresses.MayContain(source) && IsOurs(source, t.Addresses))
            {
                v.Punt(i, PuntReason.MartianSource);
            }

            return;
        }

        Judge(ref v, t, i, new(Volatile.Read(ref t.Nexthops[t.Fib.Lookup(source)])), 0);
    }

    /// <summary>What the full check makes of the way back to a packet's source (of the word of its nexthop).</summary>
    public static void Judge(ref PacketVector v, in WorkerTables t, int i, NexthopWord word, int rxPort)
    {
        if (word.Action != NexthopAction.Punt)
        {
            return;
        }

        switch (word.Reason)
        {
            case PuntReason.Local or PuntReason.Broadcast or PuntReason.Multicast:
                v.Punt(i, PuntReason.MartianSource);
                break;
            case PuntReason.RouteUnsupported or PuntReason.TosRoute or PuntReason.TableFull or PuntReason.RuleUnsupported:
                v.Punt(i, word.Reason);
                break;
            default:
                // No route, blackhole, unreachable, prohibit, throw: the lookup fails, and without rp_filter that is no
                // fault ("last_resort"). The rest (no neighbour, link down ...) are unicast routes.
                break;
        }
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
