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

    /// <summary>In the order of the run; nothing for what is no group.</summary>
    public GroupMember[] Of(in NexthopRecord r)
    {
        if (r.Kind != NexthopKind.Group)
        {
            return [];
        }

        return new ReadOnlySpan<GroupMember>(members + r.FirstMember, r.MemberCount).ToArray();
    }

    /// <summary>As configured.</summary>
    public List<(int Member, uint Weight)> Configured(in NexthopRecord r) =>
        [.. Of(r).OrderBy(m => m.Reserved).Select(m => (m.Nexthop, m.Weight))];

    /// <summary>
    /// Lays out a new run: the living share the 32-bit hash space by weight (fib_rebalance in net/ipv4/fib_semantics.c); the
    /// dead stand behind them, where no hash reaches. Reserved keeps the configured order.
    /// </summary>
    /// <returns>False when there is no room, or a member could not be had.</returns>
    public bool TryMake(IReadOnlyList<(int Member, uint Weight)> wanted, Func<int, bool> isAlive, ref NexthopRecord r)
    {
        int first = wanted.Any(m => m.Member == NexthopStore.None) ? -1 : _runs.Allocate(wanted.Count);
        if (first < 0)
        {
            return false;
        }

        int at = first;
        ulong total = 0, sum = 0;
        foreach ((int _, uint weight) in wanted.Where(m => isAlive(m.Member)))
        {
            total += Math.Max(1, weight);
        }

        foreach (bool living in (ReadOnlySpan<bool>)[true, false])
        {
            for (int order = 0; order < wanted.Count; order++)
            {
                (int member, uint weight) = wanted[order];
                if (isAlive(member) == living)
                {
                    sum += living ? Math.Max(1, weight) : 0;
                    uint bound = total == 0 || sum == total ? uint.MaxValue : (uint)((sum << 32) / total) - 1;
                    members[at++] = new GroupMember { UpperBound = bound, Nexthop = member, Weight = weight, Reserved = (uint)order };
                }
            }
        }

        Interlocked.MemoryBarrier(); // whole before the word that names it is stored
        r.FirstMember = first;
        r.MemberCount = (ushort)wanted.Count;
        return true;
    }

    /// <summary>Whether the members alive now are others than those that share the hash space.</summary>
    /// <param name="r">A group.</param>
    /// <param name="sharing">False when no member was alive.</param>
    public bool IsOutdated(in NexthopRecord r, bool sharing, Func<int, bool> isAlive)
    {
        foreach (GroupMember m in Of(r))
        {
            if (sharing != isAlive(m.Nexthop))
            {
                return true;
            }

            sharing &= m.UpperBound != uint.MaxValue; // the last that a hash can reach
        }

        return false;
    }

    /// <summary>The run of a record that workers were just told to leave.</summary>
    public void Drop(NexthopRecord r)
    {
        if (r.MemberCount > 0)
        {
            reclaimer.Retire(() => _runs.Free(r.FirstMember, r.MemberCount));
        }
    }

    /// <summary>The run of a record that was found after a restart.</summary>
    public void Reserve(in NexthopRecord r) => _runs.Reserve(r.FirstMember, r.MemberCount);
}
