using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FastPath.Nodes;

/// <summary>The member of a group that a flow goes to.</summary>
internal static unsafe class GroupChoice
{
    /// <summary>
    /// Of shares by weight, the first whose bound the hash doesn't exceed (fib_select_multipath, RFC 2992 hash-threshold), the
    /// last when the bounds end too early; of a resilient group, the bucket (nexthop_select_path_res).
    /// </summary>
    public static NexthopWord Of(NexthopWord group, uint hash, in WorkerTables t)
    {
        if (group.MemberCount == 0)
        {
            return NexthopWord.Punt(PuntReason.NoRoute);
        }

        GroupMember* m = t.Members + group.Index;
        if (group.Action == NexthopAction.Buckets)
        {
            m += hash % group.MemberCount;
        }
        else
        {
            GroupMember* last = m + group.MemberCount - 1;
            while (m < last && hash > m->UpperBound)
            {
                m++;
            }
        }

        return new NexthopWord(Volatile.Read(ref t.Nexthops[m->Nexthop]));
    }
}
