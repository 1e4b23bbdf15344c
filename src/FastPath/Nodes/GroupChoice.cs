using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FastPath.Nodes;

/// <summary>The member of a group that a flow goes to.</summary>
internal static unsafe class GroupChoice
{
    /// <summary>
    /// Of shares by weight, the first whose bound the hash doesn't exceed (fib_select_multipath, nexthop_select_path_hthr, RFC 2992
    /// hash-threshold), the first of all when the bounds end too early; of a resilient group, the bucket (nexthop_select_path_res).
    /// </summary>
    public static NexthopWord Of(NexthopWord group, uint hash, in WorkerTables t)
    {
        if (group.MemberCount == 0)
        {
            return NexthopWord.Punt(PuntReason.NoRoute);
        }

        GroupMember* first = t.Members + group.Index, m = first;
        if (group.Action == NexthopAction.Buckets)
        {
            m += (hash >> 1) % group.MemberCount; // Linux's 31 bits
        }
        else
        {
            GroupMember* end = first + group.MemberCount;
            while (m < end && hash > m->UpperBound)
            {
                m++;
            }

            m = m < end ? m : first;
        }

        return new NexthopWord(Volatile.Read(ref t.Nexthops[m->Nexthop]));
    }
}
