using FastPathSync.FpManager.Features.Neighbour;
using FastPathSync.SharedMemory.Tables;

namespace FastPathSync.FpManager.Features.Nexthop;

/// <summary>Which nexthops depend on a neighbour, on an interface, on another nexthop.</summary>
internal sealed class NexthopIndex
{
    private static readonly HashSet<int> s_none = [];
    private readonly Dictionary<NeighbourKey, HashSet<int>> _byGateway = [];
    private readonly Dictionary<uint, HashSet<int>> _byInterface = [];
    private readonly Dictionary<int, HashSet<int>> _groups = [];

    /// <summary>A copy: what is done with each of them may change the index.</summary>
    public List<int> Through(NeighbourKey gateway) => [.. _byGateway.GetValueOrDefault(gateway, s_none)];

    public List<int> LeavingBy(uint ifindex) => [.. _byInterface.GetValueOrDefault(ifindex, s_none)];

    public List<int> GroupsOf(int member) => [.. _groups.GetValueOrDefault(member, s_none)];

    public void Add(int n, in NexthopRecord r, ReadOnlySpan<GroupMember> members)
    {
        if (r.Kind == NexthopKind.Single)
        {
            Add(_byInterface, r.IfIndex, n);
            if (!r.Gateway.IsNone)
            {
                Add(_byGateway, new NeighbourKey(r.IfIndex, r.Gateway), n);
            }
        }

        foreach (GroupMember m in members)
        {
            Add(_groups, m.Nexthop, n);
        }
    }

    public void Remove(int n, in NexthopRecord r, ReadOnlySpan<GroupMember> members)
    {
        if (r.Kind == NexthopKind.Single)
        {
            Remove(_byInterface, r.IfIndex, n);
            if (!r.Gateway.IsNone)
            {
                Remove(_byGateway, new NeighbourKey(r.IfIndex, r.Gateway), n);
            }
        }

        foreach (GroupMember m in members)
        {
            Remove(_groups, m.Nexthop, n);
        }
    }

    private static void Add<TKey>(Dictionary<TKey, HashSet<int>> index, TKey key, int n)
        where TKey : notnull
    {
        if (!index.TryGetValue(key, out HashSet<int>? set))
        {
            index[key] = set = [];
        }

        set.Add(n);
    }

    private static void Remove<TKey>(Dictionary<TKey, HashSet<int>> index, TKey key, int n)
        where TKey : notnull
    {
        if (index.TryGetValue(key, out HashSet<int>? set) && set.Remove(n) && set.Count == 0)
        {
            index.Remove(key);
        }
    }
}
