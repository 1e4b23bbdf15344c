using FastPathSync.FpManager.Memory;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FpManager.Features.Nexthop;

/// <summary>
/// The members of groups as workers read them. A run is never edited: a change lays out a new one, and the old is reused
/// when no worker can be inside it any more.
/// </summary>
internal sealed unsafe class GroupLayout(GroupMember* members, int capacity, Reclaimer reclaimer)
{
    private readonly MemberAllocator _runs = new(capacity);

    /// <summary>In the order of the run, without buckets; nothing for what is no group.</summary>
    public ReadOnlySpan<GroupMember> Of(in NexthopRecord r) => new(members + r.FirstMember, r.MemberCount);

    /// <summary>As configured.</summary>
    public List<(int Member, uint Weight)> Configured(in NexthopRecord r) =>
        [.. Of(r).ToArray().OrderBy(m => m.Order).Select(m => (m.Nexthop, m.Weight))];

    /// <summary>The nexthop of each bucket; nothing for what is no resilient group.</summary>
    public int[] BucketsOf(in NexthopRecord r)
    {
        int[] buckets = new int[r.BucketCount];
        for (int b = 0; b < buckets.Length; b++)
        {
            buckets[b] = members[r.FirstMember + r.MemberCount + b].Nexthop;
        }

        return buckets;
    }

    /// <summary>
    /// Lays out a new run of Kind Group: those that take a share divide the hash space by weight, with Linux's bounds (fib_rebalance in
    /// net/ipv4/fib_semantics.c); the others stand behind them, where no hash reaches. A member that is alive and yet takes
    /// no share leaves it to the next one that does, and behind the last one to the first, as fib_select_multipath and
    /// nexthop_select_path_hthr pass it over.
    /// </summary>
    /// <returns>False when there is no room, or a member could not be had.</returns>
    public bool TryMake(IReadOnlyList<(int Member, uint Weight)> wanted, Func<int, bool> isAlive, Func<int, bool> takesShare, ref NexthopRecord r)
    {
        int first = wanted.Any(m => m.Member == NexthopStore.None) ? -1 : _runs.Allocate(wanted.Count);
        if (first < 0)
        {
            return false;
        }

        ulong total = 0, sum = 0;
        foreach ((int member, uint weight) in wanted)
        {
            total += isAlive(member) ? Math.Max(1, weight) : 0;
        }

        int at = first;
        List<GroupMember> others = [];
        for (int order = 0; order < wanted.Count; order++)
        {
            (int member, uint weight) = wanted[order];
            bool alive = isAlive(member);
            sum += alive ? Math.Max(1, weight) : 0;
            GroupMember m = new() { UpperBound = GroupMember.NoShare, Nexthop = member, Weight = weight, Order = (uint)order };
            if (alive && takesShare(member))
            {
                m.UpperBound = Bound(sum, total);
                members[at++] = m;
            }
            else
            {
                others.Add(m);
            }
        }

        foreach (GroupMember m in others)
        {
            members[at++] = m;
        }

        Publish(first, wanted.Count, 0, ref r);
        return true;
    }

    /// <summary>Lays out a new run of Kind ResilientGroup: the members, and behind them the nexthop of each bucket.</summary>
    public bool TryMakeResilient(IReadOnlyList<(int Member, uint Weight)> wanted, IReadOnlyList<int> buckets, ref NexthopRecord r)
    {
        int first = wanted.Any(m => m.Member == NexthopStore.None) ? -1 : _runs.Allocate(wanted.Count + buckets.Count);
        if (first < 0)
        {
            return false;
        }

        int at = first;
        for (int order = 0; order < wanted.Count; order++)
        {
            members[at++] = new GroupMember { UpperBound = GroupMember.NoShare, Nexthop = wanted[order].Member, Weight = wanted[order].Weight, Order = (uint)order };
        }

        foreach (int nexthop in buckets)
        {
            members[at++] = new GroupMember { UpperBound = GroupMember.NoShare, Nexthop = nexthop };
        }

        Publish(first, wanted.Count, buckets.Count, ref r);
        return true;
    }

    /// <summary>Whether other members take a share now than those that divide the hash space.</summary>
    /// <param name="r">Of Kind Group.</param>
    /// <param name="sharing">False when no member did.</param>
    public bool IsOutdated(in NexthopRecord r, bool sharing, Func<int, bool> takesShare)
    {
        foreach (GroupMember m in Of(r))
        {
            if ((sharing && m.UpperBound != GroupMember.NoShare) != takesShare(m.Nexthop))
            {
                return true;
            }
        }

        return false;
    }

    /// <summary>fib_rebalance's upper bound, of 31 bits, as the upper bits of a word (see FlowHash) with the lowest set.</summary>
    private static uint Bound(ulong sum, ulong total) => (uint)((2 * (((sum << 31) + (total / 2)) / total)) - 1);

    /// <summary>The run of a record that workers were just told to leave.</summary>
    public void Drop(NexthopRecord r)
    {
        if (r.MemberCount > 0)
        {
            reclaimer.Retire(() => _runs.Free(r.FirstMember, r.MemberCount + r.BucketCount));
        }
    }

    /// <summary>The run of a record that was found after a restart.</summary>
    public void Reserve(in NexthopRecord r) => _runs.Reserve(r.FirstMember, r.MemberCount + r.BucketCount);

    private static void Publish(int first, int members, int buckets, ref NexthopRecord r)
    {
        Interlocked.MemoryBarrier(); // whole before the word that names it is stored
        r.FirstMember = first;
        r.MemberCount = (ushort)members;
        r.BucketCount = (ushort)buckets;
    }
}
